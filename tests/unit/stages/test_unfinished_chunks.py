"""What is left of a plan, where every stream has its own beginning."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest

from infinitetalk_cli.cache.files import commit_file, temporary_for
from infinitetalk_cli.stages.attempts import FailedAttempts, forget, forget_attempts
from infinitetalk_cli.stages.chunk_files import chunk_file, num_committed, record_file, unfinished
from infinitetalk_cli.stages.planned_chunk import PlannedChunk
from infinitetalk_cli.stages.sharing import Alone, streams_of

SCENES = (0, 0, 0, 1, 2, 2)


@pytest.fixture
def plan() -> list[PlannedChunk]:
    return [
        PlannedChunk(
            index=index, scene=scene, index_in_scene=index - SCENES.index(scene), start_frame=0, num_frames=17,
            new_start=0, new_stop=12, reference_index=0, reference_time_s=Fraction(0),
        )
        for index, scene in enumerate(SCENES)
    ]  # fmt: skip


def finish(folder: Path, *indices: int) -> None:
    for index in indices:
        for path in (record_file(folder, index), chunk_file(folder, index)):
            temporary_for(path).write_text(f"content of {path.name}")
            commit_file(temporary_for(path), path)


def left(folder: Path, plan: list[PlannedChunk], **how: bool) -> list[int]:
    return [chunk.index for chunk in unfinished(folder, plan, **how)]


def test_streams_do_not_wait_for_each_other(tmp_path: Path, plan: list[PlannedChunk]) -> None:
    assert left(tmp_path, plan) == [0, 1, 2, 3, 4, 5]
    finish(tmp_path, 0, 3, 4)
    assert left(tmp_path, plan) == [1, 2, 5]
    assert [[chunk.index for chunk in stream] for stream in streams_of(unfinished(tmp_path, plan))] == [[1, 2], [5]]
    assert num_committed(tmp_path) == 3


def test_what_follows_a_gap_is_made_again(tmp_path: Path, plan: list[PlannedChunk]) -> None:
    finish(tmp_path, *range(6))
    assert left(tmp_path, plan) == []
    forget(chunk_file(tmp_path, 1))
    assert left(tmp_path, plan) == [1, 2]


def test_damage_is_found_in_its_stream_only(tmp_path: Path, plan: list[PlannedChunk]) -> None:
    finish(tmp_path, *range(6))
    path = chunk_file(tmp_path, 4)
    path.write_text(path.read_text().upper())
    assert left(tmp_path, plan, always_hash=True) == [4, 5]


def test_one_process_alone_makes_everything_in_order(tmp_path: Path, plan: list[PlannedChunk]) -> None:
    finish(tmp_path, 0)
    with Alone().share(unfinished(tmp_path, plan)) as share:
        assert [chunk.index for stream in share.streams() for chunk in stream] == [1, 2, 3, 4, 5]
        assert share.report(steps=4) == (0, 0) and list(share.rest()) == []


def test_attempts_of_other_streams_stay(tmp_path: Path) -> None:
    for index in (1, 4, 5):
        (tmp_path / f"chunk-{index:06d}-0.json").write_text("{}")
    forget_attempts(tmp_path, but={1, 5})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["chunk-000001-0.json", "chunk-000005-0.json"]
    FailedAttempts(tmp_path, 5).forget()
    assert [path.name for path in tmp_path.iterdir()] == ["chunk-000001-0.json"]
    forget_attempts(tmp_path)
    assert not tmp_path.exists()
