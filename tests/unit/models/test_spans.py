"""Stretches of samples: what their arithmetic says is what an array of samples says."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from infinitetalk_cli.models.spans import Span, fade_gain, intersection, total, union

LENGTH = 60
spans_of = st.lists(st.tuples(st.integers(0, LENGTH), st.integers(0, LENGTH)).map(lambda ends: Span(*sorted(ends))))


def covered(spans: list[Span]) -> np.ndarray:
    samples = np.zeros(LENGTH, bool)
    for span in spans:
        samples[span.start : span.stop] = True
    return samples


@given(spans_of, spans_of)
def test_union_and_intersection_are_those_of_their_samples(first: list[Span], second: list[Span]) -> None:
    assert np.array_equal(covered(union([*first, *second])), covered(first) | covered(second))
    assert np.array_equal(covered(intersection(first, second)), covered(first) & covered(second))
    assert total(first) == covered(first).sum()
    joined = union(first)
    assert all(before.stop < after.start for before, after in pairwise(joined))


def test_near_spans_are_joined() -> None:
    assert union([Span(8, 9), Span(0, 5), Span(6, 7)], gap=1) == [Span(0, 9)]


@given(spans_of, st.integers(1, 9), st.integers(1, 59))
def test_gain_is_full_inside_and_the_same_in_pieces(spans: list[Span], fade: int, cut: int) -> None:
    spans = union(spans)
    whole = fade_gain(spans, 0, LENGTH, fade)
    assert (whole[covered(spans)] == 1).all()
    far = [Span(span.start - fade, span.stop + fade) for span in spans]
    assert (whole[~covered([Span(max(0, span.start), span.stop) for span in far])] == 0).all()
    pieces = [fade_gain(spans, 0, cut, fade), fade_gain(spans, cut, LENGTH, fade)]
    np.testing.assert_allclose(np.concatenate(pieces), whole, atol=1e-6)


def test_fades_do_not_click() -> None:
    gain = fade_gain([Span(2000, 4000), Span(4100, 6000)], 0, 8000, 320)
    assert np.abs(np.diff(gain)).max() < 0.006, "half a cosine over 320 samples rises by at most pi / 640 each"
    assert gain[0] == gain[-1] == 0
