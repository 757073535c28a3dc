import numpy as np
import pytest

from infinitetalk_cli.evaluate.intervals import difference, estimate


def test_the_interval_holds_the_mean_and_narrows_with_the_clips():
    rng = np.random.default_rng(0)
    few, many = rng.normal(5, 1, 4), rng.normal(5, 1, 64)
    narrow, wide = estimate(many), estimate(few)
    assert narrow.low < narrow.value < narrow.high
    assert narrow == estimate(many), "the draws are always the same"
    assert narrow.value == pytest.approx(many.mean())
    assert narrow.high - narrow.low == pytest.approx(2 * 1.96 * many.std() / 8, rel=0.15)
    assert (wide.low, wide.high) == pytest.approx((few.min(), few.max()), abs=0.1)  # four clips tell little


def test_equal_clips_leave_no_doubt_and_one_clip_says_nothing_of_it():
    sure = estimate([2.0, 2.0, 2.0])
    assert (sure.low, sure.high) == (2.0, 2.0)
    alone = estimate([2.0])
    assert (alone.value, alone.low, alone.high) == (2.0, None, None)


def test_the_statistic_is_drawn_as_a_whole():
    curves = [[0.0, 1.0, 0.0], [0.0, 1.0, 0.2], [0.9, 1.0, 0.0]]
    peak = estimate(curves, lambda drawn: float(drawn.mean(axis=0).argmax()))
    assert (peak.value, peak.low, peak.high) == (1.0, 1.0, 1.0)


def test_differences_are_taken_clip_by_clip():
    hard_and_easy = np.array([0.1, 0.5, 0.9])
    better = difference(hard_and_easy + 0.05, hard_and_easy)
    assert better.value == pytest.approx(0.05)
    assert better.low == pytest.approx(0.05)
