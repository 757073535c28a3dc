"""The training configuration: what `infinitetalk train CONFIG` reads from YAML.

Frozen and strict; the values of the shipped model are in `profiles/train/nano.yaml`.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt

ReferenceStrategy = Literal["m0", "m1", "m2", "m3"]
Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]


class Settings(BaseModel):
    """Base of all settings here: frozen, no unknown keys, no silent conversions."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class PictureSize(Settings):
    """One size of the rendered clips, and how many of all clips have it."""

    height: Annotated[int, Field(gt=0, multiple_of=16)]
    width: Annotated[int, Field(gt=0, multiple_of=16)]
    share: Share


class WorldSettings(Settings):
    """The rendered clips: how many characters, how long, how restless."""

    num_clips: PositiveInt
    clips_per_shard: PositiveInt
    clip_frames: Annotated[int, Field(ge=5)]
    sizes: Annotated[tuple[PictureSize, ...], Field(min_length=1)]
    head_motion: tuple[Share, Share]
    camera_motion: tuple[Share, Share]
    seed: int


class CodecSettings(Settings):
    """Video codec: its fixed encoder and the training of its decoder."""

    latent_channels: PositiveInt
    fit_clips: PositiveInt
    mouth_weight_encoder: Positive
    hidden_channels: PositiveInt
    num_blocks: PositiveInt
    num_steps: PositiveInt
    batch_size: PositiveInt
    crop_latents: PositiveInt
    learning_rate: Positive
    mouth_weight: Positive
    difference_weight: Positive
    boundary_weight: Positive
    largest_noise: Share
    noisy_share: Share


class AudioSettings(Settings):
    """Audio encoder: how much speech it hears and how long it trains."""

    num_utterances: PositiveInt
    utterance_s: Positive
    channels: PositiveInt
    hidden_channels: PositiveInt
    num_blocks: PositiveInt
    num_steps: PositiveInt
    batch_size: PositiveInt
    crop_frames: PositiveInt
    learning_rate: Positive
    noisy_share: Share


class ProbeSettings(Settings):
    """The small network that reads a mouth from a picture, the judge of every lip figure."""

    num_steps: PositiveInt
    batch_size: PositiveInt
    learning_rate: Positive


class TransformerSettings(Settings):
    """Size of the transformer; the meaning of the names is that of the model class."""

    num_attention_heads: PositiveInt
    attention_head_dim: PositiveInt
    ffn_dim: PositiveInt
    num_layers: PositiveInt
    audio_hidden_dim: PositiveInt
    audio_token_dim: PositiveInt
    audio_tokens: PositiveInt


class Phase(Settings):
    """A stretch of training with chunks of one length: `num_steps` of `batch_size` samples.

    `crop_latents`: only a square of this side around the mouth is seen, for speed; absent: the whole picture.
    """

    num_steps: PositiveInt
    chunk_frames: PositiveInt
    batch_size: PositiveInt
    crop_latents: Annotated[int, Field(gt=0, multiple_of=2)] | None = None


class FlowSettings(Settings):
    """Flow matching of the transformer: conditions, loss, optimiser."""

    phases: Annotated[tuple[Phase, ...], Field(min_length=1)]
    reference: ReferenceStrategy
    context_frames: Annotated[int, Field(ge=1)]
    first_chunk_share: Share
    own_first_frame_share: Share
    audio_dropout: Share
    largest_context_noise: Share
    timestep_shift: Positive
    mouth_weight: Positive
    learning_rate: Positive
    warmup_steps: PositiveInt
    weight_decay: Annotated[float, Field(ge=0)]
    ema_decay: Annotated[float, Field(ge=0, lt=1)]
    gradient_clip: Positive
    checkpoint_every: PositiveInt
    precision: Literal["no", "bf16"]
    compile_blocks: bool
    seed: int


class TrainSettings(Settings):
    """Everything that makes one model."""

    name: str
    world: WorldSettings
    audio: AudioSettings
    codec: CodecSettings
    probe: ProbeSettings
    transformer: TransformerSettings
    flow: FlowSettings
