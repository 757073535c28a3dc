import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infinitetalk_cli.train.reference import (
    FAR_FRAMES,
    NEAR_FRAMES,
    chunk_starts,
    draw_reference,
    reference_candidates,
)
from infinitetalk_cli.units import FrameSpan

spans = st.tuples(st.integers(0, 300), st.integers(1, 90)).map(lambda s: FrameSpan(s[0], s[0] + s[1]))


@given(chunk=spans, after=st.integers(0, 300))
def test_every_strategy_keeps_to_its_range(chunk, after):
    num_frames = chunk.stop + after
    found = {name: reference_candidates(name, chunk, num_frames) for name in ("m0", "m1", "m2", "m3")}
    assert found["m0"] == list(range(chunk.start, chunk.stop))
    assert found["m1"] == [chunk.start, chunk.stop - 1]
    assert all(f < chunk.start - FAR_FRAMES or f >= chunk.stop + FAR_FRAMES for f in found["m2"])
    for frame in found["m3"]:
        distance = chunk.start - frame if frame < chunk.start else frame - (chunk.stop - 1)
        assert 1 <= distance <= NEAR_FRAMES
    assert all(0 <= f < num_frames for frames in found.values() for f in frames)


def test_only_cached_frames_are_drawn():
    rng = random.Random(0)
    drawn = {draw_reference(rng, "m3", FrameSpan(20, 41), 93) for _ in range(200)}
    assert drawn == {0, 4, 8, 12, 16, 44, 48, 52, 56, 60, 64}


def test_a_clip_without_a_far_frame_is_refused():
    with pytest.raises(ValueError, match="longer clips"):
        draw_reference(random.Random(0), "m2", FrameSpan(0, 81), 93)


@given(st.sampled_from(["m0", "m1", "m2", "m3"]), st.sampled_from([9, 21, 81]), st.integers(5, 100))
def test_chunks_begin_only_where_a_reference_can_be_drawn(strategy, chunk_frames, num_groups):
    num_frames = 1 + 4 * num_groups
    starts = chunk_starts(strategy, chunk_frames, num_frames)
    for start in starts:
        draw_reference(random.Random(0), strategy, FrameSpan(start, start + chunk_frames), num_frames)
    if strategy in ("m0", "m1"):
        assert len(starts) == max(0, num_groups - (chunk_frames - 1) // 4 + 1)
