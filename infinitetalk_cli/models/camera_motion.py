"""How the camera moved between two pictures: shift, zoom and turn of what lies around the people.

The picture is cut into blocks. A similarity (shift, zoom, turn) is fitted to all of them at once by Gauss-Newton steps
on the brightness, as Lucas and Kanade register images, and every block's say depends on three things: where it lies
(the middle, where people are, hardly counts), whether there is anything to see in it, and whether what is left of its
own motion fits the common one (Tukey's weights, with a limit that tightens). The fit starts from no motion and from the
strongest peaks of the phase correlation, and the answer is the one that most of the background agrees with.

Motion counts only where blocks on two of the three sides (left, right, top) agree with it: a person in front of a bare
wall is no camera motion.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

WORKING_AREA_PX = 192 * 108
"""Pictures are compared at about this size, whatever they were: finer detail is grain."""

WINDOW_S = 1.0
"""Motion is judged second by second."""

_TIME_SLACK_S = 0.02

BLOCK_PX = 12
_BLUR_PX, _WIDE_BLUR_PX = 1.2, 7.0
_NUM_PEAKS, _PEAK_RADIUS_PX = 2, 2
_LIMITS_PX = (2.5, 1.5, 1.0, 0.6, 0.4)
_NEAR_PX, _AGREES_PX, _AGREES_SHARE = 1.0, 0.3, 0.7
_TEXTURE = 0.2
"""Squared gradient, in levels per px, at which half of it may be grain."""
_SIDE, _TOP, _MIDDLE_SAY = 0.22, 0.2, 0.1
_MIN_SUPPORT, _STILL_ADVANTAGE = 0.4, 1.05


@dataclass(frozen=True)
class Motion:
    """From one picture to the next, around the middle: shift to the right and down as shares of the picture's size.

    The size of a picture is the root of its area. `zoom` 0.01 enlarges by 1 %, `turn` is in radians, clockwise.
    `support`: how much of the background agrees, 0 to 1; 0 where none could be judged, and then all else is 0.
    """

    right: float = 0.0
    down: float = 0.0
    zoom: float = 0.0
    turn: float = 0.0
    support: float = 0.0


def working_size(width: int, height: int) -> tuple[int, int]:
    """(width, height) at which a picture of this size is looked at: of its shape, at least a few blocks."""
    scale = sqrt(WORKING_AREA_PX / (width * height))
    return max(3 * BLOCK_PX, round(width * scale)), max(3 * BLOCK_PX, round(height * scale))


def mean_radius(aspect: float) -> float:
    """Root mean square distance from the middle of a picture of `aspect` (width / height), as a share of its size."""
    return sqrt((aspect + 1 / aspect) / 12)


@dataclass(frozen=True)
class Busiest:
    """The second of a scene in which the camera moves most.

    `speed` is that of a steady motion which spreads the picture's points as far in a second, in root mean square, as a
    share of its size; `kind` is what most of it is, "unseen" where the background was bare or hidden most of the time.
    """

    speed: float
    kind: str
    at_s: float


def busiest_second(motions: Sequence[Motion], times_s: Sequence[float], aspect: float) -> Busiest:
    """Of the motions from each picture to the next, taken at `times_s` (one more); `aspect` is width / height.

    In a second the points' places spread by so much around their mean; those of a steady motion by its length over the
    root of 12. Single wrong measurements do not count: steps far from the second's median are drawn in, and the
    median speed from picture to picture is the limit.
    """
    radius = mean_radius(aspect)
    steps = np.array([(m.right, m.down, radius * m.zoom, radius * m.turn) for m in motions]).reshape(-1, 4)
    if not len(steps) or np.mean([motion.support > 0 for motion in motions]) < 0.5:
        return Busiest(0.0, "unseen" if len(steps) else "still", times_s[0])
    times = np.array(times_s)
    rates = steps / np.diff(times)[:, None]
    best = Busiest(0.0, "still", times_s[0])
    for first in range(len(steps)):
        last = int(np.searchsorted(times, times[first] + WINDOW_S + _TIME_SLACK_S)) - 1
        window = slice(first, max(last, first + 1))
        duration_s = max(times[window.stop] - times[first], WINDOW_S / 2)
        around = np.concatenate((np.zeros((1, 4)), _without_outliers(steps[window]).cumsum(axis=0)))
        # Of n + 1 evenly spaced places the variance is length^2 (n + 2) / (12 n).
        evenness = 12 * (len(around) - 1) / (len(around) + 1)
        spread = sqrt(evenness * np.square(around - around.mean(axis=0)).sum(axis=1).mean()) / duration_s
        speed = min(spread, float(np.median(np.linalg.norm(rates[window], axis=1))))
        if speed > best.speed:
            best = Busiest(speed, _kind(rates[window]), times_s[first])
        if window.stop == len(steps):
            break
    return best


def _without_outliers(steps: np.ndarray) -> np.ndarray:
    """Steps (n, 4), those further from the median than three standard deviations (by the median deviation) drawn in."""
    middle = np.median(steps, axis=0)
    reach = 3 * 1.4826 * np.median(np.abs(steps - middle), axis=0)
    return np.clip(steps, middle - reach, middle + reach)


def _kind(rates: np.ndarray) -> str:
    """Of rates (n, 4) of right, down, zoom and turn."""
    steady = rates.mean(axis=0)
    sizes = {
        "pan": float(np.hypot(steady[0], steady[1])),
        "zoom": abs(float(steady[2])),
        "turn": abs(float(steady[3])),
        "shake": float(np.linalg.norm(rates.std(axis=0))),
    }
    return max(sizes, key=sizes.__getitem__)


@torch.no_grad()
def camera_motions(pictures: Sequence[np.ndarray], pairs: Sequence[tuple[int, int]]) -> list[Motion]:
    """The motion from the first to the second picture of each pair; pictures are (h, w) grey levels."""
    if not pairs:
        return []
    prepared = _prepare(torch.from_numpy(np.stack(pictures).astype(np.float32)))
    before, after = (prepared[[pair[place] for pair in pairs]] for place in (0, 1))
    return _Fit(before, after).motions()


def _prepare(levels: Tensor) -> Tensor:
    """Grey levels (n, h, w) without grain and without light that changes slowly over the picture."""
    return _blurred(levels, _BLUR_PX) - _blurred(levels, _WIDE_BLUR_PX)


def _blurred(levels: Tensor, sigma: float) -> Tensor:
    radius = round(3 * sigma)
    places = torch.arange(-radius, radius + 1, dtype=torch.float32)
    kernel = torch.exp(-0.5 * (places / sigma) ** 2)
    kernel = (kernel / kernel.sum()).view(1, 1, 1, -1)
    padded = F.pad(levels[:, None], (radius,) * 4, mode="replicate")
    return F.conv2d(F.conv2d(padded, kernel), kernel.mT)[:, 0]


class _Fit:
    """Pairs (n, h, w) of prepared pictures, and the blocks of the first ones."""

    def __init__(self, before: Tensor, after: Tensor) -> None:
        self.before, self.after = before, after
        self.height, self.width = before.shape[1:]
        rows = torch.arange(self.height) - (self.height - 1) / 2
        columns = torch.arange(self.width) - (self.width - 1) / 2
        self.rows, self.columns = torch.meshgrid(rows, columns, indexing="ij")
        self.right, self.down = _gradients(before)
        self.gram = torch.stack(
            [_by_block(product) for product in (self.right**2, self.right * self.down, self.down**2)], dim=-1
        )  # (n, blocks, 3)
        self.texture = self.gram[..., 0] + self.gram[..., 2]
        self.power = _by_block(before**2)
        self.sides = _sides(self.height // BLOCK_PX, self.width // BLOCK_PX)
        anywhere = self.sides.amax(dim=0)
        self.say = (_MIDDLE_SAY + (1 - _MIDDLE_SAY) * anywhere) * self.texture / (self.texture + _TEXTURE)
        middles = _by_block(torch.stack((self.columns, self.rows)))
        self.jacobian = _jacobian(*middles)  # (blocks, 2, 4)

    def motions(self) -> list[Motion]:
        """The best motion of each pair."""
        still = torch.zeros(len(self.before), 4)
        shifts = torch.stack(_shifts(self.before, self.after))
        likely = torch.stack([self._support(shift, _NEAR_PX) for shift in shifts]).argmax(dim=0)
        shifted = shifts[likely, torch.arange(len(still))]
        found = self._fitted(still)
        support = self._support(found, _AGREES_PX)
        if (shifted.abs() > _NEAR_PX).any():
            other = self._fitted(shifted)
            agreed = self._support(other, _AGREES_PX)
            is_better = agreed > _STILL_ADVANTAGE * support
            found = torch.where(is_better[:, None], other, found)
            support = torch.where(is_better, agreed, support)
        size = sqrt(self.height * self.width)
        return [
            Motion() if agreed == 0 else Motion(right / size, down / size, zoom, turn, min(1.0, agreed))
            for (right, down, zoom, turn), agreed in zip(found.tolist(), support.tolist(), strict=True)
        ]

    def _fitted(self, parameters: Tensor) -> Tensor:
        """The motion (n, 4) in px near `parameters`."""
        for limit in _LIMITS_PX:
            slope, left, _ = self._left_over(parameters)
            weight = self.say * (1 - (left / limit) ** 2).clamp(min=0) ** 2 / (self.texture + _TEXTURE)
            gram = _matrices(self.gram)
            normal = torch.einsum("nb,bki,nbkl,blj->nij", weight, self.jacobian, gram, self.jacobian)
            wanted = torch.einsum("nb,bki,nbk->ni", weight, self.jacobian, slope)
            # A zoom or turn by one unit moves the edge by half a picture: bring all four to the same footing.
            scale = torch.tensor([1.0, 1.0, self.width / 4, self.width / 4])
            ridge = 1e-4 * torch.diag(scale**2)
            parameters = parameters + torch.linalg.solve(normal + ridge, wanted)
        return parameters

    def _left_over(self, parameters: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """By block, after `parameters`: gradient times error (n, b, 2), motion left in px, error as share of power."""
        right, down, zoom, turn = (value[:, None, None] for value in parameters.unbind(1))
        columns = self.columns + right + zoom * self.columns - turn * self.rows
        rows = self.rows + down + zoom * self.rows + turn * self.columns
        grid = torch.stack((2 * columns / self.width, 2 * rows / self.height), dim=-1)
        # Bilinear keeps a slope a slope; torch's bicubic (a = -0.75) does not, and found 30 % too little.
        moved = F.grid_sample(self.after[:, None], grid, mode="bilinear", padding_mode="border", align_corners=False)
        error = self.before - moved[:, 0]
        error = error * ((grid.abs() < 1 - 2 / self.width).all(dim=-1))  # what was not in the picture tells nothing
        slope = torch.stack([_by_block(self.right * error), _by_block(self.down * error)], dim=-1)
        xx, xy, yy = (self.gram + 0.1 * _TEXTURE * torch.tensor([1.0, 0.0, 1.0])).unbind(-1)
        x, y = slope.unbind(-1)
        own = (yy * x**2 - 2 * xy * x * y + xx * y**2) / (xx * yy - xy**2)  # slope . gram^-1 . slope
        left = (own.clamp(min=0) / (self.texture + 0.1 * _TEXTURE)).sqrt()
        return slope, left, _by_block(error**2) / (self.power + 0.05 * _TEXTURE)

    def _support(self, parameters: Tensor, limit: float) -> Tensor:
        """How much of the background agrees with a motion to `limit` px; 0 unless some does at two sides at least."""
        _, left, unlike = self._left_over(parameters)
        agrees = (left < limit) & (unlike < _AGREES_SHARE)
        seen = self.sides[None] * (self.texture / (self.texture + _TEXTURE))[:, None]  # (n, 3, b)
        agreed = (seen * agrees[:, None]).sum(dim=-1) / self.sides.sum(dim=-1)
        carries = (agreed > _MIN_SUPPORT).sum(dim=1) >= 2
        whole = (self.say * agrees).sum(dim=1) / self.say.sum(dim=1).clamp(min=1e-6)
        return whole * carries


def _gradients(pictures: Tensor) -> tuple[Tensor, Tensor]:
    padded = F.pad(pictures[:, None], (1, 1, 1, 1), mode="replicate")[:, 0]
    return (padded[:, 1:-1, 2:] - padded[:, 1:-1, :-2]) / 2, (padded[:, 2:, 1:-1] - padded[:, :-2, 1:-1]) / 2


def _by_block(values: Tensor) -> Tensor:
    """Means of (n, h, w) over blocks: (n, blocks)."""
    return F.avg_pool2d(values[:, None], BLOCK_PX).flatten(1)


def _matrices(gram: Tensor) -> Tensor:
    """(n, b, 3) as symmetric matrices (n, b, 2, 2)."""
    return gram[..., [0, 1, 1, 2]].unflatten(-1, (2, 2))


def _jacobian(columns: Tensor, rows: Tensor) -> Tensor:
    """How the motion of a block at (column, row) follows from (right, down, zoom, turn): (b, 2, 4)."""
    one, zero = torch.ones_like(columns), torch.zeros_like(columns)
    return torch.stack(
        [torch.stack((one, zero, columns, -rows), dim=-1), torch.stack((zero, one, rows, columns), dim=-1)], dim=1
    )


def _sides(num_rows: int, num_columns: int) -> Tensor:
    """Which blocks are at the left, at the right, at the top (3, b), 1 or 0; the bottom belongs to the people."""
    rows = ((torch.arange(num_rows) + 0.5) / num_rows)[:, None].expand(-1, num_columns)
    columns = ((torch.arange(num_columns) + 0.5) / num_columns)[None].expand(num_rows, -1)
    is_left, is_right = columns < max(_SIDE, 1 / num_columns), columns > 1 - max(_SIDE, 1 / num_columns)
    is_top = (rows < max(_TOP, 1 / num_rows)) & ~is_left & ~is_right
    return torch.stack([side.flatten() for side in (is_left, is_right, is_top)]).float()


def _shifts(before: Tensor, after: Tensor) -> list[Tensor]:
    """Shifts (n, 4) at the strongest peaks of the phase correlation of (n, h, w)."""
    height, width = before.shape[1:]
    window = _taper(height)[:, None] * _taper(width)[None]
    one, other = torch.fft.rfft2(before * window), torch.fft.rfft2(after * window)
    cross = other * one.conj()
    correlation = torch.fft.irfft2(cross / (cross.abs() + 1e-3 * cross.abs().amax()), s=(height, width))
    correlation = F.avg_pool2d(F.pad(correlation[:, None], (1, 1, 1, 1), mode="circular"), 3, stride=1)[:, 0]
    found = []
    reach = 2 * _PEAK_RADIUS_PX + 1
    places = torch.arange(len(before))
    for _ in range(_NUM_PEAKS):
        peak = correlation.flatten(1).argmax(dim=1)
        row, column = peak // width, peak % width
        shift = torch.zeros(len(before), 4)
        shift[:, 0] = torch.where(column > width // 2, column - width, column)
        shift[:, 1] = torch.where(row > height // 2, row - height, row)
        found.append(shift)
        around = torch.arange(reach) - _PEAK_RADIUS_PX
        rows = (row[:, None, None] + around[None, :, None]) % height
        columns = (column[:, None, None] + around[None, None]) % width
        correlation[places[:, None, None], rows, columns] = -torch.inf
    return found


def _taper(length: int) -> Tensor:
    """1 in the middle, down to 0 over a tenth at either end."""
    ramp = (torch.arange(length) + 0.5) / (0.1 * length)
    ramp = torch.minimum(ramp, ramp.flip(0)).clamp(max=1)
    return 0.5 - 0.5 * torch.cos(torch.pi * ramp)
