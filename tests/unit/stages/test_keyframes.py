"""Chunk plans on real time lines: the reference of a chunk is the frame a player shows when the chunk begins."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from infinitetalk_cli.config.profile import ChunkProfile
from infinitetalk_cli.media.timeline import SourceTimeline
from infinitetalk_cli.progress import SilentProgress
from infinitetalk_cli.stages.audio_embedding import DubTrack
from infinitetalk_cli.stages.keyframes import ChunkPlan, KeyframeSettings, read_plan, select_keyframes
from infinitetalk_cli.stages.stage import StageContext


def plan(
    tmp_path: Path, timeline: SourceTimeline, num_frames: int, start_s: Fraction = Fraction(0), **chunks
) -> ChunkPlan:
    timeline.save(tmp_path / "timeline.npz")
    track = DubTrack(duration_s=Fraction(num_frames, 25), num_frames=num_frames, loudness_lufs=None)
    (tmp_path / "track.json").write_text(track.model_dump_json())
    inputs = {"timeline": tmp_path / "timeline.npz", "track": tmp_path / "track.json"}
    settings = KeyframeSettings(chunks=ChunkProfile(**chunks), start_s=start_s)
    select_keyframes(inputs, settings, tmp_path, StageContext(SilentProgress(), models=None, check_inputs=lambda: None))
    return read_plan(tmp_path / "plan.json")


def even(num_frames: int, rate: Fraction) -> SourceTimeline:
    ticks = np.arange(num_frames, dtype=np.int64)
    return SourceTimeline(ticks, num_frames, 1 / rate, np.ones(num_frames, bool))


@pytest.mark.parametrize(
    ("rate", "expected"),
    [(Fraction(25), [0, 72, 144]), (Fraction(30000, 1001), [0, 86, 172]), (Fraction(60), [0, 172, 345])],
)
def test_reference_goes_by_time_not_by_number(rate: Fraction, expected: list[int], tmp_path: Path) -> None:
    chunks = plan(tmp_path, even(600, rate), num_frames=200).chunks
    assert [chunk.reference_index for chunk in chunks] == expected


def test_reference_on_a_variable_timeline(tmp_path: Path) -> None:
    times = np.array([0, 100, 2870, 2890, 5000], np.int64)  # milliseconds; chunks begin at 0, 2880, 5760
    timeline = SourceTimeline(times, 6000, Fraction(1, 1000), np.ones(5, bool))
    chunks = plan(tmp_path, timeline, num_frames=200).chunks
    assert [chunk.reference_index for chunk in chunks] == [0, 2, 4]


def test_start_moves_the_references_along(tmp_path: Path) -> None:
    chunks = plan(tmp_path, even(600, Fraction(50)), num_frames=100, start_s=Fraction(2)).chunks
    assert [chunk.reference_index for chunk in chunks] == [100, 244]


def test_held_reference_stays(tmp_path: Path) -> None:
    chunks = plan(tmp_path, even(600, Fraction(25)), num_frames=300, reference_refresh="hold").chunks
    assert {chunk.reference_index for chunk in chunks} == {0}


def test_source_that_ends_early_gives_its_last_frame(tmp_path: Path) -> None:
    chunks = plan(tmp_path, even(90, Fraction(25)), num_frames=200).chunks
    assert [chunk.reference_index for chunk in chunks] == [0, 72, 89]


@pytest.mark.parametrize("num_frames", [1, 80, 81, 82, 153, 154, 1000])
def test_new_frames_cover_the_result_exactly_once(num_frames: int, tmp_path: Path) -> None:
    chunks = plan(tmp_path, even(10, Fraction(25)), num_frames=num_frames).chunks
    covered = [frame for chunk in chunks for frame in range(chunk.new_start, chunk.new_stop)]
    assert covered == list(range(num_frames))
    assert all(chunk.new_start - chunk.start_frame == (9 if chunk.index else 0) for chunk in chunks)
