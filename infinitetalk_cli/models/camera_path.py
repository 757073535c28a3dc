"""The path of a camera as Uni3C's branch reads it: the ray through every pixel, and where it comes from.

Two oddities are the published code's, and what the branch learned from: the first camera's inverse stands on the left,
and a pixel's middle is half a pixel off to the left, where one would expect it to the right.
"""

from __future__ import annotations

import torch
from torch import Tensor

_OUTLIER_QUANTILE, _OUTLIER_FACTOR, _FARTHEST = 0.97, 10.0, 1e6
"""Camera centres further from their median than so many times this quantile are no part of their mean."""
_FIRST_DISTANCE, _NO_DISTANCE = 2.0, 1e-5
"""The first camera stands at this distance from the mean, unless it stands just there."""


def camera_embedding(intrinsic: Tensor, w2c: Tensor, size: tuple[int, int]) -> Tensor:
    """(1, 6, f, h, w) float32: direction of the ray through every pixel (unit length), and origin x direction.

    intrinsic (3, 3) in pixels of a picture of `size` (h, w), the same for all frames; w2c (f, 4, 4) from the world to
    the camera, in OpenCV's axes (right, down, forward). The poses are taken relative to the first one.
    """
    height, width = size
    w2c = w2c.float()
    c2w = torch.linalg.inv(torch.linalg.inv(w2c[:1]) @ w2c)
    origins = _normalised(c2w[:, :3, 3])
    rows, columns = torch.meshgrid(torch.arange(height).float(), torch.arange(width).float(), indexing="ij")
    pixels = torch.stack((columns - 0.5, rows + 0.5, torch.ones_like(rows)), dim=-1)
    rays = torch.einsum("ij,hwj->hwi", torch.linalg.inv(intrinsic.float()), pixels)
    directions = torch.einsum("fij,hwj->fhwi", c2w[:, :3, :3], rays)
    directions = directions / directions.norm(dim=-1, keepdim=True)
    moments = torch.linalg.cross(origins[:, None, None].expand_as(directions), directions)
    return torch.cat((directions, moments), dim=-1).permute(3, 0, 1, 2)[None]


def _normalised(centres: Tensor) -> Tensor:
    """Camera centres (f, 3) around their mean, the first at a fixed distance from it."""
    distance = (centres - centres.median(dim=0).values).norm(dim=1)
    limit = min(_OUTLIER_FACTOR * distance.quantile(_OUTLIER_QUANTILE).item(), _FARTHEST)
    centres = centres - centres[distance <= limit].mean(dim=0)
    first = centres[0].norm()
    return centres * (_FIRST_DISTANCE if first < _NO_DISTANCE else _FIRST_DISTANCE / first)
