"""Stretches of samples, such as those where somebody speaks, and the gain that lets only them through."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np


class Span(NamedTuple):
    """Samples `[start, stop)`."""

    start: int
    stop: int


def union(spans: Iterable[Span], gap: int = 0) -> list[Span]:
    """`spans` in order, those that overlap or lie at most `gap` samples apart joined; empty ones dropped."""
    joined: list[Span] = []
    for span in sorted(span for span in spans if span.start < span.stop):
        if joined and span.start <= joined[-1].stop + gap:
            joined[-1] = Span(joined[-1].start, max(joined[-1].stop, span.stop))
        else:
            joined.append(span)
    return joined


def intersection(first: Iterable[Span], second: Iterable[Span]) -> list[Span]:
    """What lies in both, in order."""
    ones, others = union(first), union(second)
    common, place = [], 0
    for one in ones:
        while place < len(others) and others[place].stop <= one.start:
            place += 1
        for other in others[place:]:
            if other.start >= one.stop:
                break
            common.append(Span(max(one.start, other.start), min(one.stop, other.stop)))
    return common


def total(spans: Iterable[Span]) -> int:
    """Samples in `spans`, each counted once."""
    return sum(span.stop - span.start for span in union(spans))


def fade_gain(spans: Sequence[Span], start: int, stop: int, fade: int) -> np.ndarray:
    """Gain (stop - start,) float32 for samples `[start, stop)`: 1 inside `spans`, 0 far from them.

    In between it moves over `fade` samples outside each edge along half a cosine, so that nothing clicks. `spans` are
    in order and do not overlap; where two fades meet the louder one counts.
    """
    gain = np.zeros(stop - start, np.float32)
    for span in spans:
        if span.stop + fade <= start or span.start - fade >= stop:
            continue
        places = np.arange(max(start, span.start - fade), min(stop, span.stop + fade))
        corners = [span.start - fade, span.start, span.stop - 1, span.stop - 1 + fade]
        ramp = np.interp(places, corners, [0.0, 1.0, 1.0, 0.0]).astype(np.float32)
        here = gain[places[0] - start : places[-1] - start + 1]
        np.maximum(here, ramp, out=here)
    return 0.5 - 0.5 * np.cos(np.pi * gain)
