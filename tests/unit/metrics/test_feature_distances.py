"""Frechet and kernel distance of feature sets: what they must be by their definition, and intervals over videos."""

from __future__ import annotations

import numpy as np
import pytest

from infinitetalk_cli.evaluate.metrics.frechet import (
    frechet_distance,
    frechet_interval,
    kernel_distance,
    kernel_interval,
)


def features(videos: int, rows: int, dimensions: int, seed: int = 0, shift: float = 0.0) -> list[np.ndarray]:
    generator = np.random.default_rng(seed)
    return [
        (generator.normal(size=(rows, dimensions)) + generator.normal(size=dimensions) + shift).astype(np.float32)
        for _ in range(videos)
    ]


@pytest.mark.parametrize("rows", [2, 40], ids=["fewer rows than dimensions", "more rows than dimensions"])
def test_the_same_set_has_distance_zero(rows: int) -> None:
    source = features(4, rows, 16)
    assert frechet_distance(source, source) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("rows", [2, 40])
def test_a_shifted_copy_is_as_far_as_the_shift(rows: int) -> None:
    source = features(4, rows, 16)
    moved = [video + np.float32(0.5) for video in source]
    assert frechet_distance(moved, source) == pytest.approx(16 * 0.25, rel=1e-4)


def test_one_dimension_is_the_textbook_formula() -> None:
    a, b = features(1, 500, 1)[0], 3 * features(1, 400, 1, seed=1)[0]
    expected = (a.mean() - b.mean()) ** 2 + (a.std(ddof=1) - b.std(ddof=1)) ** 2
    assert frechet_distance([a], [b]) == pytest.approx(float(expected), rel=1e-4)


def test_both_ways_of_computing_agree() -> None:
    """Up to d rows go by singular values, more by covariances; columns of zeros change only which way is taken."""
    a, b = features(3, 8, 20), features(3, 8, 20, seed=1, shift=0.3)
    by_covariance = frechet_distance(a, b)
    wide = [[np.pad(video, ((0, 0), (0, 10))) for video in videos] for videos in (a, b)]
    assert frechet_distance(*wide) == pytest.approx(by_covariance, rel=1e-6)


def test_how_rows_are_split_into_videos_does_not_matter() -> None:
    a, b = features(4, 30, 12), features(4, 30, 12, seed=1)
    joined = [np.concatenate(a)], [np.concatenate(b)]
    assert frechet_distance(*joined) == pytest.approx(frechet_distance(a, b), rel=1e-9)
    assert kernel_distance(*joined) == pytest.approx(kernel_distance(a, b), rel=1e-9)


def test_kernel_distance_is_its_definition() -> None:
    a, b = features(1, 7, 5)[0].astype(float), features(1, 9, 5, seed=1)[0].astype(float)

    def kernel(x: np.ndarray, y: np.ndarray) -> float:
        return (x @ y / 5 + 1) ** 3

    within_a = np.mean([kernel(x, y) for i, x in enumerate(a) for j, y in enumerate(a) if i != j])
    within_b = np.mean([kernel(x, y) for i, x in enumerate(b) for j, y in enumerate(b) if i != j])
    across = np.mean([kernel(x, y) for x in a for y in b])
    assert kernel_distance([a], [b]) == pytest.approx(within_a + within_b - 2 * across)


def test_the_kernel_distance_is_unbiased_and_the_frechet_distance_is_not() -> None:
    """Twenty rows and twenty more of one distribution: 0 on the average, against what Frechet makes of so few."""
    generator = np.random.default_rng(0)
    pairs = [generator.normal(size=(2, 1, 20, 32)) for _ in range(100)]
    assert np.mean([kernel_distance(*pair) for pair in pairs]) == pytest.approx(0, abs=0.02)
    assert np.mean([frechet_distance(*pair) for pair in pairs[:10]]) > 10


def test_a_subset_of_rows_gives_nearly_the_same_kernel_distance() -> None:
    a, b = features(4, 200, 8), features(4, 200, 8, seed=1, shift=0.5)
    assert kernel_distance(a, b, max_rows=200) == pytest.approx(kernel_distance(a, b), rel=0.2)


@pytest.mark.parametrize(
    ("interval", "distance"), [(frechet_interval, frechet_distance), (kernel_interval, kernel_distance)]
)
@pytest.mark.parametrize("rows", [1, 10], ids=["clips", "frames"])
def test_intervals_are_reproducible_and_wider_with_fewer_videos(interval, distance, rows: int) -> None:
    a, b = features(40, rows, 4), features(40, rows, 4, seed=1, shift=1.0)
    low, high = interval(a, b, draws=100, seed=3)
    assert (low, high) == interval(a, b, draws=100, seed=3)
    assert low < high
    assert low < distance(a, b) * 1.5 and high > distance(a, b) * 0.8
    few = interval(a[:4], b[:4], draws=100, seed=3)
    assert few[1] - few[0] > high - low


def test_copies_have_an_interval_of_nothing() -> None:
    """Videos are drawn pair by pair, so that a copy stays a copy in every draw."""
    source = features(5, 3, 16)
    assert frechet_interval(source, source, draws=20) == pytest.approx((0, 0), abs=1e-6)


def test_sets_that_cannot_be_compared() -> None:
    with pytest.raises(ValueError, match="different shape"):
        frechet_distance(features(1, 4, 3), features(1, 4, 5))
    with pytest.raises(ValueError, match="two rows"):
        frechet_distance(features(1, 1, 3), features(1, 4, 3))
    with pytest.raises(ValueError, match="without features"):
        kernel_distance([*features(2, 4, 3), np.zeros((0, 3))], features(2, 4, 3))
