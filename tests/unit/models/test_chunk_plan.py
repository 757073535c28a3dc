from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from infinitetalk_cli.models.chunking import (
    latent_frames,
    mirrored_rows,
    plan_chunks,
    published_num_frames,
    published_plan,
    window_rows,
)

CHUNK_SIZES = st.tuples(st.integers(1, 25), st.integers(0, 24)).filter(lambda sizes: sizes[1] < sizes[0])


@given(num_frames=st.integers(1, 400), sizes=CHUNK_SIZES)
def test_new_frames_cover_every_frame_once(num_frames: int, sizes: tuple[int, int]) -> None:
    chunks = plan_chunks(num_frames, *sizes)
    covered = [frame for chunk in chunks for frame in range(chunk.new_start, chunk.new_stop)]
    assert covered == list(range(num_frames))


@given(num_frames=st.integers(1, 400), sizes=CHUNK_SIZES)
def test_context_of_a_chunk_is_the_end_of_the_one_before(num_frames: int, sizes: tuple[int, int]) -> None:
    chunk_frames, context_frames = sizes
    chunks = plan_chunks(num_frames, *sizes)
    assert chunks[0].num_context == 0
    for before, chunk in pairwise(chunks):
        assert chunk.num_context == context_frames
        assert chunk.new_start == before.window.stop == before.new_stop
        assert len(chunk.window) == chunk_frames


def test_published_numbers() -> None:
    chunks = plan_chunks(200, chunk_frames=81, context_frames=9)
    assert [(chunk.start_frame, chunk.new_start, chunk.new_stop) for chunk in chunks] == [
        (0, 0, 81), (72, 81, 153), (144, 153, 200),
    ]  # fmt: skip


def test_nothing_to_plan() -> None:
    assert plan_chunks(0, 81, 9) == ()


def test_context_must_leave_room_for_new_frames() -> None:
    with pytest.raises(ValueError, match="9 context frames"):
        plan_chunks(10, 9, 9)


@pytest.mark.parametrize(("num_frames", "expected"), [(1, 1), (5, 2), (81, 21)])
def test_latent_frames(num_frames: int, expected: int) -> None:
    assert latent_frames(num_frames, temporal_stride=4) == expected


def test_latent_frames_of_an_odd_number() -> None:
    with pytest.raises(ValueError, match="82 frames"):
        latent_frames(82, temporal_stride=4)


def test_windows_are_held_at_both_ends() -> None:
    rows = window_rows(start=0, num_frames=4, rows=3, radius=2)
    assert rows.tolist() == [[0, 0, 0, 1, 2], [0, 0, 1, 2, 2], [0, 1, 2, 2, 2], [1, 2, 2, 2, 2]]


def test_mirrored_tail_speaks_the_last_rows_backwards() -> None:
    assert mirrored_rows(6, end=7).tolist() == [0, 1, 2, 3, 4, 5, 5, 4, 3, 2]
    assert mirrored_rows(6, end=5).tolist() == [0, 1, 2, 3, 4, 5]


def published_loop(audio_frames: list[int], chunk_frames: int, context_frames: int, max_frames: int) -> tuple:
    """The published loop step by step: starts, number of frames, rows of every person."""
    embeddings = [np.arange(length) for length in audio_frames]
    start, generated, starts, extended, is_last = 0, 0, [], False, False
    while True:
        starts.append(start)
        generated += chunk_frames if start == 0 else chunk_frames - context_frames
        if is_last or max_frames <= chunk_frames:
            break
        start += chunk_frames - context_frames
        end = start + chunk_frames
        if end >= min(max_frames, len(embeddings[0])):
            is_last = True
            for person, rows in enumerate(embeddings):
                if len(rows) <= end:
                    embeddings[person] = np.concatenate((rows, rows[-(end - len(rows) + 3) :][::-1]))
                    extended = True
    kept = min(generated, max_frames)
    return starts, min(kept, audio_frames[-1]) if extended else kept, embeddings


@given(
    lengths=st.lists(st.integers(18, 90), min_size=1, max_size=2),
    sizes=st.sampled_from([(17, 5), (17, 1), (9, 5), (5, 1)]),
    max_frames=st.sampled_from([5, 9, 17, 30, 1000]),
)
def test_published_plan_is_the_published_loop(lengths: list[int], sizes: tuple[int, int], max_frames: int) -> None:
    starts, num_kept, embeddings = published_loop(lengths, *sizes, max_frames)
    plan = published_plan(lengths, *sizes, max_frames)
    assert [chunk.start_frame for chunk in plan.chunks] == starts
    assert plan.num_kept == num_kept
    for length, rows in zip(lengths, embeddings, strict=True):
        assert plan.rows(plan.chunks[-1], length).tolist() == rows.tolist()
        if len(plan.chunks) > 1:
            assert plan.rows(plan.chunks[0], length).tolist() == list(range(length))


def test_published_frame_count_loses_frames_to_rounding() -> None:
    samples_per_frame = 640
    lost = [n for n in range(1, 3000) if published_num_frames(n * samples_per_frame) != n]
    assert lost[:4] == [29, 57, 58, 113]
    assert len(lost) == 144


@pytest.mark.parametrize(
    ("num_frames", "expected"), [(81, [81]), (10, [21]), (40, [41]), (84, [81, 21]), (130, [81, 61])]
)
def test_last_chunk_is_as_short_as_it_may_be(num_frames: int, expected: list[int]) -> None:
    chunks = plan_chunks(num_frames, 81, 9, fit_last=True)
    assert [chunk.num_frames for chunk in chunks] == expected
    assert chunks[-1].window.stop >= num_frames == chunks[-1].new_stop


def test_short_chunks_are_not_stretched() -> None:
    assert [chunk.num_frames for chunk in plan_chunks(20, 17, 5, fit_last=True)] == [17, 17]
