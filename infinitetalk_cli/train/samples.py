"""Pictures of what a model in training makes: a row per held-out chunk, its reference, true and generated frames."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from infinitetalk_cli.errors import writing_to
from infinitetalk_cli.models.codec import VideoCodec
from infinitetalk_cli.models.geometry import frames_from_pixels

NUM_ROWS = 4
_FRAMES_SHOWN = 5
_GAP_PX = 2


def sample_grid(codec: VideoCodec, reference: Tensor, truth: Tensor, generated: Tensor) -> np.ndarray:
    """A picture (h, w, 3) uint8 of latents: `reference` (b, c, 1, h, w), `truth` and `generated` (b, c, t, h, w).

    For every sample a row of its reference, true frames, and the generated ones of the same moments.
    """
    rows = []
    for one, true, made in zip(reference, truth, generated, strict=True):
        shown = [decoded(codec, one)[:1], picked(decoded(codec, true)), picked(decoded(codec, made))]
        rows.append(_side_by_side([_side_by_side(list(frames), axis=1) for frames in shown], axis=1, gap=4 * _GAP_PX))
    return _side_by_side(rows, axis=0)


def decoded(codec: VideoCodec, latents: Tensor) -> np.ndarray:
    """Frames (t, h, w, 3) uint8 of latents (c, t, h, w)."""
    with torch.inference_mode():
        return frames_from_pixels(codec.decode(latents[None].float()))


def picked(frames: np.ndarray) -> np.ndarray:
    """A few frames, evenly over the chunk, the last one included."""
    places = np.linspace(0, len(frames) - 1, min(_FRAMES_SHOWN, len(frames))).round().astype(int)
    return frames[places]


def write_grid(folder: Path, step: int, picture: np.ndarray) -> Path:
    """Write `picture` as the samples of `step`; its path."""
    path = folder / f"step-{step:06d}.png"
    with writing_to(path):
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(path)
    return path


def _side_by_side(pictures: list[np.ndarray], axis: int, gap: int = _GAP_PX) -> np.ndarray:
    """Pictures in a row or a column, with dark gaps between them."""
    shape = list(pictures[0].shape)
    shape[axis] = gap
    dark = np.full(shape, 24, np.uint8)
    parts = [part for picture in pictures for part in (picture, dark)]
    return np.concatenate(parts[:-1], axis=axis)
