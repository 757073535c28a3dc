from __future__ import annotations

import numpy as np
import pytest
import torch

from infinitetalk_cli.errors import InputError
from infinitetalk_cli.models.chunking import window_rows
from infinitetalk_cli.models.conditioning import (
    audio_windows,
    latent_masks,
    person_masks,
    published_condition,
    repeat_condition,
)


def test_published_condition_marks_the_first_latent_frame() -> None:
    latents = torch.randn(1, 5, 3, 2, 2)
    condition = published_condition(latents, temporal_stride=4)
    assert condition.shape == (1, 9, 3, 2, 2)
    assert torch.equal(condition[:, 4:], latents)
    assert condition[:, :4].sum(dim=(0, 1, 3, 4)).tolist() == [16, 0, 0]


def test_repeat_condition_marks_clean_frames_and_repeats_the_reference() -> None:
    reference = torch.randn(2, 5, 1, 2, 2)
    condition = repeat_condition(reference, num_clean=2, num_latent_frames=4)
    assert condition.shape == (2, 6, 4, 2, 2)
    assert condition[:, 0].mean(dim=(0, 2, 3)).tolist() == [1, 1, 0, 0]
    for frame in range(4):
        assert torch.equal(condition[:, 1:, frame], reference[:, :, 0])


def test_audio_windows_read_only_what_they_need(tmp_path) -> None:
    rows = np.random.default_rng(0).standard_normal((50, 2, 3)).astype(np.float32)
    np.save(tmp_path / "rows.npy", rows)
    mapped = np.load(tmp_path / "rows.npy", mmap_mode="r")
    windows = audio_windows([mapped], [window_rows(45, 9, len(mapped))])
    assert windows.shape == (1, 9, 5, 2, 3)
    assert np.array_equal(windows[0, 0], rows[43:48])
    assert np.array_equal(windows[0, 8], rows[[49] * 5])


def test_one_person_is_everywhere() -> None:
    assert person_masks((4, 6), num_people=1).min() == 1


def test_two_people_stand_left_and_right() -> None:
    masks = person_masks((40, 80), num_people=2)
    assert torch.equal(masks.sum(dim=0), torch.ones(40, 80, dtype=torch.int64))
    assert masks[0].nonzero().tolist()[0] == [2, 2]
    assert masks[0].nonzero().tolist()[-1] == [37, 37]
    assert torch.equal(masks[1], masks[0].roll(40, dims=1))


def test_boxes_are_rows_and_columns() -> None:
    masks = person_masks((10, 20), num_people=2, boxes=[(1, 2, 3, 5), (4.9, 6, 9, 19.9)])
    assert masks[0].nonzero().min(dim=0).values.tolist() == [1, 2]
    assert masks[0].nonzero().max(dim=0).values.tolist() == [2, 4]
    assert masks[1].nonzero().min(dim=0).values.tolist() == [4, 6]
    assert masks[1].nonzero().max(dim=0).values.tolist() == [8, 18]


def test_box_outside_the_picture_is_refused() -> None:
    with pytest.raises(InputError, match=r"person 2: box \(0, 30, 5, 40\) covers nothing of the 20x10 picture"):
        person_masks((10, 20), num_people=2, boxes=[(0, 0, 5, 5), (0, 30, 5, 40)])


def test_box_that_vanishes_at_latent_size_is_refused() -> None:
    masks = person_masks((64, 64), num_people=2, boxes=[(0, 0, 32, 32), (33, 33, 35, 35)])
    with pytest.raises(InputError, match="person 2: too small"):
        latent_masks(masks, (8, 8))


def test_three_people_are_refused() -> None:
    with pytest.raises(InputError, match="3 people"):
        person_masks((10, 20), num_people=3)
