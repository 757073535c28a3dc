"""Means over clips with bootstrap intervals: clips are drawn, because frames of one clip are nearly copies.

The percentile bootstrap is too sure of itself where clips are few. Its edges are therefore moved outwards, as far as
Student's distribution is wider than the normal one (expanded percentiles, Hesterberg 2015, arXiv 1411.5279).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from pydantic import BaseModel, ConfigDict
from scipy import stats

SHARE = 0.95
FEW_CLIPS = 5
"""Below so many nothing is judged: chance alone gives four clips of four the same sign once in eight times."""
DRAWS, SEED = 4000, 7


class Estimate(BaseModel):
    """A figure over clips: its value, and where 95 % of the bootstrap's values lie (None for a single clip)."""

    model_config = ConfigDict(frozen=True)

    value: float
    low: float | None
    high: float | None
    clips: list[float]


def estimate(rows: Sequence[object], statistic: Callable[[np.ndarray], float] | None = None) -> Estimate:
    """`statistic` (default: the mean) of `rows` (n, ...), one per clip, n above 0.

    `clips` of the result is the statistic of each clip alone.
    """
    values, of = np.asarray(rows, np.float64), statistic or _mean
    alone = [of(values[k : k + 1]) for k in range(len(values))]
    if len(values) < 2:
        return Estimate(value=of(values), low=None, high=None, clips=alone)
    draws = np.random.default_rng(SEED).integers(0, len(values), (DRAWS, len(values)))
    drawn = values[draws].mean(axis=1) if statistic is None else [of(values[draw]) for draw in draws]
    edge = _edge(len(values))
    low, high = np.quantile(drawn, [edge, 1 - edge])
    return Estimate(value=of(values), low=float(low), high=float(high), clips=alone)


def _edge(num_clips: int) -> float:
    """Share of the draws below the lower edge."""
    reach = stats.t.ppf((1 + SHARE) / 2, num_clips - 1) * np.sqrt(num_clips / (num_clips - 1))
    return float(stats.norm.cdf(-reach))


def _mean(values: np.ndarray) -> float:
    return float(values.mean())


def difference(one: Sequence[float], other: Sequence[float]) -> Estimate:
    """`one` less `other`, (n,) each, of the same clips in the same order."""
    return estimate(np.asarray(one, np.float64) - np.asarray(other, np.float64))
