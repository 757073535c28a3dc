"""The nano model's video codec: strides 4 / 8 / 8 like the large one, small enough to train in minutes.

Pictures are coded in groups of four frames, the first frame of a clip as a group of four copies of itself. The
encoder is one fixed matrix (principal components of 4 x 8 x 8 pixels, fitted with more weight on mouths); the
decoder is its inverse plus a convolutional correction that sees the latents of the group and of the one before.
No state crosses groups, so the latents of a clip that starts at a multiple of four frames are a slice.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from einops import rearrange
from torch import Tensor, nn

TEMPORAL_STRIDE = 4
SPATIAL_STRIDE = 8
PATCH_SIZE = TEMPORAL_STRIDE * SPATIAL_STRIDE * SPATIAL_STRIDE * 3
_PATCHES = "b c (t p) (h q) (w r) -> b t h w (p q r c)"
_STRIDES = {"p": TEMPORAL_STRIDE, "q": SPATIAL_STRIDE, "r": SPATIAL_STRIDE}


class _ResidualBlock(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv2(F.silu(self.conv1(F.silu(x))))


class Correction(nn.Module):
    """What the linear decoder misses: (n, 2 c, h, w) latents of two groups to (n, PATCH_SIZE, h, w)."""

    def __init__(self, latent_channels: int, hidden_channels: int, num_blocks: int) -> None:
        super().__init__()
        self.conv_in = nn.Conv2d(2 * latent_channels, hidden_channels, 3, padding=1)
        self.blocks = nn.Sequential(*(_ResidualBlock(hidden_channels) for _ in range(num_blocks)))
        self.conv_out = nn.Conv2d(hidden_channels, PATCH_SIZE, 1)
        nn.init.zeros_(self.conv_out.weight)
        nn.init.zeros_(self.conv_out.bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv_out(F.silu(self.blocks(self.conv_in(x))))


class NanoCodec(ModelMixin, ConfigMixin):
    """Video codec with 1 + 4 k frames to 1 + k latent frames; pixels in [-1, 1]."""

    @register_to_config
    def __init__(self, latent_channels: int = 48, hidden_channels: int = 160, num_blocks: int = 2) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(PATCH_SIZE))
        self.register_buffer("basis", torch.zeros(PATCH_SIZE, latent_channels))
        self.register_buffer("scale", torch.ones(latent_channels))
        self.correction = Correction(latent_channels, hidden_channels, num_blocks)
        self.correction.to(memory_format=torch.channels_last)

    @property
    def latent_channels(self) -> int:
        """Channels of a latent."""
        return self.config.latent_channels

    @property
    def temporal_stride(self) -> int:
        """Frames per latent frame, but for the first."""
        return TEMPORAL_STRIDE

    @property
    def spatial_stride(self) -> int:
        """Rows and columns of pixels per latent."""
        return SPATIAL_STRIDE

    def encode(self, pixels: Tensor) -> Tensor:
        """Latents (b, c, 1 + k, h / 8, w / 8) float32 of `pixels` (b, 3, 1 + 4 k, h, w) in [-1, 1]."""
        copies = pixels[:, :, :1].expand(-1, -1, TEMPORAL_STRIDE - 1, -1, -1)
        return self.encode_groups(torch.cat((copies, pixels), dim=2))

    def encode_groups(self, pixels: Tensor) -> Tensor:
        """Latents (b, c, k, h / 8, w / 8) of whole groups (b, 3, 4 k, h, w), without a first frame on its own."""
        patches = rearrange(pixels.float(), _PATCHES, **_STRIDES)
        latents = ((patches - self.mean.float()) @ self.basis.float()) * self.scale.float()
        return latents.movedim(-1, 1).contiguous()

    def decode(self, latents: Tensor) -> Tensor:
        """Pixels (b, 3, 1 + 4 k, h, w) in [-1, 1] of latents (b, c, 1 + k, h / 8, w / 8)."""
        before = torch.cat((latents[:, :, :1], latents[:, :, :-1]), dim=2)
        pixels = self.decode_groups(latents, before)
        return pixels[:, :, TEMPORAL_STRIDE - 1 :].clamp(-1, 1)

    def decode_groups(self, latents: Tensor, before: Tensor, correction_dtype: torch.dtype = torch.float32) -> Tensor:
        """Pixels (b, 3, 4 k, h, w), unclamped, of groups and the group before each (b, c, k, h / 8, w / 8).

        The correction may compute in bfloat16 (in training); the linear part loses 1.6 dB by it and never does.
        """
        values = (latents.float() / self.scale.float()[:, None, None, None]).movedim(1, -1)
        linear = values @ self.basis.float().mT + self.mean.float()
        pairs = rearrange(torch.cat((latents, before), dim=1), "b c t h w -> (b t) c h w")
        pairs = pairs.contiguous(memory_format=torch.channels_last)
        is_reduced = correction_dtype != torch.float32
        with torch.autocast(latents.device.type, correction_dtype, enabled=is_reduced):
            missing = self.correction(pairs)
        missing = rearrange(missing.float(), "(b t) d h w -> b t h w d", b=latents.shape[0])
        patches_to_pixels = " -> ".join(reversed(_PATCHES.split(" -> ")))
        return rearrange(linear + missing, patches_to_pixels, c=3, **_STRIDES)
