"""Sound, windows and shifts on the way to Sync-C and Sync-D."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from infinitetalk_cli.evaluate.metrics.common import running_median
from infinitetalk_cli.evaluate.metrics.mfcc import mfcc
from infinitetalk_cli.evaluate.metrics.sync_score import agreement
from infinitetalk_cli.evaluate.metrics.syncnet import lip_embeddings, num_windows, speech_embeddings


@pytest.mark.parametrize(
    ("num_samples", "rows"), [(1, 1), (400, 1), (401, 2), (560, 2), (561, 3), (16_000, 99), (16_000 * 60, 5999)]
)
def test_one_row_of_coefficients_per_10_ms(num_samples: int, rows: int) -> None:
    assert mfcc(np.ones(num_samples)).shape == (rows, 13)


def test_the_scale_of_the_samples_moves_only_the_first_coefficient() -> None:
    samples = np.random.default_rng(0).normal(0, 3000, 8000)
    loud, quiet = mfcc(samples), mfcc(samples / 32768)
    np.testing.assert_allclose(loud[:, 0] - quiet[:, 0], 2 * np.log(32768), atol=1e-9)
    np.testing.assert_allclose(loud[:, 1:], quiet[:, 1:], atol=1e-8)


def test_silence_has_finite_coefficients() -> None:
    assert np.isfinite(mfcc(np.zeros(2000, np.int16))).all()


@pytest.mark.parametrize(
    ("frames", "samples", "windows"), [(40, 25_600, 35), (40, 25_599, 34), (30, 64_000, 25), (5, 64_000, 0), (0, 0, 0)]
)
def test_number_of_windows(frames: int, samples: int, windows: int) -> None:
    assert num_windows(frames, samples) == windows


class Recording(nn.Module):
    """In place of SyncNet: remembers the windows it is shown; a window's embedding is its first value."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.seen: list[torch.Tensor] = []

    def lips(self, windows: torch.Tensor) -> torch.Tensor:
        self.seen.append(windows)
        return windows.flatten(1)[:, :1]

    speech = lips


@pytest.mark.parametrize("batch", [1, 3, 8])
def test_windows_of_faces_are_five_frames_in_bgr(batch: int) -> None:
    faces = [np.full((4, 4, 3), (10 + i, 100 + i, 200 + i), np.uint8) for i in range(12)]
    network = Recording()
    assert lip_embeddings(network, iter(faces), 7, batch)[:, 0].tolist() == [200 + i for i in range(7)]
    windows = torch.cat(network.seen)
    assert windows.shape == (7, 3, 5, 4, 4)
    assert windows[2, :, :, 0, 0].tolist() == [
        [202 + t for t in range(5)],
        [102 + t for t in range(5)],
        [12 + t for t in range(5)],
    ]


def test_too_few_faces_are_no_silent_zeros() -> None:
    with pytest.raises(ValueError, match="ended early"):
        lip_embeddings(Recording(), iter([np.zeros((4, 4, 3), np.uint8)] * 6), 4)


def test_windows_of_sound_move_by_four_rows() -> None:
    rows = np.repeat(np.arange(60.0)[:, None], 13, axis=1)
    network = Recording()
    assert speech_embeddings(network, rows, 9, batch=4)[:, 0].tolist() == [4 * i for i in range(9)]
    windows = torch.cat(network.seen)
    assert windows.shape == (9, 1, 13, 20)
    assert windows[3, 0, 5].tolist() == list(range(12, 32))


@pytest.mark.parametrize("shift", [-9, 0, 4])
def test_the_offset_is_positive_where_the_sound_is_ahead(shift: int) -> None:
    rows = np.random.default_rng(1).normal(size=(80, 16)).astype(np.float32)
    picture, sound = rows[20:60], rows[20 + shift : 60 + shift]  # sound row i is what the picture shows at i + shift
    found = agreement(picture, sound)
    assert found.offset_frames == shift
    assert found.distance == pytest.approx(0, abs=2) and found.confidence > 2
    at_zero = (found.distance_at_zero, found.confidence_at_zero)
    assert at_zero == (found.distance, found.confidence) if shift == 0 else at_zero[0] > found.distance + 2


def test_unrelated_rows_have_no_confidence() -> None:
    generator = np.random.default_rng(2)
    found = agreement(*(generator.normal(size=(200, 16)).astype(np.float32) for _ in range(2)))
    assert found.confidence < 0.3


def test_rows_that_do_not_belong_together() -> None:
    with pytest.raises(ValueError, match="must be equal"):
        agreement(np.zeros((3, 4)), np.zeros((2, 4)))


def test_running_median_has_zeros_beyond_the_ends() -> None:
    assert running_median(np.array([4.0, 5.0, 9.0, 7.0]), 3).tolist() == [4, 5, 7, 7]
    assert running_median(np.array([6.0]), 9).tolist() == [0]
