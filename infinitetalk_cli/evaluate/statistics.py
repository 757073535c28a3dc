"""Intervals and tests over clips; every draw is fixed by a seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import wilcoxon

DRAWS, SEED, LEVEL = 2000, 2508, 0.95


def bootstrap_mean(values: Sequence[float]) -> tuple[float, float]:
    """(low, high) of the mean, 95 %, drawing whole clips with replacement."""
    rows = np.asarray(values, float)
    if len(rows) < 2:
        return float(rows.mean()), float(rows.mean())
    draws = np.random.default_rng(SEED).integers(0, len(rows), (DRAWS, len(rows)))
    low, high = np.quantile(rows[draws].mean(axis=1), ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
    return float(low), float(high)


@dataclass(frozen=True)
class Paired:
    """One method less another over the clips that both have: mean difference, its interval, and Wilcoxon's p.

    `p` None: fewer than six clips differ, so no test can tell anything at 5 %.
    """

    n: int
    difference: float
    low: float
    high: float
    p: float | None


def paired(one: dict[str, float], other: dict[str, float]) -> Paired | None:
    """The paired comparison of two columns by clip id; None without a common clip."""
    both = sorted(one.keys() & other.keys())
    if not both:
        return None
    differences = np.array([one[name] - other[name] for name in both])
    low, high = bootstrap_mean(differences.tolist())
    changed = differences[np.abs(differences) > 1e-12]
    p = float(wilcoxon(changed).pvalue) if len(changed) >= 6 else None
    return Paired(len(both), float(differences.mean()), low, high, p)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p values, in the given order."""
    order = np.argsort(p_values)
    adjusted, highest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = highest
    return adjusted
