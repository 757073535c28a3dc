"""Whether a generated character keeps its looks, chunk by chunk, however it moves.

Every frame is brought back onto the first true frame by where its head was found, so that pose is no error. Legend:
t frames, h rows, w columns; pixels (3, t, h, w) in [-1, 1].
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from infinitetalk_cli.evaluate.synthetic.tracking import Track, blurred, warped

_LEVELS = 127.5
_COARSE, _FINE = 0.06, 0.01
"""Deviation of the blur under which colours, and details, are compared: shares of the shorter side."""


@dataclass(frozen=True)
class Appearance:
    """By chunk. color: mean difference of the colours of a region, large scale, in levels of 255. likeness: mean
    correlation of its details with those of the reference, 1 the same, 0 another one."""

    color: list[float]
    likeness: list[float]


def _mean(values: Tensor, weight: Tensor) -> Tensor:
    return (values * weight).sum(dim=(-2, -1)) / weight.sum(dim=(-2, -1)).clamp(min=1e-6)


def _colors(pixels: Tensor, weight: Tensor, deviation_px: float) -> Tensor:
    """(t, 3, h, w) blurred colours of what `weight` (t, h, w) lets in: the surroundings take no part."""
    weight = weight[:, None]
    return blurred(pixels * weight, deviation_px) / blurred(weight, deviation_px).clamp(min=1e-3)


def _details(pixels: Tensor, side: int) -> Tensor:
    """(t, h, w) brightness with neither the large nor the smallest scales."""
    grey = pixels.mean(1, keepdim=True)
    return (blurred(grey, _FINE * side) - blurred(grey, _COARSE * side))[:, 0]


def appearance(
    pixels: Tensor, track: Track, reference: Tensor, region: Tensor, covered: Tensor, spans: Sequence[slice]
) -> Appearance:
    """How a `region` (h, w) of `reference` (3, h, w) has changed in each of `spans` of frames.

    `track`: where the region was found; `covered` (t, h, w): what stands before it in each frame.
    """
    frames = pixels.movedim(1, 0).float()
    side = min(frames.shape[2:])
    picture, inside = warped(frames, track.shift, track.factor)
    hidden, _ = warped(covered[:, None].float(), track.shift, track.factor)
    weight = region * inside * (hidden[:, 0] < 0.02)
    wanted = reference[None].float()
    found_color, true_color = (_colors(pixels, weight, _COARSE * side) for pixels in (picture, wanted))
    color = _mean((found_color - true_color).abs().mean(1), weight)
    # Nothing outside the region may count: both pictures show the reference there.
    placed = torch.where(weight[:, None] > 0, picture, wanted.expand_as(picture))
    found, true = _details(placed, side), _details(wanted, side).expand(len(frames), -1, -1)
    found, true = (d - _mean(d, weight)[:, None, None] for d in (found, true))
    shared = _mean(found * true, weight)
    likeness = shared / (_mean(found**2, weight) * _mean(true**2, weight)).sqrt().clamp(min=1e-9)
    return Appearance(
        [float(color[span].mean()) * _LEVELS for span in spans], [float(likeness[span].mean()) for span in spans]
    )
