"""Whether two methods differ: paired tests over clips, corrected for how many are made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import wilcoxon

from infinitetalk_cli.evaluate.intervals import difference

FEWEST_DIFFERING = 6
"""With fewer clips that differ no sign test and no rank test can reach 5 %."""
EQUAL = 1e-12
"""Two figures nearer than this are the same."""


@dataclass(frozen=True)
class Paired:
    """One method less another over the clips that both have: mean difference, its interval, and Wilcoxon's p.

    low, high None: one clip only. `p` None: fewer than six clips differ, so no test can tell anything at 5 %.
    """

    n: int
    difference: float
    low: float | None
    high: float | None
    p: float | None


def paired(one: Mapping[str, float], other: Mapping[str, float]) -> Paired | None:
    """The paired comparison of two columns by clip id; None without a common clip."""
    both = sorted(one.keys() & other.keys())
    if not both:
        return None
    found = difference([one[name] for name in both], [other[name] for name in both])
    changed = np.array([value for value in found.clips if abs(value) > EQUAL])
    p = float(wilcoxon(changed).pvalue) if len(changed) >= FEWEST_DIFFERING else None
    return Paired(len(both), found.value, found.low, found.high, p)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p values, in the given order."""
    order = np.argsort(p_values)
    adjusted, highest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = highest
    return adjusted
