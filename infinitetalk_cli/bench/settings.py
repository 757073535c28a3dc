"""What is measured: sizes of the model and of a chunk. No torch."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

SizeName = Literal["nano", "small", "mid", "14b"]
Resolution = Literal["480p", "720p"]

LATENT_FRAMES = 1 + (81 - 1) // 4
LATENTS: dict[Resolution, tuple[int, int, int]] = {"480p": (LATENT_FRAMES, 80, 80), "720p": (LATENT_FRAMES, 120, 120)}
"""(frames, rows, columns) of a published chunk: 81 frames of 640 x 640 or 960 x 960 px, strides 4 and 8."""
CPU_LATENT = (LATENT_FRAMES, 24, 24)
"""What a CPU gets through in seconds."""


class Frozen(BaseModel):
    """Base of what is asked for and what is reported."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Dimensions(Frozen):
    """Arguments of the transformer's constructor; the defaults are the published 14B model."""

    in_channels: int = 36
    out_channels: int = 16
    num_attention_heads: int = Field(default=40, ge=1)
    attention_head_dim: int = Field(default=128, ge=2)
    ffn_dim: int = Field(default=13_824, ge=1)
    num_layers: int = Field(default=40, ge=1)
    freq_dim: int = 256
    patch_size: tuple[int, int, int] = (1, 2, 2)
    text_dim: int | None = 4096
    text_len: int = 512
    image_dim: int | None = 1280
    audio_window: int = 5
    audio_layers: int = 12
    audio_channels: int = 768
    audio_hidden_dim: int = 512
    audio_token_dim: int = 768
    audio_tokens: int = 32
    vae_temporal_stride: int = 4

    @property
    def dim(self) -> int:
        """Width of the residual stream."""
        return self.num_attention_heads * self.attention_head_dim


NUM_IMAGE_TOKENS = 257
"""16 x 16 patches of the reference image, and one for its class."""

SIZES: dict[SizeName, Dimensions] = {
    "nano": Dimensions(
        in_channels=97, out_channels=48, num_attention_heads=4, attention_head_dim=48, ffn_dim=768, num_layers=8,
        text_dim=None, image_dim=None, audio_layers=1, audio_channels=64, audio_hidden_dim=256, audio_token_dim=64,
        audio_tokens=4,
    ),
    "small": Dimensions(num_attention_heads=4, ffn_dim=1408, num_layers=4),
    "mid": Dimensions(num_attention_heads=8, ffn_dim=2816, num_layers=6),
    "14b": Dimensions(),
}  # fmt: skip
"""nano as it is shipped; small and mid are the 14B model with less width and depth."""


class BenchSettings(Frozen):
    """One measurement; every value is settled ("auto" stands for nothing here)."""

    size: SizeName
    dimensions: Dimensions
    latent: tuple[int, int, int]
    people: Literal[1, 2]
    dtype: Literal["float32", "bfloat16"]
    quantization: Literal["none", "int8", "fp8"]
    attention: Literal["sdpa", "flash", "flash-3", "sage"]
    compile: bool
    offload: Literal["none", "blocks"]
    repeats: int = Field(ge=1)

    @model_validator(mode="after")
    def _is_whole(self) -> BenchSettings:
        if any(size < 1 or size % patch for size, patch in zip(self.latent, self.dimensions.patch_size, strict=True)):
            raise ValueError(f"latent {self.latent}: must be whole patches of {self.dimensions.patch_size}")
        return self

    @property
    def grid(self) -> tuple[int, int, int]:
        """Tokens along time, rows and columns."""
        (frames, rows, columns), (pt, ph, pw) = self.latent, self.dimensions.patch_size
        return frames // pt, rows // ph, columns // pw
