"""Points of the background followed from one picture to the next, and the motion of the camera that most agree on.

Legend: n pairs of pictures, k points; places (n, k, 2) are x and y in pixels. A motion maps a place p = x + iy, counted
from the middle of the picture, to shift + factor p: zoom is the length of the factor, roll its angle.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from infinitetalk_cli.evaluate.measures.flow import corner_strength

POINTS = 72
BACK_PX, AGREES_PX = 0.7, 1.5
"""A point counts if followed there and back it ends so near, and as agreeing if the common motion leads so near."""

_HALF_WINDOW_PX, _LEVELS, _STEPS = 4, 4, 4
_APART_PX, _EDGE_PX = 2, 2
"""At a quarter of the size: corners are so far apart, and from the edges."""
_WEAKEST = 0.02
"""Corners weaker than this share of the strongest are grain."""
_GRAIN = 1e-3
_HYPOTHESES, _FEWEST = 96, 6
_REFIT_PX = (1.5, 1.0, 0.6, 0.4)
"""What moves nearly as the background does is left out step by step, as long as enough points remain."""


@dataclass(frozen=True)
class CameraSteps:
    """From each picture to the next: shift (n,) complex128 in pixels, factor (n,) complex128; and of the points that
    were looked for the share (n,) float64 that agrees, 0 where there were too few."""

    shift: Tensor
    factor: Tensor
    agree: Tensor


@torch.no_grad()
def camera_steps(before: Tensor, after: Tensor, background: Tensor) -> CameraSteps:
    """The motion between grey pictures (n, h, w) by the corners where `background` (n, h, w) of `before` is True."""
    first, second = (_pyramid(pictures[:, None].float()) for pictures in (before, after))
    places, is_point = _corners(first[2][:, 0], background)
    there = _followed(first, second, places)
    back = _followed(second, first, there)
    height, width = before.shape[1:]
    inside = ((there >= 0) & (there <= torch.tensor([width - 1.0, height - 1.0]))).all(dim=-1)
    good = is_point & inside & ((back - places).norm(dim=-1) < BACK_PX)
    middle = torch.tensor([(width - 1) / 2, (height - 1) / 2])
    p, q = (torch.view_as_complex((at - middle).double().contiguous()) for at in (places, there))
    return _common_motion(p, q, good, is_point)


def _pyramid(pictures: Tensor) -> list[Tensor]:
    levels = [F.avg_pool2d(F.pad(pictures, (1, 1, 1, 1), mode="replicate"), 3, 1)]
    for _ in range(_LEVELS - 1):
        levels.append(F.avg_pool2d(levels[-1], 2))
    return levels


def _corners(quarter: Tensor, background: Tensor) -> tuple[Tensor, Tensor]:
    """The strongest corners: places (n, k, 2) at full size, and which of them are any (n, k)."""
    strength = corner_strength(quarter)
    seen = F.interpolate(background[:, None].float(), quarter.shape[1:], mode="area")[:, 0] > 0.99
    strength = strength * seen
    edge = torch.zeros_like(strength)
    edge[:, _EDGE_PX:-_EDGE_PX, _EDGE_PX:-_EDGE_PX] = 1
    side = 2 * _APART_PX + 1
    peak = F.max_pool2d(strength[:, None], side, 1, _APART_PX)[:, 0]
    strength = strength * edge * (strength == peak)
    value, index = strength.flatten(1).topk(min(POINTS, strength[0].numel()), dim=1)
    width = quarter.shape[2]
    places = torch.stack((index % width, index // width), dim=-1).float() * 4 + 1.5
    return places, value > torch.clamp(_WEAKEST * value[:, :1], min=_GRAIN)


def _followed(first: list[Tensor], second: list[Tensor], places: Tensor) -> Tensor:
    """Where the windows around `places` (n, k, 2) of the first pictures are found in the second ones."""
    wide, window = _window(_HALF_WINDOW_PX + 1), _window(_HALF_WINDOW_PX)
    side = 2 * _HALF_WINDOW_PX + 3
    moved = torch.zeros_like(places)
    for level in reversed(range(_LEVELS)):
        scale = 2.0**-level
        at = (places + 0.5) * scale - 0.5
        template = _sampled(first[level], at[:, :, None] + wide)[:, 0].unflatten(-1, (side, side))
        levels = template[..., 1:-1, 1:-1].flatten(-2)  # (n, k, window)
        levels = levels - levels.mean(dim=-1, keepdim=True)  # light may change
        right = ((template[..., 1:-1, 2:] - template[..., 1:-1, :-2]) / 2).flatten(-2)
        down = ((template[..., 2:, 1:-1] - template[..., :-2, 1:-1]) / 2).flatten(-2)
        xx, xy, yy = (product.sum(-1) for product in (right * right, right * down, down * down))
        xx, yy = xx + _GRAIN, yy + _GRAIN
        moved = moved * scale
        for _ in range(_STEPS):
            seen = _sampled(second[level], (at + moved)[:, :, None] + window)[:, 0]
            error = levels - (seen - seen.mean(dim=-1, keepdim=True))
            x, y = (right * error).sum(-1), (down * error).sum(-1)
            step = torch.stack((yy * x - xy * y, xx * y - xy * x), dim=-1) / (xx * yy - xy * xy)[..., None]
            moved = moved + step.clamp(-4, 4)
        moved = moved / scale
    return places + moved


def _window(half: int) -> Tensor:
    """Places (m, 2) of a square window around its middle, row by row."""
    around = torch.arange(-half, half + 1, dtype=torch.float32)
    return torch.stack(torch.meshgrid(around, around, indexing="xy"), dim=-1).view(-1, 2)


def _sampled(pictures: Tensor, at: Tensor) -> Tensor:
    """Pictures (n, c, h, w) at places (n, k, m, 2): (n, c, k, m)."""
    size = torch.tensor([pictures.shape[3], pictures.shape[2]], dtype=torch.float32)
    grid = (2 * at + 1) / size - 1
    return F.grid_sample(pictures, grid, mode="bilinear", padding_mode="border", align_corners=False)


def _common_motion(p: Tensor, q: Tensor, good: Tensor, is_point: Tensor) -> CameraSteps:
    """RANSAC over pairs of points, then least squares over those that agree; the draws are always the same."""
    count = good.sum(dim=1)
    order = torch.argsort(good.int(), dim=1, descending=True, stable=True)
    p, q, good = (values.gather(1, order) for values in (p, q, good))
    draws = torch.rand(2, _HYPOTHESES, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    one, other = ((draw * count[:, None]).long().clamp(max=p.shape[1] - 1) for draw in draws)
    apart = p.gather(1, one) - p.gather(1, other)
    factor = torch.where(apart.abs() > 1, (q.gather(1, one) - q.gather(1, other)) / apart, 1.0 + 0j)
    shift = q.gather(1, one) - factor * p.gather(1, one)
    off = (q[:, None] - shift[..., None] - factor[..., None] * p[:, None]).abs()
    votes = ((off < AGREES_PX) & good[:, None]).sum(-1)
    best = votes.argmax(dim=1, keepdim=True)
    agrees = (off.gather(1, best[..., None].expand(-1, -1, off.shape[2]))[:, 0] < AGREES_PX) & good
    for limit in _REFIT_PX:
        shift, factor = _least_squares(p, q, agrees)
        off = (q - shift[:, None] - factor[:, None] * p).abs()
        nearer = (off < limit) & good
        agrees = torch.where(nearer.sum(dim=1, keepdim=True) >= _FEWEST, nearer, agrees)
    shift, factor = _least_squares(p, q, agrees)
    agrees = ((q - shift[:, None] - factor[:, None] * p).abs() < AGREES_PX) & good
    looked = is_point.sum(dim=1).clamp(min=1)
    share = agrees.sum(dim=1) / looked.double()
    lost = agrees.sum(dim=1) < _FEWEST
    return CameraSteps(torch.where(lost, 0j, shift), torch.where(lost, 1.0 + 0j, factor), torch.where(lost, 0.0, share))


def _least_squares(p: Tensor, q: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    total = weight.sum(dim=1).clamp(min=1)
    middle_p, middle_q = ((values * weight).sum(dim=1) / total for values in (p, q))
    from_p, from_q = (p - middle_p[:, None]) * weight, (q - middle_q[:, None]) * weight
    factor = (from_p.conj() * from_q).sum(dim=1) / (from_p.abs() ** 2).sum(dim=1).clamp(min=1e-9)
    factor = torch.where(factor.abs() < 1e-6, 1.0 + 0j, factor)
    return middle_q - factor * middle_p, factor
