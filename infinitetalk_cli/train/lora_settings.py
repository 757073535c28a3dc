"""The configuration of a LoRA's training: what `infinitetalk train` reads from a YAML file with the key `model`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PositiveInt, model_validator

from infinitetalk_cli.train.settings import (
    ChunkSettings,
    OptimizerSettings,
    Positive,
    VideoSettings,
    check_clip_length,
)
from infinitetalk_cli.world.settings import Settings, Share


class AdapterSettings(Settings):
    """Low-rank adapters: `rank`, `alpha` (their weight is alpha / rank), and the linear layers that get one."""

    rank: PositiveInt
    alpha: Positive
    targets: Annotated[
        tuple[Literal["self_attention", "text_attention", "audio_attention", "feed_forward"], ...], Field(min_length=1)
    ]


class AdapterFlowSettings(OptimizerSettings, ChunkSettings):
    """Flow matching of adapters. `text_dropout` of the samples get an empty prompt, for guidance.

    `references_per_clip`: so many reference frames of each clip are encoded beforehand, and one of them is drawn.
    """

    text_dropout: Share
    references_per_clip: PositiveInt


class LoraSettings(Settings):
    """LoRA fine-tuning of a large model. `model` is the profile whose weights are the frozen base.

    A file `clip.txt` beside `clip.mp4` is the prompt of that video; the others have `prompt`.
    """

    name: str
    model: str
    dtype: Literal["bfloat16", "float32"]
    prompt: str
    videos: VideoSettings
    lora: AdapterSettings
    flow: AdapterFlowSettings

    @model_validator(mode="after")
    def _fits_what_exists(self) -> LoraSettings:
        flow = self.flow
        if flow.precision != "no":
            raise ValueError("flow.precision: must be no for a LoRA: the base has its own dtype, adapters are float32")
        if flow.i2v_share or flow.fl2v_share:
            raise ValueError("i2v_share and fl2v_share are baselines of nano's training; they must be 0 for a LoRA")
        if len({phase.chunk_frames for phase in flow.phases}) > 1:
            raise ValueError("all phases must have the same chunk_frames: clips are encoded once, for one length")
        if any(phase.crop_latents or phase.world for phase in flow.phases):
            raise ValueError("crop_latents and world belong to nano's training; leave them out for a LoRA")
        check_clip_length(self.videos.clip_frames, "videos.clip_frames", flow.phases[0], flow, "flow.phases[0]")
        return self
