"""How frames get to Inception: the presets differ where they should, and agree where nothing is resized."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from infinitetalk_cli.evaluate.metrics.fid import FrameFeatures
from infinitetalk_cli.evaluate.metrics.inception import (
    PRESETS,
    SIDE_PX,
    BlockE,
    _average,
    prepared,
    resized_as_tensorflow_1,
)


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("size", [(40, 60), (480, 480)])
def test_shape_and_range(preset, size: tuple[int, int], noise_frames: Callable[..., list[np.ndarray]]) -> None:
    fed = prepared(np.stack(noise_frames(2, size)), preset)
    assert fed.shape == (2, 3, SIDE_PX, SIDE_PX) and fed.dtype == torch.float32
    assert fed.min() >= -1 and fed.max() <= 1
    assert fed.std() > 0.1


def test_presets_give_different_pictures(noise_frames: Callable[..., list[np.ndarray]]) -> None:
    frames = np.stack(noise_frames(1, (480, 480)))
    fed = {preset: prepared(frames, preset) for preset in PRESETS}
    for one in PRESETS:
        for other in PRESETS:
            difference = (fed[one] - fed[other]).abs().mean()
            assert (difference == 0) if one == other else (difference > 0.01)
    # Only these two look at all pixels of a picture that is reduced: noise averages out.
    assert max(fed["antialias"].std(), fed["clean"].std()) < min(fed["pytorch-fid"].std(), fed["tf1"].std())


def test_without_a_resize_only_the_range_differs(noise_frames: Callable[..., list[np.ndarray]]) -> None:
    frames = np.stack(noise_frames(1, (SIDE_PX, SIDE_PX)))
    levels = torch.from_numpy(frames).movedim(-1, 1).float()
    for preset in PRESETS:
        expected = levels / 127.5 - 1 if preset == "pytorch-fid" else (levels - 128) / 128
        torch.testing.assert_close(prepared(frames, preset), expected, atol=1e-5, rtol=0)


class Middle(nn.Module):
    """In place of the network: the middle pixel, and how many pictures came at once."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.groups: list[int] = []

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        self.groups.append(len(pictures))
        return pictures[:, :, SIDE_PX // 2, SIDE_PX // 2]


def test_frames_come_in_groups_and_stay_in_order() -> None:
    network = Middle()
    frames = (np.full((20, 30, 3), level, np.uint8) for level in range(37))
    rows = FrameFeatures(network, "pytorch-fid", {}).features(frames)
    np.testing.assert_allclose(rows[:, 0], np.arange(37) / 127.5 - 1, atol=1e-6)
    assert max(network.groups) <= 16 and rows.dtype == np.float32
    assert FrameFeatures(network, "pytorch-fid", {}).features([]).shape == (0, 2048)


def test_tensorflow_1_starts_in_the_corner() -> None:
    """Twice as large: every other pixel is an old one, and the last one is repeated."""
    row = torch.tensor([[[[0.0, 10.0, 20.0]]]]).expand(1, 1, 3, 3)
    assert resized_as_tensorflow_1(row, side=6)[0, 0, 0].tolist() == [0, 5, 10, 15, 20, 20]


def test_average_pools_leave_the_border_out() -> None:
    assert torch.equal(_average(torch.ones(1, 1, 4, 4)), torch.ones(1, 1, 4, 4))


def test_the_last_block_pools_by_maximum() -> None:
    maps = torch.randn(1, 8, 5, 5)
    torch.manual_seed(0)
    average = BlockE(8, pools_by_maximum=False).eval()
    maximum = BlockE(8, pools_by_maximum=True).eval()
    maximum.load_state_dict(average.state_dict())
    with torch.no_grad():
        ours, other = maximum(maps), average(maps)
        pooled = maximum.branch_pool(F.max_pool2d(maps, 3, stride=1, padding=1))
    torch.testing.assert_close(ours[:, -192:], pooled)
    torch.testing.assert_close(ours[:, :-192], other[:, :-192])
    assert not torch.allclose(ours[:, -192:], other[:, -192:])
