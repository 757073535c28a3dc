"""Small pictures to measure on: every frame reduced so far that noise averages out and composition stays."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from PIL import Image

SMALL_PX = 32
"""Longest side of the pictures that gates measure."""


def shrink(frames_u8: Iterable[np.ndarray], longest_px: int = SMALL_PX) -> np.ndarray:
    """`frames_u8` (h, w, 3) of equal size as (t, h', w', 3) uint8, longest side `longest_px`: the mean of each cell."""
    return np.stack([_shrunk(frame, longest_px) for frame in frames_u8])


def lightness(pictures_u8: np.ndarray) -> np.ndarray:
    """Luma (..., h, w) in levels of 0-255 of `pictures_u8` (..., h, w, 3); BT.601 weights."""
    return pictures_u8 @ np.array((0.299, 0.587, 0.114), np.float32)


def _shrunk(frame: np.ndarray, longest_px: int) -> np.ndarray:
    height, width = frame.shape[:2]
    scale = min(1.0, longest_px / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(Image.fromarray(np.ascontiguousarray(frame)).resize(size, Image.Resampling.BOX))
