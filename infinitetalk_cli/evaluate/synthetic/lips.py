"""Measures on a dubbed clip whose truth is known; plain functions of tensors.

Legend: t frames, h rows, w columns; pixels (3, t, h, w) in [-1, 1].
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

LAGS = (-3, -2, -1, 0, 1, 2, 3)
WIDE_LAGS = tuple(range(-8, 9))
GROUP = 4
"""Frames that the codec joins."""
_BLOCK_PX = 8
LEVELS = 127.5
"""Levels of 8 bit per unit of [-1, 1]."""


def correlation(a: Tensor, b: Tensor) -> float:
    """Pearson's correlation of two (t,) tracks; 0 if one of them never changes."""
    a, b = a.double() - a.double().mean(), b.double() - b.double().mean()
    scale = a.norm() * b.norm()
    return float((a * b).sum() / scale) if scale > 1e-12 else 0.0


def lag_curve(seen: Tensor, spoken: Tensor, lags: Sequence[int] = LAGS) -> list[float]:
    """Correlation at each of `lags`; a positive lag means that the picture is late."""
    curve = []
    for lag in lags:
        late, early = seen[max(lag, 0) :], spoken[max(-lag, 0) :]
        length = min(len(late), len(early))
        curve.append(correlation(late[:length], early[:length]))
    return curve


def peak_lag(curve: Sequence[float], lags: Sequence[int]) -> float:
    """Where a lag curve is highest, in frames, between them by a parabola through the three highest points."""
    top = max(range(len(curve)), key=curve.__getitem__)
    if top in (0, len(curve) - 1):
        return float(lags[top])
    before, here, after = curve[top - 1 : top + 2]
    bend = before - 2 * here + after
    return lags[top] + (0.5 * (before - after) / bend if bend < 0 else 0.0)


def outside(region: Tensor) -> Tensor:
    """(h, w) bool, True where a mouth bump (h, w) of height 1 is small."""
    return region < 0.05


def color_error(pixels: Tensor, truth: Tensor, keep: Tensor) -> float:
    """Mean difference of the colours of 8 x 8 px blocks where `keep` (h, w) is True, in levels of 255."""
    blocks = [F.avg_pool2d(p.movedim(1, 0) * keep, _BLOCK_PX) for p in (pixels, truth)]
    share = F.avg_pool2d(keep.float()[None, None], _BLOCK_PX)[0, 0]
    full = share > 0.99
    return float((blocks[0] - blocks[1]).abs()[..., full].mean()) * LEVELS


def psnr(pixels: Tensor, truth: Tensor, weight: Tensor) -> float:
    """Peak signal to noise in dB, squared errors weighted by `weight` (h, w) or (t, h, w)."""
    error = (pixels - truth).square().mean(0)
    weight = weight.expand_as(error)
    return float(10 * torch.log10(4 * weight.sum() / (error * weight).sum()))


def sharpness(pixels: Tensor, weight: Tensor) -> float:
    """Mean strength of edges, weighted by `weight` (h, w) or (t, h, w)."""
    grey = pixels.mean(0)
    across, down = grey.diff(dim=2)[:, :-1].abs(), grey.diff(dim=1)[:, :, :-1].abs()
    weight = weight.expand_as(grey)[:, :-1, :-1]
    return float(((across + down) * weight).sum() / weight.sum())


def frame_changes(pixels: Tensor) -> Tensor:
    """(t - 1,) mean change from each frame to the next, in levels of 255."""
    return pixels.diff(dim=1).abs().mean(dim=(0, 2, 3)) * LEVELS


def boundary_changes(changes: Tensor, seams: list[int], group: int = 4) -> dict[str, float]:
    """How visible the joints are, from `frame_changes`: `seams` are the first frames of later chunks.

    `seam` and `seam_median`: change at seams over that at other group boundaries and over the median change.
    `group`: change at group boundaries over the mean. Groups end at frames 4, 8, ... of a chunk, and every
    chunk starts on one.
    """
    at_group = torch.arange(1, len(changes) + 1) % group == 1
    at_seam = torch.zeros_like(at_group)
    at_seam[[seam - 1 for seam in seams]] = True
    between = changes[at_group & ~at_seam].mean()
    values = {"group": float(between / changes.mean())}
    if seams:
        values["seam"] = float(changes[at_seam].mean() / between)
        values["seam_median"] = float(changes[at_seam].mean() / changes.median())
    return values
