"""Tracks and crops beyond the recorded scenes; the detector's arithmetic on made-up numbers."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from infinitetalk_cli.evaluate.metrics import s3fd
from infinitetalk_cli.evaluate.metrics.face_tracks import Crop, Track, crops, find_tracks, sound_span


def boxes(*rows: tuple[float, float, float, float]) -> np.ndarray:
    return np.array(rows, np.float64).reshape(-1, 4)


def test_faces_25_frames_apart_are_one_track_and_26_are_two() -> None:
    face, none = boxes((0, 0, 100, 100)), boxes()
    for gap, spans in ((24, [(0, 64)]), (25, [(0, 20), (45, 65)])):
        faces = [*[face] * 20, *[none] * gap, *[face] * 20]
        assert [(t.start, t.stop) for t in find_tracks(faces, min_track=5, min_face_px=50)] == spans


def test_boxes_in_a_gap_lie_on_the_way() -> None:
    faces = [boxes((0, 0, 100, 100)), boxes(), boxes(), boxes(), boxes((20, 8, 120, 108))]
    (track,) = find_tracks(faces, min_track=1, min_face_px=50, first=7)
    assert (track.start, track.stop) == (7, 12)
    assert track.boxes[2].tolist() == [10, 4, 110, 104]


def test_the_larger_mean_side_counts() -> None:
    faces = [boxes((0, 0, 60, 101))] * 10
    assert find_tracks(faces, min_track=9, min_face_px=100)
    assert not find_tracks(faces, min_track=10, min_face_px=100)
    assert not find_tracks(faces, min_track=9, min_face_px=101)


def test_three_faces_are_three_tracks() -> None:
    frame = boxes((0, 0, 100, 100), (200, 0, 300, 100), (400, 0, 500, 100))
    faces = [frame[np.roll([0, 1, 2], shift)] for shift in range(12)]
    tracks = find_tracks(faces, min_track=11, min_face_px=50)
    assert sorted(track.boxes[-1, 0] for track in tracks) == [0, 200, 400]


def test_a_crop_inside_the_picture_is_the_picture() -> None:
    frame = np.random.default_rng(0).integers(0, 256, (300, 400, 3), dtype=np.uint8)
    cut = Crop(padding=10, top=60, bottom=160, left=110, right=210).of(frame)
    np.testing.assert_array_equal(cut, frame[50:150, 100:200])


@pytest.mark.parametrize(("left", "top"), [(0, 0), (-30, -20), (330, 250), (-500, 10)])
def test_a_crop_beyond_the_picture_is_grey(left: int, top: int) -> None:
    """The same as cutting out of a picture with a grey border."""
    frame = np.random.default_rng(0).integers(0, 256, (300, 400, 3), dtype=np.uint8)
    padding = 600
    bordered = np.pad(frame, ((padding, padding), (padding, padding), (0, 0)), constant_values=110)
    crop = Crop(padding, top + padding, top + padding + 100, left + padding, left + padding + 100)
    np.testing.assert_array_equal(crop.of(frame), bordered[crop.top : crop.bottom, crop.left : crop.right])


def test_a_crop_ends_with_the_border() -> None:
    """Numpy cuts short what lies beyond an array, and so does the published scorer."""
    frame = np.zeros((100, 100, 3), np.uint8)
    assert Crop(padding=20, top=90, bottom=200, left=100, right=190).of(frame).shape == (50, 40, 3)


def test_a_face_fills_the_same_part_of_every_crop() -> None:
    track = Track(0, np.repeat(boxes((100, 120, 200, 220)), 40, axis=0))
    crop = crops(track)[20]
    assert (crop.right - crop.left, crop.bottom - crop.top) == (140, 140)
    assert (crop.left - crop.padding, crop.top - crop.padding) == (80, 120)


def test_the_sound_of_a_track() -> None:
    track = Track(10, np.zeros((51, 4)))
    assert sound_span(track, 16_000) == slice(6400, 61 * 640)


def test_boxes_that_cover_each_other_are_one_face() -> None:
    found = boxes((0, 0, 10, 10), (1, 0, 11, 10), (20, 0, 30, 10), (9, 0, 19, 10))
    assert s3fd.suppressed(found, 0.3).tolist() == [0, 2, 3]
    assert s3fd.suppressed(found, 0.9).tolist() == [0, 1, 2, 3]
    assert s3fd.suppressed(boxes(), 0.3).tolist() == []


def test_a_prior_without_offset_is_its_own_box() -> None:
    sizes = [(2, 3), (1, 2), (1, 1), (1, 1), (1, 1), (1, 1)]
    where = s3fd.priors(sizes, (8, 12))
    assert len(where) == 6 + 2 + 4
    pixels = s3fd.decoded(torch.zeros(len(where), 4), where) * torch.tensor([12, 8, 12, 8])
    assert pixels[1].tolist() == pytest.approx([6 - 8, 2 - 8, 6 + 8, 2 + 8], abs=1e-4)
    assert pixels[6].tolist() == pytest.approx([4 - 16, 4 - 16, 4 + 16, 4 + 16], abs=1e-4)


def test_pictures_of_a_group_are_judged_each_for_itself() -> None:
    class Stub(torch.nn.Module):
        """In place of the network: the probability of the one prior is the picture's brightness."""

        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(1))

        def forward(self, levels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
            probabilities = levels.mean(dim=(1, 2, 3))[:, None] / 255
            return torch.zeros(len(levels), 1, 4), probabilities, torch.tensor([[0.5, 0.5, 0.25, 0.5]])

    frames = np.stack([np.full((40, 80, 3), level, np.uint8) for level in (255, 100)])
    (first, scores), (second, _) = s3fd.detect(Stub(), frames, scale=0.5)
    assert first.tolist() == [[30, 10, 50, 30]] and scores.tolist() == [1]
    assert len(second) == 0
