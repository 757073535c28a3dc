"""Colour transfer: give frames the mean and the spread of a reference in CIE Lab."""

from __future__ import annotations

import torch
from torch import Tensor

# sRGB with white point D65 to XYZ, the rounding that scikit-image uses.
_XYZ_FROM_RGB = (
    (0.412453, 0.357580, 0.180423),
    (0.212671, 0.715160, 0.072169),
    (0.019334, 0.119193, 0.950227),
)
_WHITE = (0.95047, 1.0, 1.08883)

MIN_SPREAD = 1e-3
"""Standard deviation in Lab (of 100) below which a frame is uniform; rounding alone gives about 1e-5."""


def match_color(pixels: Tensor, reference: Tensor, strength: float) -> Tensor:
    """`pixels` (b, 3, t, h, w) in [-1, 1] moved towards the colours of `reference` (b, 3, 1, h, w).

    strength: 0 leaves them alone, 1 takes over mean and spread of every Lab channel. A uniform frame has no
    spread to scale: it takes over the mean.
    """
    if strength == 0:
        return pixels
    source = ((pixels.float() + 1) / 2).clamp(0, 1)
    source_lab = lab_from_rgb(source)
    reference_lab = lab_from_rgb(((reference.float() + 1) / 2).clamp(0, 1))
    spread, mean = torch.std_mean(source_lab, dim=(-2, -1), correction=0, keepdim=True)
    wanted_spread, wanted_mean = torch.std_mean(reference_lab, dim=(-2, -1), correction=0, keepdim=True)
    gain = torch.where(spread > MIN_SPREAD, wanted_spread / spread.clamp(min=MIN_SPREAD), 0)
    matched = rgb_from_lab((source_lab - mean) * gain + wanted_mean)
    return torch.lerp(source, matched, strength) * 2 - 1


def lab_from_rgb(rgb: Tensor) -> Tensor:
    """CIE Lab (b, 3, ...) of sRGB (b, 3, ...) in [0, 1]."""
    linear = torch.where(rgb > 0.04045, ((rgb.clamp(min=0.04045) + 0.055) / 1.055) ** 2.4, rgb / 12.92)
    xyz = _mix(_XYZ_FROM_RGB, linear) / _column(_WHITE, rgb)
    # The cube root, with a line near black.
    roots = torch.where(xyz > 0.008856, xyz.clamp(min=0.008856) ** (1 / 3), 7.787 * xyz + 16 / 116)
    x, y, z = roots.unbind(1)
    return torch.stack((116 * y - 16, 500 * (x - y), 200 * (y - z)), dim=1)


def rgb_from_lab(lab: Tensor) -> Tensor:
    """sRGB (b, 3, ...) clipped to [0, 1] of CIE Lab (b, 3, ...)."""
    lightness, a, b = lab.unbind(1)
    y = (lightness + 16) / 116
    roots = torch.stack((y + a / 500, y, (y - b / 200).clamp(min=0)), dim=1)
    xyz = torch.where(roots > 0.2068966, roots**3, (roots - 16 / 116) / 7.787) * _column(_WHITE, lab)
    inverse = torch.linalg.inv(torch.tensor(_XYZ_FROM_RGB, dtype=torch.float64)).tolist()
    linear = _mix(inverse, xyz)
    rgb = torch.where(linear > 0.0031308, 1.055 * linear.clamp(min=0.0031308) ** (1 / 2.4) - 0.055, 12.92 * linear)
    return rgb.clamp(0, 1)


def _mix(matrix: object, channels: Tensor) -> Tensor:
    return torch.einsum("ij,bj...->bi...", channels.new_tensor(matrix), channels)


def _column(values: tuple[float, ...], like: Tensor) -> Tensor:
    return like.new_tensor(values).view(-1, *(1,) * (like.dim() - 2))
