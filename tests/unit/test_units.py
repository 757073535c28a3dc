"""Frames, seconds and samples."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infinitetalk_cli.units import FrameSpan, clock, frame_at, frame_time, frames_in, parse_time, samples_in

RATES = st.sampled_from([Fraction(25), Fraction(30000, 1001), Fraction(24000, 1001), Fraction(60)])


@given(index=st.integers(0, 10**7), rate=RATES)
def test_a_frame_is_on_screen_at_its_own_time(index: int, rate: Fraction) -> None:
    assert frame_at(frame_time(index, rate), rate) == index
    assert frame_at(frame_time(index + 1, rate) - Fraction(1, 10**9), rate) == index


@given(num_frames=st.integers(1, 10**7), rate=RATES)
def test_exact_lengths_are_not_rounded(num_frames: int, rate: Fraction) -> None:
    """The published count loses a frame for 144 of the exact lengths below 3000 frames; this one for none."""
    assert frames_in(frame_time(num_frames, rate), rate) == num_frames
    assert frames_in(frame_time(num_frames, rate) + Fraction(1, 10**9), rate) == num_frames + 1


def test_samples_cover_the_time() -> None:
    assert samples_in(Fraction(1, 3), 16_000) == 5334


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("12.5", Fraction(25, 2)),
        ("1:30", Fraction(90)),
        ("01:02:03.25", Fraction(372325, 100)),
        ("90/7", Fraction(90, 7)),
    ],
)
def test_times_as_people_write_them(text: str, seconds: Fraction) -> None:
    assert parse_time(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "1:xx", "-3", "1:30:-5", "1/0"])
def test_what_is_not_a_time(text: str) -> None:
    with pytest.raises(ValueError, match="time"):
        parse_time(text)


def test_clock() -> None:
    assert [clock(s) for s in (0, 59.96, 61.25, 3723.4)] == ["0:00.0", "1:00.0", "1:01.2", "1:02:03.4"]


def test_spans_are_half_open_and_ordered() -> None:
    assert len(FrameSpan(3, 8)) == 5
    with pytest.raises(ValueError, match="span"):
        FrameSpan(5, 4)
