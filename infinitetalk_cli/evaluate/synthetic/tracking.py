"""Where a region of a reference picture is found in every frame of a video: shift, zoom and roll.

Frames are aligned to the reference by Gauss-Newton steps on the differences of their colours (the inverse
compositional form: gradients are those of the reference, so all frames share them), from coarse to fine, with
weights that take out what does not fit. Nothing is learned and no truth is used.

Legend: t frames, h rows, w columns; pixels (3, t, h, w) in [-1, 1]. A point p = x + iy, in pixels from the middle of
the picture, y down, is seen at shift + factor p: complex numbers hold shift (t,) and factor (t,).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

_BLURS = (0.05, 0.025, 0.0125, 0.007)
"""Deviation of the blur from coarse to fine, as a share of the shorter side (96 px: 4.8 .. 0.7 px)."""
_STEPS = 12
_SMALLEST_SCALE = 0.01
"""Differences of colour (of -1..1) below which nothing counts as an outlier."""
_BETTER = 0.8
"""A frame is tried again from a neighbour whose residual is at most this share of its own."""
_LEAST_SHARE, _LOST = 0.15, 10.0
"""A frame in which less of the region than this share is in sight is charged so much: any other estimate wins."""
_SMALL_PX = 2e-3
_HOLD = 1e-3
"""How much each step is held back along directions in which the region looks alike, as along stripes."""
_LARGEST_STEP = 0.06
"""Of one step, as a share of half the shorter side."""


@dataclass(frozen=True)
class Track:
    """shift: (t,) complex128 in pixels; factor: (t,) complex128, its length the zoom, its angle the roll; residual:
    (t,) float64, mean difference of colours where the region was found."""

    shift: Tensor
    factor: Tensor
    residual: Tensor

    def seen_at(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Where points of the reference, in pixels from its middle, are seen in every frame."""
        place = self.shift + self.factor * torch.complex(x.double(), y.double())
        return place.real, place.imag


def blurred(pixels: Tensor, deviation_px: float) -> Tensor:
    """(n, c, h, w) through a Gaussian; edges repeat."""
    radius = max(1, round(3 * deviation_px))
    kernel = torch.exp(-0.5 * (torch.arange(-radius, radius + 1) / deviation_px) ** 2)
    kernel = (kernel / kernel.sum()).to(pixels)
    channels = pixels.shape[1]
    across = kernel.view(1, 1, 1, -1).expand(channels, 1, 1, -1)
    padded = F.pad(pixels, (radius, radius, radius, radius), mode="replicate")
    return F.conv2d(F.conv2d(padded, across, groups=channels), across.transpose(2, 3), groups=channels)


def centred_grid(height: int, width: int) -> Tensor:
    """(h, w) complex64: every pixel from the middle of the picture."""
    y = torch.arange(height) - (height - 1) / 2
    x = torch.arange(width) - (width - 1) / 2
    return torch.complex(x.expand(height, width), y[:, None].expand(height, width))


def warped(frames: Tensor, shift: Tensor, factor: Tensor) -> tuple[Tensor, Tensor]:
    """Frames (t, c, h, w) brought back onto the reference, and (t, h, w) bool: what was inside the picture."""
    height, width = frames.shape[2:]
    place = shift.to(torch.complex64)[:, None, None] + factor.to(torch.complex64)[:, None, None] * centred_grid(
        height, width
    )
    u, v = place.real * 2 / (width - 1), place.imag * 2 / (height - 1)
    picture = F.grid_sample(frames, torch.stack((u, v), dim=-1), align_corners=True, padding_mode="border")
    return picture, (u.abs() <= 1) & (v.abs() <= 1)


@dataclass(frozen=True)
class _Template:
    """Points of the reference that are looked for, n of them.

    place: (n,) complex64 from the middle of the picture; weight: (n,); color: (3, n); slopes: (4, 3, n) change of the
    colour with shift x, shift y, growth and turn, the latter per half side so that all four are of one size;
    products: (n, 16) float32 of slopes with slopes, over colours.
    """

    place: Tensor
    weight: Tensor
    color: Tensor
    slopes: Tensor
    products: Tensor


def _template(reference: Tensor, region: Tensor, deviation_px: float) -> _Template:
    """Points as dense as the blur makes sensible."""
    height, width = reference.shape[1:]
    picture = blurred(reference[None].float(), deviation_px)[0]
    down, across = torch.gradient(picture, dim=(1, 2))
    grid = centred_grid(height, width)
    every = max(1, round(deviation_px))
    chosen = torch.zeros(height, width, dtype=torch.bool)
    chosen[every // 2 :: every, every // 2 :: every] = True
    chosen &= region > 0
    x, y = grid.real / (min(height, width) / 2), grid.imag / (min(height, width) / 2)
    slopes = torch.stack((across, down, across * x + down * y, down * x - across * y))[..., chosen]
    products = torch.einsum("kcn,lcn->nkl", slopes, slopes).flatten(1)
    return _Template(grid[chosen], region[chosen].float(), picture[:, chosen], slopes, products)


def track_region(
    pixels: Tensor, reference: Tensor, region: Tensor, covered: Tensor | None = None, passes: int = 8
) -> Track:
    """Where `region` (h, w; weights 0..1) of `reference` (3, h, w) is in each frame of `pixels`.

    `covered`: (t, h, w), 1 where something else stands before the region in that frame. Every frame is first found
    by itself, then again from where a neighbour was found that fits clearly better; the better fit stays. That is
    repeated up to `passes` times, so that a run of lost frames is found from its ends.
    """
    frames = pixels.movedim(1, 0).float()
    if covered is None:
        covered = torch.zeros(len(frames), *frames.shape[2:])
    still = torch.zeros(len(frames), dtype=torch.complex128)
    best = Track(still, still + 1, still.real)
    levels = []
    for share in _BLURS:
        deviation_px = share * min(frames.shape[2:])
        level = torch.cat((blurred(frames, deviation_px), 1 - covered.float()[:, None]), dim=1)
        levels.append((level, _template(reference, region, deviation_px)))
        best = _aligned(*levels[-1], best)
    for number in range(passes):
        again = _of_neighbours(best, 1 + number % 2)
        tried = torch.nonzero(again.residual < _BETTER * best.residual).flatten()
        if len(tried) == 0:
            continue
        again = Track(*(values[tried] for values in vars(again).values()))
        for level, template in levels[1:]:
            again = _aligned(level[tried], template, again)
        better = again.residual < best.residual[tried]
        for name, values in vars(best).items():
            values[tried[better]] = getattr(again, name)[better]
    return best


def _of_neighbours(track: Track, distance: int) -> Track:
    """For every frame the estimate of that frame, `distance` before or after it, that was found better."""
    count = len(track.shift)
    index = torch.arange(count)[:, None] + torch.tensor((-distance, distance))
    index = index.clamp(0, count - 1)
    chosen = index.gather(1, track.residual[index].argmin(dim=1, keepdim=True))[:, 0]
    return Track(track.shift[chosen], track.factor[chosen], track.residual[chosen])


def _aligned(frames: Tensor, template: _Template, start: Track) -> Track:
    """`frames` (t, 4, h, w): colours, and 1 where nothing stands before the region."""
    half = min(frames.shape[2:]) / 2
    shift, factor, largest = start.shift, start.factor, _LARGEST_STEP * half
    for _ in range(_STEPS):
        difference, weight = _differences(frames, template, shift, factor, robust=True)
        pull = torch.einsum("tcn,kcn->tk", difference * weight[:, None], template.slopes).double()
        normal = (weight @ template.products).view(-1, 4, 4).double()
        size = normal.diagonal(dim1=1, dim2=2)
        normal = normal + torch.diag_embed(1e-3 * size + _HOLD * size.mean(dim=1, keepdim=True) + 1e-6)
        move = torch.linalg.solve(normal, pull).clamp(-largest, largest)
        grown, moved = 1 + torch.complex(move[:, 2], move[:, 3]) / half, torch.complex(move[:, 0], move[:, 1])
        factor = factor / grown
        shift = shift - factor * moved
        if float(move.abs().max()) < _SMALL_PX:
            break
    difference, weight = _differences(frames, template, shift, factor, robust=False)
    seen = weight.sum(dim=1)
    residual = ((difference.abs().mean(1) * weight).sum(dim=1) / seen.clamp(min=1e-6)).double()
    lost = seen < _LEAST_SHARE * template.weight.sum()
    return Track(shift, factor, torch.where(lost, residual + _LOST, residual))


def _differences(
    frames: Tensor, template: _Template, shift: Tensor, factor: Tensor, robust: bool
) -> tuple[Tensor, Tensor]:
    """(t, 3, n) frame less template, without a change of brightness of the whole, and (t, n) weights."""
    height, width = frames.shape[2:]
    place = shift.to(torch.complex64)[:, None] + factor.to(torch.complex64)[:, None] * template.place
    u, v = place.real * 2 / (width - 1), place.imag * 2 / (height - 1)
    grid = torch.stack((u, v), dim=-1)[:, None]
    seen = F.grid_sample(frames, grid, align_corners=True, padding_mode="border")[:, :, 0]
    weight = template.weight * seen[:, 3] * (u.abs() <= 1) * (v.abs() <= 1)
    total = weight.sum(dim=1).clamp(min=1e-6)[:, None]
    difference = seen[:, :3] - template.color
    difference = difference - (difference * weight[:, None]).sum(dim=2, keepdim=True) / total[:, None]
    if robust:
        size = difference.square().sum(dim=1).sqrt()  # `norm` along a short axis takes four times as long
        scale = (1.5 * (size * weight).sum(dim=1, keepdim=True) / total).clamp(min=_SMALLEST_SCALE)
        weight = weight / (1 + (size / scale) ** 2) ** 2
    return difference, weight
