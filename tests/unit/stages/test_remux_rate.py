"""Generated frames at another rate: each output frame is the one on screen at its time."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from infinitetalk_cli.config.job import FrameRate
from infinitetalk_cli.stages.compose import at_rate
from infinitetalk_cli.stages.remux import output_rate


@pytest.mark.parametrize(
    ("rate", "num_frames", "expected"),
    [
        (Fraction(25), 4, [0, 1, 2, 3]),
        (Fraction(50), 8, [0, 0, 1, 1, 2, 2, 3, 3]),
        (Fraction(25, 2), 2, [0, 2]),
        (Fraction(30), 5, [0, 0, 1, 2, 3]),
        (Fraction(25), 6, [0, 1, 2, 3, 3, 3]),
    ],
)
def test_frames_are_held_or_left_out(rate: Fraction, num_frames: int, expected: list[int]) -> None:
    frames = (np.full((1, 1, 3), index, np.uint8) for index in range(4))
    assert [int(frame[0, 0, 0]) for frame in at_rate(frames, num_frames, rate)] == expected


def test_rate_of_the_result() -> None:
    assert output_rate(Fraction(30000, 1001), FrameRate.MODEL) == 25
    assert output_rate(Fraction(30000, 1001), FrameRate.SOURCE) == Fraction(30000, 1001)
    assert output_rate(None, FrameRate.SOURCE) == 25
