"""Holds back small changes from frame to frame: flicker is small and everywhere, motion is large."""

from __future__ import annotations

import torch
from torch import Tensor

SMALL, LARGE = 0.02, 0.08
"""Changes (of the range -1..1) up to SMALL are held back in full, from LARGE on not at all (measured on nano)."""


def hold_small_changes(pixels: Tensor, previous: Tensor | None, share: float) -> Tensor:
    """`pixels` (1, 3, t, h, w) of which every pixel follows small changes only by `1 - share`.

    A pixel is judged by its channel that changes most. `previous` (1, 3, h, w) is the frame before the first,
    None at the start of a scene. A share of 0 leaves everything as it is.
    """
    if share == 0:
        return pixels
    shown = pixels[:, :, 0] if previous is None else previous
    frames = []
    for frame in pixels.unbind(2):
        change = frame - shown
        size = change.abs().amax(dim=1, keepdim=True)
        is_large = ((size - SMALL) / (LARGE - SMALL)).clamp(0, 1)
        shown = shown + change * torch.lerp(torch.full_like(size, 1 - share), torch.ones_like(size), is_large)
        frames.append(shown)
    return torch.stack(frames, dim=2)
