"""Whether the background is the source's, once the camera's error is taken out: PSNR and SSIM beside the person."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from infinitetalk_cli.evaluate.measures.camera import CameraPath
from infinitetalk_cli.evaluate.measures.flow import box_mean

EVERY_FRAMES = 5
EQUAL_DB = 100.0
"""What equal pictures score: their PSNR is infinite."""

_WINDOW_PX, _C1, _C2 = 11, (0.01 * 255) ** 2, (0.03 * 255) ** 2
"""SSIM over square windows with the constants of Wang et al. (2004)."""


@torch.no_grad()
def background_values(
    pairs: Iterable[tuple[int, np.ndarray, np.ndarray, np.ndarray]], made: CameraPath, source: CameraPath
) -> dict[str, float]:
    """Means over `pairs` of (frame number, made, source (h, w, 3) uint8, background (h, w) bool of the source)."""
    ratios, likenesses = [], []
    for number, one, other, background in pairs:
        factor = made.factor[number] / source.factor[number]
        shift = made.shift[number] - factor * source.shift[number]
        seen, inside = _aligned(torch.from_numpy(one).permute(2, 0, 1)[None].float(), shift, factor)
        truth = torch.from_numpy(other).permute(2, 0, 1)[None].float()
        weight = torch.from_numpy(background) & inside
        if not weight.any():
            continue
        error = float((seen - truth)[0].square().mean(0)[weight].mean())
        ratios.append(EQUAL_DB if error == 0 else min(EQUAL_DB, 10 * np.log10(255**2 / error)))
        likenesses.append(float(_ssim(seen.mean(1, keepdim=True), truth.mean(1, keepdim=True))[weight].mean()))
    if not ratios:
        return {}
    return {"psnr_db": float(np.mean(ratios)), "ssim": float(np.mean(likenesses))}


def _aligned(picture: Tensor, shift: complex, factor: complex) -> tuple[Tensor, Tensor]:
    """What the made frame shows at the places of the source's frame, and (h, w) whether that is inside of it."""
    height, width = picture.shape[2:]
    if abs(shift) < 1e-6 and abs(factor - 1) < 1e-9:
        return picture, torch.ones(height, width, dtype=torch.bool)
    x = torch.arange(width, dtype=torch.float64) - (width - 1) / 2
    y = torch.arange(height, dtype=torch.float64) - (height - 1) / 2
    place = torch.complex(x.expand(height, width), y[:, None].expand(height, width)) * factor + shift
    grid = torch.stack((place.real * 2 / (width - 1), place.imag * 2 / (height - 1)), dim=-1).float()
    moved = F.grid_sample(picture, grid[None], mode="bilinear", padding_mode="border", align_corners=True)
    return moved, (grid.abs() <= 1).all(dim=-1)


def _ssim(one: Tensor, other: Tensor) -> Tensor:
    """(h, w) of grey pictures (1, 1, h, w) in levels."""
    a, b = box_mean(one, _WINDOW_PX), box_mean(other, _WINDOW_PX)
    aa, bb = box_mean(one * one, _WINDOW_PX) - a * a, box_mean(other * other, _WINDOW_PX) - b * b
    ab = box_mean(one * other, _WINDOW_PX) - a * b
    return ((2 * a * b + _C1) * (2 * ab + _C2) / ((a * a + b * b + _C1) * (aa + bb + _C2)))[0, 0]
