"""Dense optical flow by Lucas and Kanade's equations over windows, from coarse to fine; nothing is learned.

Legend: n pairs of pictures, h rows, w columns; flow (n, 2, h, w) right and down in pixels: what is at p in the first
picture is at p + flow(p) in the second.
"""

from __future__ import annotations

from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

LEVELS = 3
_SIDE_PX, _STEPS = 5, 3
_LARGEST_STEP_PX = 1.5
_WIDE_PX = 21
_GRAIN = 0.15
"""Squared gradient, in levels per px, that may be grain: windows with less of it hold still."""


@torch.no_grad()
def dense_flow(before: Tensor, after: Tensor) -> Tensor:
    """Flow from `before` to `after`, both grey levels (n, h, w)."""
    pyramids = [_pyramid(pictures[:, None].float()) for pictures in (before, after)]
    flow = torch.zeros(len(before), 2, *pyramids[0][-1].shape[2:])
    for first, second in zip(*(reversed(pyramid) for pyramid in pyramids), strict=True):
        if flow.shape[2:] != first.shape[2:]:
            scale = torch.tensor([first.shape[3] / flow.shape[3], first.shape[2] / flow.shape[2]]).view(1, 2, 1, 1)
            flow = F.interpolate(flow, first.shape[2:], mode="bilinear", align_corners=False) * scale
        flow = _refined(first, second, flow)
    return flow


def warped(pictures: Tensor, flow: Tensor) -> Tensor:
    """`pictures` (n, c, h, w) seen from where `flow` leads: what is at p + flow(p) is shown at p."""
    height, width = pictures.shape[2:]
    columns = torch.arange(width) + flow[:, 0]
    rows = torch.arange(height)[:, None] + flow[:, 1]
    grid = torch.stack((2 * columns / (width - 1) - 1, 2 * rows / (height - 1) - 1), dim=-1)
    return F.grid_sample(pictures, grid, mode="bilinear", padding_mode="border", align_corners=True)


def without_light(pictures: Tensor) -> Tensor:
    """Pictures (n, 1, h, w) without their brightness on a large scale, so that its changes are no motion."""
    return pictures - box_mean(pictures, _WIDE_PX)


def _pyramid(pictures: Tensor) -> list[Tensor]:
    levels = [pictures]
    for _ in range(LEVELS - 1):
        if min(levels[-1].shape[2:]) < 32:
            break
        levels.append(F.avg_pool2d(levels[-1], 2))
    return levels


def _refined(first: Tensor, second: Tensor, flow: Tensor) -> Tensor:
    right, down = _gradients(first)
    xx, xy, yy = (_windowed(product) for product in (right * right, right * down, down * down))
    xx, yy = xx + _GRAIN, yy + _GRAIN
    scale = 1 / (xx * yy - xy * xy)
    for _ in range(_STEPS):
        error = first - warped(second, flow)
        x, y = _windowed(right * error), _windowed(down * error)
        step = torch.cat(((yy * x - xy * y) * scale, (xx * y - xy * x) * scale), dim=1)
        flow = flow + step.clamp(-_LARGEST_STEP_PX, _LARGEST_STEP_PX)
    return flow


def _gradients(pictures: Tensor) -> tuple[Tensor, Tensor]:
    """Slopes to the right and down of (n, 1, h, w)."""
    padded = F.pad(pictures, (1, 1, 1, 1), mode="replicate")
    right = (padded[:, :, 1:-1, 2:] - padded[:, :, 1:-1, :-2]) / 2
    return right, (padded[:, :, 2:, 1:-1] - padded[:, :, :-2, 1:-1]) / 2


def _windowed(values: Tensor) -> Tensor:
    """Means over square windows, twice, so that the middle of the window counts most."""
    return box_mean(values, _SIDE_PX, times=2)


def box_mean(values: Tensor, side_px: int, times: int = 1) -> Tensor:
    """Means (n, c, h, w) over the square of odd side around each place, or what of it is inside, so many `times`."""
    height, width = values.shape[2:]
    return _window_means(height, side_px, times) @ values @ _window_means(width, side_px, times).T


@cache
def _window_means(length: int, side: int, times: int) -> Tensor:
    """(length, length): times a column, the means of its windows. Torch's own pooling takes ten times as long."""
    places = torch.arange(length)
    inside = ((places[:, None] - places).abs() <= side // 2).float()
    return torch.linalg.matrix_power(inside / inside.sum(dim=1, keepdim=True), times)
