"""Small changes are held back, large ones pass."""

from __future__ import annotations

import torch

from infinitetalk_cli.models.smoothing import LARGE, SMALL, hold_small_changes


def test_no_share_changes_nothing() -> None:
    pixels = torch.rand(1, 3, 5, 4, 4)
    assert hold_small_changes(pixels, None, 0.0) is pixels


def test_flicker_shrinks_by_the_share_and_motion_passes() -> None:
    pixels = torch.zeros(1, 3, 3, 1, 2)
    pixels[:, :, 1, 0, 0] = SMALL / 2
    pixels[:, :, 1:, 0, 1] = 2 * LARGE
    smoothed = hold_small_changes(pixels, None, 0.75)
    torch.testing.assert_close(smoothed[0, 0, 1, 0], torch.tensor([SMALL / 8, 2 * LARGE]))


def test_goes_on_from_the_frame_before() -> None:
    pixels = torch.rand(1, 3, 6, 4, 4) * 0.05
    whole = hold_small_changes(pixels, None, 0.6)
    rest = hold_small_changes(pixels[:, :, 3:], whole[:, :, 2], 0.6)
    torch.testing.assert_close(rest, whole[:, :, 3:])
