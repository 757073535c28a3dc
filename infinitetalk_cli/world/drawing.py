"""Painting shapes given as signed distances, for many frames at once.

Coordinates are scene units: x to the right, y down, the origin in the middle of the picture, 1 = half of its
shorter side. A shape is a tensor of distances, negative inside. Legend: t frames, h rows, w columns.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

Colour = Sequence[float] | Tensor
_EDGE_PX = 1.1
"""Width of the soft edge of every shape, in pixels: what keeps small shapes from flickering."""


def length(u: Tensor, v: Tensor) -> Tensor:
    """Length of (u, v); unlike `hypot` it runs at the speed of a product."""
    return torch.addcmul(u * u, v, v).sqrt_()


def ellipse(x: Tensor, y: Tensor, center_x, center_y, radius_x, radius_y) -> Tensor:
    """Distance to an ellipse, divided by its gradient so that thin ellipses keep an even edge."""
    u, v = (x - center_x) / radius_x, (y - center_y) / radius_y
    k = length(u, v)
    slope = length(u / radius_x, v / radius_y)
    return (k - 1) * k / slope.clamp_(min=1e-4)


def box(x: Tensor, y: Tensor, center_x, center_y, half_x, half_y, radius: float = 0.0) -> Tensor:
    """Distance to a box with rounded corners."""
    u = (x - center_x).abs() - half_x + radius
    v = (y - center_y).abs() - half_y + radius
    return length(u.clamp(min=0), v.clamp(min=0)) + torch.maximum(u, v).clamp(max=0) - radius


def capsule(x: Tensor, y: Tensor, start: tuple, stop: tuple, radius) -> Tensor:
    """Distance to a thick line with round ends; `start` and `stop` are (x, y)."""
    along_x, along_y = stop[0] - start[0], stop[1] - start[1]
    u, v = x - start[0], y - start[1]
    share = ((u * along_x + v * along_y) / (along_x * along_x + along_y * along_y)).clamp(0, 1)
    return length(u - share * along_x, v - share * along_y) - radius


def union(a: Tensor, b: Tensor, softness: float = 0.0) -> Tensor:
    """Inside either shape; `softness` > 0 rounds the crease where they meet."""
    if not softness:
        return torch.minimum(a, b)
    blend = (0.5 + 0.5 * (b - a) / softness).clamp(0, 1)
    return torch.lerp(b, a, blend) - softness * blend * (1 - blend)


def both(a: Tensor, b: Tensor) -> Tensor:
    """Inside both shapes."""
    return torch.maximum(a, b)


@dataclass(frozen=True)
class Canvas:
    """A picture being painted: `image` (t, 3, h, w) in 0..1 is changed in place.

    x, y: (t or 1, h, w) coordinates in which shapes are given; pixel: one pixel in scene units.
    offset, factor: (t or 1,) complex on the CPU; a point p = x + iy is at offset + factor p in scene units.
    corner: row and column of the first pixel of `image` in the whole picture; size: rows and columns of that.
    """

    image: Tensor
    x: Tensor
    y: Tensor
    pixel: float
    offset: Tensor
    factor: Tensor
    corner: tuple[int, int]
    size: tuple[int, int]

    @classmethod
    def blank(cls, num_frames: int, height: int, width: int, device: torch.device | str = "cpu") -> Canvas:
        """Black frames in scene units."""
        pixel = 2 / min(height, width)
        y = (torch.arange(height, device=device) - (height - 1) / 2) * pixel
        x = (torch.arange(width, device=device) - (width - 1) / 2) * pixel
        grid_y, grid_x = torch.meshgrid(y, x, indexing="ij")
        image = torch.zeros(num_frames, 3, height, width, device=device)
        still = torch.zeros(1, dtype=torch.complex64)
        return cls(image, grid_x[None], grid_y[None], pixel, still, still + 1, (0, 0), (height, width))

    def first(self) -> Canvas:
        """The first frame by itself, on a copy."""
        one = {name: getattr(self, name)[:1] for name in ("x", "y", "offset", "factor")}
        return replace(self, image=self.image[:1].clone(), **one)

    def moved(self, move_x: Tensor, move_y: Tensor, turn: Tensor, scale: Tensor) -> Canvas:
        """The same picture in coordinates that are shifted, turned (radians) and scaled, each (t,) on the CPU."""
        device = self.image.device

        def by_frame(values: Tensor) -> Tensor:
            return values[:, None, None].to(device)

        cos, sin = by_frame(torch.cos(turn) / scale), by_frame(torch.sin(turn) / scale)
        u, v = self.x - by_frame(move_x), self.y - by_frame(move_y)
        return replace(
            self,
            x=torch.addcmul(cos * u, sin, v),
            y=torch.addcmul(cos * v, sin, u, value=-1),
            offset=self.offset + self.factor * torch.complex(move_x, move_y),
            factor=self.factor * torch.polar(scale, turn),
        )

    def around(self, center_x: float, center_y: float, half_x: float, half_y: float) -> Canvas:
        """The part of the picture that covers a box in every frame; painting it is faster.

        What is painted must vanish at the edge of the box: how much more is covered depends on the other frames.
        """
        margin = 2 * self.pixel / float(self.factor.abs().min())
        across = torch.tensor([-1, 1, -1, 1]) * (half_x + margin) + center_x
        down = torch.tensor([-1, -1, 1, 1]) * (half_y + margin) + center_y
        corners = self.offset[:, None] + self.factor[:, None] * torch.complex(across, down)
        rows = _covered(corners.imag / self.pixel + (self.size[0] - 1) / 2 - self.corner[0], self.image.shape[2])
        columns = _covered(corners.real / self.pixel + (self.size[1] - 1) / 2 - self.corner[1], self.image.shape[3])
        area = (..., rows, columns)
        corner = (self.corner[0] + rows.start, self.corner[1] + columns.start)
        return replace(self, image=self.image[area], x=self.x[area], y=self.y[area], corner=corner)

    def colour(self, rgb: Sequence[float]) -> Tensor:
        """(1, 3, 1, 1) `rgb` on the device of the picture."""
        return torch.tensor(rgb, dtype=torch.float32, device=self.image.device).view(1, 3, 1, 1)

    def coverage(self, shape: Tensor, softness: float = 0.0) -> Tensor:
        """(t, h, w): 1 inside a shape, 0 outside; `softness` in scene units widens the edge."""
        return (shape * (-1 / (self.pixel * _EDGE_PX + softness))).add_(0.5).clamp_(0, 1)

    def paint(self, shape: Tensor, colour: Colour, opacity: float | Tensor = 1.0, softness: float = 0.0) -> None:
        """Lay `colour`, three numbers or a (t or 1, 3, h, w) picture, over the inside of `shape`."""
        self.blend(self.coverage(shape, softness) * opacity, colour)

    def blend(self, alpha: Tensor, colour: Colour) -> None:
        """Lay `colour` over the picture with weight `alpha` (t or 1, h, w)."""
        if not isinstance(colour, Tensor):
            colour = self.colour(colour)
        self.image.lerp_(colour.expand_as(self.image), alpha[:, None].expand_as(self.image))

    def shade(self, factor: Tensor) -> None:
        """Multiply the picture by `factor` (t or 1, h, w)."""
        self.image.mul_(factor[:, None])


def _covered(places: Tensor, limit: int) -> slice:
    """Whole pixels, at least one, from the first to the last of `places`, inside 0..limit."""
    start = min(max(math.floor(float(places.min())), 0), limit - 1)
    return slice(start, max(min(math.ceil(float(places.max())) + 1, limit), start + 1))
