"""The training configuration: what `infinitetalk train CONFIG` reads from YAML.

Frozen and strict; the values of the shipped model are in `profiles/train/nano.yaml`.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, PositiveInt, model_validator

from infinitetalk_cli.train.reference import ReferenceStrategy, chunk_starts
from infinitetalk_cli.world.settings import Settings, Share, WorldRange, WorldSettings

Positive = Annotated[float, Field(gt=0)]


def _whole_groups(num_frames: int) -> int:
    if num_frames % 4 != 1:
        raise ValueError(f"must be 1 + 4 k (the video codecs join 4 frames), not {num_frames}")
    return num_frames


ChunkFrames = Annotated[int, Field(ge=5), AfterValidator(_whole_groups)]
"""Frames of a chunk, a clip or a context: one, and whole groups of four."""


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


class Uni3CSettings(Settings):
    """Size of the camera branch; the meaning of the names is that of the model class."""

    conv_out_dim: PositiveInt
    dim: PositiveInt
    ffn_dim: PositiveInt
    num_heads: PositiveInt
    num_layers: PositiveInt

    @model_validator(mode="after")
    def _whole_heads(self) -> Uni3CSettings:
        if self.dim % (2 * self.num_heads):
            raise ValueError(
                f"dim {self.dim} does not divide into {self.num_heads} heads of an even number of channels"
            )
        return self


class Phase(Settings):
    """A stretch of training with chunks of one length: `num_steps` updates of `batch_size` samples per process.

    `crop_latents`: only a square of this side around the mouth is seen, for speed; absent: the whole picture.
    `world`: one of the configuration's `worlds` to take clips from; absent: `world` itself.
    """

    num_steps: PositiveInt
    chunk_frames: ChunkFrames
    batch_size: PositiveInt
    crop_latents: Annotated[int, Field(gt=0, multiple_of=2)] | None = None
    world: str | None = None


class OptimizerSettings(Settings):
    """How any of the models here is trained: phases, learning rate, average, checkpoints.

    `accumulate`: an update is computed in so many parts of `batch_size` each, for less memory. `hours`: the phases
    share this time by the work they hold, whatever number of steps that makes. `samples_every`: a picture of
    generated samples at every so many steps.
    """

    phases: Annotated[tuple[Phase, ...], Field(min_length=1)]
    learning_rate: Positive
    warmup_steps: PositiveInt
    weight_decay: Annotated[float, Field(ge=0)]
    ema_decay: Annotated[float, Field(ge=0, lt=1)]
    gradient_clip: Positive
    checkpoint_every: PositiveInt
    precision: Literal["no", "bf16"]
    compile_blocks: bool
    seed: int
    accumulate: PositiveInt = 1
    gradient_checkpointing: bool = False
    hours: Positive | None = None
    samples_every: PositiveInt | None = None

    @property
    def num_steps(self) -> int:
        """Updates of all phases."""
        return sum(phase.num_steps for phase in self.phases)


class ChunkSettings(Settings):
    """What a chunk is given in training: reference, first frames, sound.

    `i2v_share` and `fl2v_share` of the samples are conditioned as the paper's baselines are (Section 3.2): by their
    own first frame alone, and by their own first and last frame.
    """

    reference: ReferenceStrategy
    context_frames: ChunkFrames
    first_chunk_share: Share
    own_first_frame_share: Share
    i2v_share: Share = 0.0
    fl2v_share: Share = 0.0
    audio_dropout: Share
    largest_context_noise: Share
    timestep_shift: Positive

    @model_validator(mode="after")
    def _shares_leave_room(self) -> ChunkSettings:
        if self.i2v_share + self.fl2v_share > 1:
            raise ValueError(f"i2v_share and fl2v_share are {self.i2v_share + self.fl2v_share:g} together, above 1")
        return self


class FlowSettings(OptimizerSettings, ChunkSettings):
    """Flow matching of a nano transformer. `init_from`: goes on from these weights ("nano", or a folder)."""

    mouth_weight: Positive
    init_from: str | None = None


class VideoSettings(Settings):
    """How a folder of videos becomes clips.

    `area_px`: size of the pictures. `crop`: "face" wants a face detector, "auto" uses one if it is installed, "whole"
    takes the whole picture. Clips in which less than `min_speech_share` of the time is speech are left out.
    `held_out_share` of the files is never trained on.
    """

    area_px: Annotated[int, Field(ge=1024)]
    clip_frames: ChunkFrames
    crop: Literal["auto", "face", "whole"] = "auto"
    min_speech_share: Share = 0.3
    held_out_share: Share = 0.1
    max_clips_per_file: PositiveInt = 40


class TrainSettings(Settings):
    """Everything that makes one nano model.

    Audio encoder, codec and probe are trained (sections `audio`, `codec`, `probe`), or taken from `parts_from`: "nano"
    (the shipped ones), or the folder of a run or of weights. With `uni3c` the transformer stays as it is and a camera
    branch is trained beside it. Clips are rendered (`world`), or cut from `videos`.
    """

    name: str
    world: WorldSettings | None = None
    worlds: dict[str, WorldRange] = Field(default_factory=dict)
    videos: VideoSettings | None = None
    parts_from: str | None = None
    audio: AudioSettings | None = None
    codec: CodecSettings | None = None
    probe: ProbeSettings | None = None
    transformer: TransformerSettings | None = None
    uni3c: Uni3CSettings | None = None
    flow: FlowSettings

    @model_validator(mode="after")
    def _is_complete(self) -> TrainSettings:
        own = [name for name in ("audio", "codec", "probe") if getattr(self, name) is not None]
        if self.parts_from is None and len(own) < 3:
            missing = next(name for name in ("audio", "codec", "probe") if name not in own)
            raise ValueError(f"section {missing} is missing; write it, or take the trained parts with parts_from: nano")
        if self.parts_from is not None and own:
            raise ValueError(f"section {own[0]} has no effect beside parts_from; remove one of the two")
        if (self.transformer is None) == (self.flow.init_from is None):
            raise ValueError(
                "either section transformer (from nothing) or flow.init_from (go on from weights) is needed"
            )
        if self.world is None and self.videos is None:
            raise ValueError("section world (rendered clips) or videos (a folder of them) is needed")
        return self

    @model_validator(mode="after")
    def _branch_has_twins(self) -> TrainSettings:
        if self.uni3c is None:
            return self
        if self.flow.init_from is None:
            raise ValueError(
                "flow.init_from: section uni3c trains a branch beside a trained transformer; name its weights"
            )
        if self.world is None or not self.world.twins:
            raise ValueError("world.twins: section uni3c learns from clips with twins; set it to true")
        if self.flow.i2v_share + self.flow.fl2v_share:
            raise ValueError("flow.i2v_share: has no place beside section uni3c; leave both shares at 0")
        return self

    @model_validator(mode="after")
    def _phases_find_clips(self) -> TrainSettings:
        for index, phase in enumerate(self.flow.phases):
            where = f"flow.phases[{index}]"
            if phase.world is not None and phase.world not in self.worlds:
                known = ", ".join(self.worlds) or "none"
                raise ValueError(f"{where}.world: no world is called '{phase.world}'; worlds: {known}")
            if self.world is not None:
                check_clip_length(self.world.clip_frames, "world.clip_frames", phase, self.flow, where)
            if self.videos is not None:
                check_clip_length(self.videos.clip_frames, "videos.clip_frames", phase, self.flow, where)
        return self


def check_clip_length(clip_frames: int, name: str, phase: Phase, chunk: ChunkSettings, where: str) -> None:
    """`ValueError` unless clips of `clip_frames` hold a chunk of `phase` with a reference of the chosen strategy."""
    if chunk.context_frames >= phase.chunk_frames:
        raise ValueError(f"{where}.chunk_frames: {phase.chunk_frames} must be above context_frames")
    if not chunk_starts(chunk.reference, phase.chunk_frames, clip_frames):
        raise ValueError(
            f"{name}: a clip of {clip_frames} frames holds no chunk of {phase.chunk_frames} ({where}) with a reference "
            f"by strategy {chunk.reference}; make clips longer or chunks shorter"
        )
