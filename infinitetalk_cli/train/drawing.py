"""Painting shapes given as signed distances, for many frames at once.

Coordinates are scene units: x to the right, y down, the origin in the middle of the picture, 1 = half of its
shorter side. A shape is a tensor of distances, negative inside. Legend: t frames, h rows, w columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

Colour = Sequence[float] | Tensor
_EDGE_PX = 1.1
"""Width of the soft edge of every shape, in pixels: what keeps small shapes from flickering."""


def ellipse(x: Tensor, y: Tensor, center_x, center_y, radius_x, radius_y) -> Tensor:
    """Distance to an ellipse, divided by its gradient so that thin ellipses keep an even edge."""
    u, v = (x - center_x) / radius_x, (y - center_y) / radius_y
    k = torch.hypot(u, v)
    slope = torch.hypot(u / radius_x, v / radius_y)
    return (k - 1) * k / slope.clamp(min=1e-4)


def box(x: Tensor, y: Tensor, center_x, center_y, half_x, half_y, radius: float = 0.0) -> Tensor:
    """Distance to a box with rounded corners."""
    u = (x - center_x).abs() - half_x + radius
    v = (y - center_y).abs() - half_y + radius
    return torch.hypot(u.clamp(min=0), v.clamp(min=0)) + torch.maximum(u, v).clamp(max=0) - radius


def capsule(x: Tensor, y: Tensor, start: tuple, stop: tuple, radius) -> Tensor:
    """Distance to a thick line with round ends; `start` and `stop` are (x, y)."""
    along_x, along_y = stop[0] - start[0], stop[1] - start[1]
    u, v = x - start[0], y - start[1]
    share = ((u * along_x + v * along_y) / (along_x * along_x + along_y * along_y)).clamp(0, 1)
    return torch.hypot(u - share * along_x, v - share * along_y) - radius


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

    x, y: (t or 1, h, w) coordinates in which shapes are given; pixel: one pixel in those units.
    """

    image: Tensor
    x: Tensor
    y: Tensor
    pixel: float

    @classmethod
    def blank(cls, num_frames: int, height: int, width: int) -> Canvas:
        """Black frames in scene units."""
        pixel = 2 / min(height, width)
        y = (torch.arange(height) - (height - 1) / 2) * pixel
        x = (torch.arange(width) - (width - 1) / 2) * pixel
        grid_y, grid_x = torch.meshgrid(y, x, indexing="ij")
        return cls(torch.zeros(num_frames, 3, height, width), grid_x[None], grid_y[None], pixel)

    def moved(self, move_x: Tensor, move_y: Tensor, turn: Tensor, scale: Tensor) -> Canvas:
        """The same picture in coordinates that are shifted, turned (radians) and scaled, each (t,)."""
        u = (self.x - move_x[:, None, None]) / scale[:, None, None]
        v = (self.y - move_y[:, None, None]) / scale[:, None, None]
        cos, sin = torch.cos(turn)[:, None, None], torch.sin(turn)[:, None, None]
        return replace(self, x=cos * u + sin * v, y=cos * v - sin * u)

    def around(self, center_x: float, center_y: float, half_x: float, half_y: float) -> Canvas:
        """The part of the picture that covers a box in every frame; painting it is faster."""
        inside = ((self.x - center_x).abs() <= half_x) & ((self.y - center_y).abs() <= half_y)
        rows = torch.nonzero(inside.any(dim=2).any(dim=0)).flatten().tolist() or [0]
        columns = torch.nonzero(inside.any(dim=1).any(dim=0)).flatten().tolist() or [0]
        area = (..., slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
        return replace(self, image=self.image[area], x=self.x[area], y=self.y[area])

    def coverage(self, shape: Tensor, softness: float = 0.0) -> Tensor:
        """(t, h, w): 1 inside a shape, 0 outside; `softness` in scene units widens the edge."""
        return (0.5 - shape / (self.pixel * _EDGE_PX + softness)).clamp(0, 1)

    def paint(self, shape: Tensor, colour: Colour, opacity: float | Tensor = 1.0, softness: float = 0.0) -> None:
        """Lay `colour`, three numbers or a (t or 1, 3, h, w) picture, over the inside of `shape`."""
        self.blend(self.coverage(shape, softness) * opacity, colour)

    def blend(self, alpha: Tensor, colour: Colour) -> None:
        """Lay `colour` over the picture with weight `alpha` (t or 1, h, w)."""
        if not isinstance(colour, Tensor):
            colour = torch.tensor(colour, dtype=torch.float32).view(1, 3, 1, 1)
        self.image.lerp_(colour.expand_as(self.image), alpha[:, None].expand_as(self.image))

    def shade(self, factor: Tensor) -> None:
        """Multiply the picture by `factor` (t or 1, h, w)."""
        self.image.mul_(factor[:, None])
