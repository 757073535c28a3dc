"""Prompts -> what the transformer reads of them.

A stage of its own, because the text encoder is the largest network after the transformer: one prompt is encoded once,
however many videos it goes with.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel

from infinitetalk_cli.checkpoints.files import TEXT_ENCODER
from infinitetalk_cli.config.base import Settings
from infinitetalk_cli.config.job import Job
from infinitetalk_cli.errors import writing_to
from infinitetalk_cli.stages.stage import Inputs, Stage, StageContext

if TYPE_CHECKING:
    from torch import Tensor


class TextEmbeddingSettings(Settings):
    """What decides the embeddings, besides the encoder."""

    prompt: str
    negative_prompt: str
    dtype: Literal["float32", "bfloat16"]


def embed_text(inputs: Inputs, settings: TextEmbeddingSettings, out_dir: Path, ctx: StageContext) -> None:
    """Write `text.safetensors`: `prompt` and `negative_prompt`, each (n, d) float32, n tokens."""
    from safetensors.torch import save_file

    ctx.progress.start("loading the text encoder")
    encoder = ctx.models.text_encoder()
    ctx.progress.start("text embedding")
    prompt, negative = encoder.embed((settings.prompt, settings.negative_prompt))
    with writing_to(out_dir):
        save_file({"prompt": prompt, "negative_prompt": negative}, out_dir / "text.safetensors")


def read_text(path: Path) -> tuple[Tensor, Tensor]:
    """The embeddings (1, n, d) of prompt and negative prompt that this stage wrote."""
    from safetensors.torch import load_file

    tensors = load_file(path)
    return tensors["prompt"][None], tensors["negative_prompt"][None]


def _settings(job: Job) -> BaseModel:
    sampling = job.profile.sampling
    return TextEmbeddingSettings(
        prompt=sampling.prompt, negative_prompt=sampling.negative_prompt, dtype=job.profile.compute.dtype
    )


def _applies(job: Job) -> bool:
    return job.profile.model.reads_text


TEXT_EMBEDDING = Stage(
    name="text_embedding",
    version=1,
    inputs=(),
    outputs={"text": "text.safetensors"},
    settings=_settings,
    run=embed_text,
    networks=(TEXT_ENCODER,),
    applies=_applies,
)
