"""What a model consists of on this machine, as plain values: networks, and the files of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Layout = Literal["ours", "original", "diffusers"]
"""Whose names the tensors carry: our own exports, the published checkpoints', or diffusers' and transformers'."""

TRANSFORMER, CODEC, AUDIO_ENCODER = "transformer", "codec", "audio_encoder"
IMAGE_ENCODER, TEXT_ENCODER = "image_encoder", "text_encoder"
"""The networks of a model; nano has the first three only."""

CONTROL = "uni3c"
"""The camera branch beside the transformer; needed only where a job steers by it."""

DIARIZER = "diarizer"
"""Tells voices apart; no part of any model, needed for `--diarize` only."""


@dataclass(frozen=True)
class LoraWeights:
    """A file of low-rank changes, and how strongly they count; `honours_alpha` False leaves the file's alphas out."""

    path: Path
    weight: float
    honours_alpha: bool = True


@dataclass(frozen=True)
class NetworkFiles:
    """The files of one network.

    `weights` are merged in this order, later ones win. `tokenizer` is the folder of the text encoder's tokenizer.
    """

    layout: Layout
    weights: tuple[Path, ...]
    config: Path | None = None
    tokenizer: Path | None = None
    loras: tuple[LoraWeights, ...] = ()

    @property
    def all_files(self) -> tuple[Path, ...]:
        """Every file that decides what the network computes."""
        settings = () if self.config is None else (self.config,)
        has_tokenizer = self.tokenizer is not None and self.tokenizer.is_dir()
        tokens = tuple(sorted(p for p in self.tokenizer.iterdir() if p.is_file())) if has_tokenizer else ()
        return (*settings, *self.weights, *tokens, *(lora.path for lora in self.loras))


@dataclass(frozen=True)
class ModelFiles:
    """All networks of one model, by name."""

    family: str
    networks: Mapping[str, NetworkFiles]
