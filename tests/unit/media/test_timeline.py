"""Frames by time, with exact arithmetic."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from infinitetalk_cli.errors import InputError
from infinitetalk_cli.media.timeline import SourceTimeline, common_time_base


def timeline_of(pts: list[int], end: int, time_base: Fraction = Fraction(1, 1000)) -> SourceTimeline:
    return SourceTimeline(np.array(pts, np.int64), end, time_base, np.ones(len(pts), bool))


@given(
    steps=st.lists(st.integers(1, 5000), min_size=1, max_size=30),
    time_base=st.fractions(Fraction(1, 96_000), Fraction(1, 10)),
    time_s=st.fractions(-5, 100),
)
def test_frame_on_screen_is_the_last_that_appeared(steps, time_base, time_s):
    pts = np.cumsum(steps).tolist()
    timeline = timeline_of(pts, pts[-1] + 1, time_base)
    expected = max((i for i, tick in enumerate(pts) if tick * time_base <= time_s), default=0)
    assert timeline.frame_index_at(time_s) == expected


def test_a_frame_is_shown_from_its_very_first_moment():
    timeline = timeline_of([0, 1001, 2002], 3003, Fraction(1, 30_000))
    assert timeline.frame_index_at(Fraction(1001, 30_000)) == 1
    assert timeline.frame_index_at(Fraction(1001, 30_000) - Fraction(1, 10**12)) == 0


def test_ntsc_onto_25_fps_never_drifts():
    num_frames = 100_000
    pts = np.arange(num_frames, dtype=np.int64) * 1001
    timeline = SourceTimeline(pts, num_frames * 1001, Fraction(1, 30_000), np.ones(num_frames, bool))
    for model_frame in (0, 1, 25, 24_999, 80_000):
        exact = Fraction(model_frame, 25) * Fraction(30_000, 1001)
        assert timeline.frame_index_at(Fraction(model_frame, 25)) == exact.__floor__()


def test_still_image_is_one_frame_without_duration():
    timeline = SourceTimeline.still()
    assert (timeline.num_frames, timeline.duration_s) == (1, 0)
    assert timeline.frame_index_at(Fraction(100)) == 0


def test_save_and_load(tmp_path: Path):
    timeline = SourceTimeline(
        np.array([-5, 0, 7], np.int64), 9, Fraction(1001, 30_000), np.array([True, False, True]), is_seekable=False
    )
    timeline.save(tmp_path / "timeline.npz")
    loaded = SourceTimeline.load(tmp_path / "timeline.npz")
    assert loaded.pts.tolist() == [-5, 0, 7]
    assert loaded.keyframes.tolist() == [True, False, True]
    assert (loaded.end, loaded.time_base, loaded.is_seekable) == (9, Fraction(1001, 30_000), False)


def test_damaged_timeline_is_an_input_error(tmp_path: Path):
    path = tmp_path / "timeline.npz"
    SourceTimeline.still().save(path)
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(InputError, match=r"timeline\.npz"):
        SourceTimeline.load(path)


@given(st.fractions(Fraction(1, 1000), 10), st.fractions(Fraction(1, 1000), 10))
def test_common_time_base_counts_both_in_whole_units(first, second):
    unit = common_time_base(first, second)
    assert (first / unit).denominator == (second / unit).denominator == 1
