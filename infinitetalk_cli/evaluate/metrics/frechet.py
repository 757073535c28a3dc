"""Distances between two sets of features: Frechet (FID, FVD) and kernel (KID), with intervals over videos.

A set is one array (rows, d) per video. Rows of one video are nearly copies of each other, so videos are what a
bootstrap draws. FD = |mu_a - mu_b|^2 + tr S_a + tr S_b - 2 tr (S_a S_b)^(1/2), in float64 with n - 1: Heusel et al.
2017 (arXiv 1706.08500). With rows centred and divided by sqrt(n - 1) as A and B the last trace is the sum of the
singular values of A B^T, which never turns complex; with more rows than dimensions it comes from the covariances.
KID: Binkowski et al. 2018 (arXiv 1801.01401).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

FeatureSet = Sequence[np.ndarray]
"""One array (rows, d) per video."""

KERNEL_ROWS = 2000
"""Rows of each set that the kernel distance looks at, spread over the videos: its cost grows with their square."""

_CHUNK_ROWS = 4096
_CHEAP_DRAWS, _DEAR_DRAWS = 2000, 200


@dataclass(frozen=True, eq=False)
class _Moments:
    """Of some rows: how many, their sum (d,), and the sum of products (d, d) around `origin` (d,)."""

    rows: int
    total: np.ndarray
    products: np.ndarray


def frechet_distance(made: FeatureSet, source: FeatureSet) -> float:
    """The squared Frechet distance of the Gaussians of two sets; 0 or more.

    Raises:
        ValueError: fewer than two rows in a set, or rows of different length.
    """
    _check(made, source)
    if max(_num_rows(made), _num_rows(source)) <= made[0].shape[1]:
        return _from_rows(_joined(made), _joined(source))
    origin = _joined(source[:1]).mean(axis=0)
    return _from_moments(_moments(made, origin), _moments(source, origin))


def kernel_distance(made: FeatureSet, source: FeatureSet, max_rows: int = KERNEL_ROWS) -> float:
    """Unbiased squared maximum mean discrepancy with the kernel (x.y/d + 1)^3; may be below 0.

    Raises:
        ValueError: as `frechet_distance`.
    """
    _check(made, source)
    kernels = _Kernels.of(made, source, max_rows)
    return kernels.distance(np.ones(len(made)), np.ones(len(source)))


def frechet_interval(
    made: FeatureSet, source: FeatureSet, draws: int | None = None, seed: int = 0, level: float = 0.95
) -> tuple[float, float]:
    """Percentile bootstrap of `frechet_distance` over videos. Sets of equal length are drawn together, pair by pair.

    With at most d rows (FVD) a draw costs milliseconds, and there are 2000 unless `draws` says otherwise; with more
    (FID) about the time of the distance itself, hence 200, and the moments of every video are kept: 34 MB for 2048
    dimensions.
    """
    _check(made, source)
    are_few = max(_num_rows(made), _num_rows(source)) <= made[0].shape[1]
    if draws is None:
        draws = _CHEAP_DRAWS if are_few else _DEAR_DRAWS
    if are_few:
        rows = [[np.asarray(video, np.float64) for video in videos] for videos in (made, source)]

        def distance(drawn_made: np.ndarray, drawn_source: np.ndarray) -> float:
            return _from_rows(*(_joined(_drawn(v, d)) for v, d in zip(rows, (drawn_made, drawn_source), strict=True)))

    else:
        origin = _joined(source[:1]).mean(axis=0)
        moments = [[_moments([video], origin) for video in videos] for videos in (made, source)]

        def distance(drawn_made: np.ndarray, drawn_source: np.ndarray) -> float:
            return _from_moments(
                *(
                    _summed(m, np.bincount(d, minlength=len(m)))
                    for m, d in zip(moments, (drawn_made, drawn_source), strict=True)
                )
            )

    return _interval(distance, len(made), len(source), draws, seed, level)


def kernel_interval(
    made: FeatureSet,
    source: FeatureSet,
    draws: int = _CHEAP_DRAWS,
    seed: int = 0,
    level: float = 0.95,
    max_rows: int = KERNEL_ROWS,
) -> tuple[float, float]:
    """Percentile bootstrap of `kernel_distance` over videos, as `frechet_interval`.

    A draw weights the blocks of the kernel matrix that belong to its videos; what a video drawn twice shares with
    its own copy counts like what it shares with itself, without the diagonal.
    """
    _check(made, source)
    kernels = _Kernels.of(made, source, max_rows)

    def distance(drawn_made: np.ndarray, drawn_source: np.ndarray) -> float:
        return kernels.distance(
            np.bincount(drawn_made, minlength=len(made)), np.bincount(drawn_source, minlength=len(source))
        )

    return _interval(distance, len(made), len(source), draws, seed, level)


def _interval(
    distance: Callable[[np.ndarray, np.ndarray], float],
    num_made: int,
    num_source: int,
    draws: int,
    seed: int,
    level: float,
) -> tuple[float, float]:
    generator = np.random.Generator(np.random.PCG64(seed))
    values = []
    for _ in range(draws):
        drawn = generator.integers(num_made, size=num_made)
        other = drawn if num_made == num_source else generator.integers(num_source, size=num_source)
        values.append(distance(drawn, other))
    low, high = np.nanquantile(values, ((1 - level) / 2, (1 + level) / 2))
    return float(low), float(high)


def _from_rows(made: np.ndarray, source: np.ndarray) -> float:
    scaled = [(rows - rows.mean(axis=0)) / np.sqrt(len(rows) - 1) for rows in (made, source)]
    shared = np.linalg.svd(scaled[0] @ scaled[1].T, compute_uv=False).sum()
    apart = np.square(made.mean(axis=0) - source.mean(axis=0)).sum()
    return max(0.0, float(apart + sum(np.square(rows).sum() for rows in scaled) - 2 * shared))


def _from_moments(made: _Moments, source: _Moments) -> float:
    covariances = []
    for moments in (made, source):
        centred = moments.products - np.outer(moments.total, moments.total) / moments.rows
        covariances.append(centred / (moments.rows - 1))
    root = _root(covariances[0])
    inner = np.linalg.eigvalsh(root.T @ covariances[1] @ root)
    shared = np.sqrt(np.clip(inner, 0, None)).sum()
    apart = np.square(made.total / made.rows - source.total / source.rows).sum()
    return max(0.0, float(apart + sum(np.trace(covariance) for covariance in covariances) - 2 * shared))


def _root(covariance: np.ndarray) -> np.ndarray:
    """A matrix whose product with its transpose is `covariance`."""
    try:
        return np.linalg.cholesky(covariance)
    except np.linalg.LinAlgError:  # no full rank: a draw of few videos, a dimension that never changes
        values, vectors = np.linalg.eigh(covariance)
        return vectors * np.sqrt(np.clip(values, 0, None))


def _moments(videos: FeatureSet, origin: np.ndarray) -> _Moments:
    """Moments around `origin`, which only has to lie near: it keeps the products small."""
    dimensions = len(origin)
    total, products = np.zeros(dimensions), np.zeros((dimensions, dimensions))
    for video in videos:
        for start in range(0, len(video), _CHUNK_ROWS):
            rows = np.asarray(video[start : start + _CHUNK_ROWS], np.float64) - origin
            total += rows.sum(axis=0)
            products += rows.T @ rows
    return _Moments(_num_rows(videos), total, products)


def _summed(moments: Sequence[_Moments], times: np.ndarray) -> _Moments:
    """Moments of all rows, each video taken `times` over."""
    taken = [(part, int(count)) for part, count in zip(moments, times, strict=True) if count]
    products = np.zeros_like(moments[0].products)
    for part, count in taken:
        products += count * part.products
    return _Moments(
        sum(part.rows * count for part, count in taken), sum(part.total * count for part, count in taken), products
    )


@dataclass(frozen=True, eq=False)
class _Kernels:
    """Sums of the kernel over the rows of each pair of videos, (videos, videos); `own`: of each row with itself."""

    made: np.ndarray
    source: np.ndarray
    across: np.ndarray
    own: tuple[np.ndarray, np.ndarray]
    rows: tuple[np.ndarray, np.ndarray]

    @classmethod
    def of(cls, made: FeatureSet, source: FeatureSet, max_rows: int) -> _Kernels:
        spread = [_spread(videos, max_rows) for videos in (made, source)]
        return cls(
            made=_block_sums(spread[0], spread[0]),
            source=_block_sums(spread[1], spread[1]),
            across=_block_sums(spread[0], spread[1]),
            own=tuple(np.array([_own_kernel(v) for v in videos]) for videos in spread),
            rows=tuple(np.array([len(v) for v in videos]) for videos in spread),
        )

    def distance(self, times_made: np.ndarray, times_source: np.ndarray) -> float:
        """The distance when every video counts so many `times`."""
        within = 0.0
        for times, sums, own, rows in zip(
            (times_made, times_source), (self.made, self.source), self.own, self.rows, strict=True
        ):
            # Rows never meet themselves, nor the copies of themselves that a draw makes.
            off_diagonal = times @ sums @ times - (times**2 * own).sum()
            pairs = (times * rows).sum() ** 2 - (times**2 * rows).sum()
            if not pairs:  # a draw of one row only
                return float("nan")
            within += off_diagonal / pairs
        both = (times_made * self.rows[0]).sum() * (times_source * self.rows[1]).sum()
        return float(within - 2 * (times_made @ self.across @ times_source) / both)


def _kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return (a @ b.T / a.shape[1] + 1) ** 3


def _own_kernel(rows: np.ndarray) -> float:
    return float(((np.square(rows).sum(axis=1) / rows.shape[1] + 1) ** 3).sum())


def _block_sums(a: FeatureSet, b: FeatureSet) -> np.ndarray:
    columns, ends = _joined(b), np.cumsum([len(video) for video in b])[:-1]
    return np.array([[part.sum() for part in np.split(_kernel(video, columns), ends, axis=1)] for video in a])


def _spread(videos: FeatureSet, max_rows: int) -> list[np.ndarray]:
    """At most about `max_rows` rows, the same share of every video, evenly spaced, one or more of each."""
    share = min(1.0, max_rows / _num_rows(videos))
    kept = []
    for video in videos:
        count = max(1, round(share * len(video)))
        places = np.linspace(0, len(video) - 1, count).round().astype(int)
        kept.append(np.asarray(video[places], np.float64))
    return kept


def _drawn(videos: FeatureSet, places: np.ndarray) -> list[np.ndarray]:
    return [videos[place] for place in places]


def _joined(videos: FeatureSet) -> np.ndarray:
    return np.concatenate([np.asarray(video, np.float64) for video in videos])


def _num_rows(videos: FeatureSet) -> int:
    return sum(len(video) for video in videos)


def _check(made: FeatureSet, source: FeatureSet) -> None:
    lengths = {video.shape[1:] for video in (*made, *source)}
    if len(lengths) > 1 or any(len(shape) != 1 for shape in lengths):
        raise ValueError(f"features of different shape: {sorted(lengths)}")
    if min(_num_rows(made), _num_rows(source)) < 2:
        raise ValueError("a distance needs at least two rows on each side")
    if any(not len(video) for video in (*made, *source)):
        raise ValueError("a video without features")
