"""Picture sizes and pixel ranges. Sizes are (height, width)."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from typing import TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from PIL import Image
from torch import Tensor

Size = tuple[int, int]
_Picture = TypeVar("_Picture", np.ndarray, Tensor)

BUCKETS_480: Mapping[str, Size] = {
    "0.26": (320, 1216), "0.38": (384, 1024), "0.50": (448, 896), "0.67": (512, 768), "0.82": (576, 704),
    "1.00": (640, 640), "1.22": (704, 576), "1.50": (768, 512), "1.86": (832, 448), "2.00": (896, 448),
    "2.50": (960, 384), "2.83": (1088, 384), "3.60": (1152, 320), "3.80": (1216, 320), "4.00": (1280, 320),
}  # fmt: skip
"""Published sizes near 640x640 by their height / width, in the order that decides ties."""

BUCKETS_720: Mapping[str, Size] = {
    "0.22": (448, 2048), "0.29": (512, 1792), "0.36": (576, 1600), "0.45": (640, 1408), "0.55": (704, 1280),
    "0.63": (768, 1216), "0.76": (832, 1088), "0.88": (896, 1024), "1.00": (960, 960), "1.14": (1024, 896),
    "1.31": (1088, 832), "1.50": (1152, 768), "1.58": (1216, 768), "1.82": (1280, 704), "1.91": (1344, 704),
    "2.20": (1408, 640), "2.30": (1472, 640), "2.67": (1536, 576), "2.89": (1664, 576), "3.62": (1856, 512),
    "3.75": (1920, 512),
}  # fmt: skip
"""Published sizes near 960x960."""


def fit_size(source: Size, area_px: int, multiple: int) -> Size:
    """The size near `area_px` pixels, in whole multiples, that distorts a picture of `source` size least.

    Both sides are rounded up or down; the best of the four keeps the aspect ratio first and the area second.
    """
    ratio = source[0] / source[1]
    ideal = (math.sqrt(area_px * ratio), math.sqrt(area_px / ratio))
    candidates = itertools.product(*(_neighbours(side, multiple) for side in ideal))

    def error(size: Size) -> float:
        distortion = abs(math.log(size[0] / size[1] / ratio))
        return distortion + 0.5 * abs(math.log(size[0] * size[1] / area_px))

    return min(candidates, key=error)


def _neighbours(side: float, multiple: int) -> tuple[int, int]:
    """The multiples around `side`, at least one multiple."""
    below = max(1, math.floor(side / multiple)) * multiple
    return below, below + multiple


def choose_bucket(source: Size, buckets: Mapping[str, Size]) -> str:
    """Key of the published bucket whose ratio is nearest to that of `source`; the first wins a tie."""
    ratio = source[0] / source[1]
    return min(buckets, key=lambda key: abs(float(key) - ratio))


def resize_frame(frame_u8: np.ndarray, size: Size) -> np.ndarray:
    """`frame_u8` (h, w, 3) at exactly `size`: bilinear, antialiased when it shrinks, nothing cut off."""
    if frame_u8.shape[:2] == size:
        return frame_u8
    return np.asarray(Image.fromarray(frame_u8).resize((size[1], size[0]), Image.Resampling.BILINEAR))


def cover_and_crop(frame_u8: np.ndarray, size: Size) -> np.ndarray:
    """The published way to `size`: scaled to cover it, then cut around the centre."""
    return centre_crop(resize_frame(frame_u8, covering_size(frame_u8.shape[:2], size)), size)


def cover_and_crop_masks(masks: Tensor, size: Size) -> Tensor:
    """`masks` (c, h, w) through the steps of `cover_and_crop`, nearest instead of bilinear."""
    scaled = F.interpolate(masks[None].float(), size=covering_size(masks.shape[1:], size), mode="nearest")[0]
    return centre_crop(scaled.permute(1, 2, 0), size).permute(2, 0, 1).to(masks.dtype)


def covering_size(source: Size, size: Size) -> Size:
    """`source` scaled to cover `size`. The product may land just above an integer, as in the original."""
    scale = max(size[0] / source[0], size[1] / source[1])
    return math.ceil(scale * source[0]), math.ceil(scale * source[1])


def centre_crop(frame: _Picture, size: Size) -> _Picture:
    """The centre of `frame` (h, w, c); halves round to even."""
    top, left = (round((have - want) / 2) for have, want in zip(frame.shape[:2], size, strict=True))
    return frame[top : top + size[0], left : left + size[1]]


def pixels_from_frames(frames_u8: np.ndarray) -> Tensor:
    """Pixels (1, 3, t, h, w) in [-1, 1], float32, of `frames_u8` (t, h, w, 3)."""
    frames = torch.from_numpy(np.array(frames_u8)).float()
    return rearrange((frames / 255 - 0.5) * 2, "t h w c -> 1 c t h w").contiguous()


def frames_from_pixels(pixels: Tensor) -> np.ndarray:
    """Nearest `frames_u8` (t, h, w, 3) of `pixels` (1, 3, t, h, w) in [-1, 1]."""
    levels = ((pixels.float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    return rearrange(levels, "1 c t h w -> t h w c").cpu().numpy()
