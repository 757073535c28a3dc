"""Chunk plans on real time lines: the reference of a chunk is the frame a player shows when the chunk begins."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from infinitetalk_cli.config.profile import ChunkProfile, SpeechProfile
from infinitetalk_cli.media.timeline import SourceTimeline
from infinitetalk_cli.progress import SilentProgress
from infinitetalk_cli.stages.audio_embedding import DubTrack
from infinitetalk_cli.stages.keyframes import ChunkPlan, KeyframeSettings, make_plan, read_plan, select_keyframes
from infinitetalk_cli.stages.scenes import Cut
from infinitetalk_cli.stages.speech_spans import SpeechSpans
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


# Conditioning modes


def modes_plan(mode: str, num_frames: int, cuts: tuple[Cut, ...] = (), speech: SpeechSpans | None = None) -> ChunkPlan:
    """Chunks of 17 frames over a source of 150 frames at 50 per second: source frame 2 f stands at model frame f."""
    profile = ChunkProfile(conditioning=mode, num_frames=17, context_frames=5, reference_refresh="hold")
    settings = KeyframeSettings(chunks=profile, speech=SpeechProfile(only=speech is not None), start_s=Fraction(0))
    return make_plan(num_frames, settings, even(150, Fraction(50)), cuts, speech)


def cut_at(index: int, clear: int | None = None) -> Cut:
    return Cut(index=index, time_s=Fraction(index, 50), reference_index=clear or index, kind="fade" if clear else "cut")


def test_i2v_goes_on_from_the_last_generated_frame() -> None:
    first, second, third = modes_plan("i2v", 40).chunks
    assert (first.reference, first.reference_index, first.new_start) == ("source", 0, 0)
    for before, chunk in ((first, second), (second, third)):
        assert chunk.reference == "previous"
        assert chunk.start_frame == before.new_stop - 1 and chunk.new_start == before.new_stop
    assert third.new_stop == 40 and third.num_frames == 17


def test_fl2v_is_pinned_to_the_sources_own_frames_at_both_ends() -> None:
    chunks = modes_plan("fl2v", 40).chunks
    assert [(chunk.start_frame, chunk.new_start, chunk.num_frames) for chunk in chunks] == [
        (0, 0, 17), (17, 17, 17), (34, 34, 17),
    ]  # fmt: skip
    assert [chunk.reference_index for chunk in chunks] == [0, 34, 68]
    assert chunks[0].ending_indices == tuple(range(16, 34, 2))
    assert chunks[2].ending_indices == (78,) * 9, "nothing past the result"
    assert all(chunk.reference == "source" for chunk in chunks)


@pytest.mark.parametrize("mode", ["sparse", "i2v", "fl2v"])
def test_every_scene_and_stretch_begins_anew_in_every_mode(mode: str) -> None:
    speech = SpeechSpans(spans=((0, 8_000), (48_000, 56_000)))  # model frames 0-13 and 75-88
    cuts = (cut_at(60), cut_at(120, clear=130))  # model frames 30 and 60
    plan = modes_plan(mode, 90, cuts)
    for scene in plan.scenes:
        inside = [chunk for chunk in plan.chunks if scene.start_frame <= chunk.new_start < scene.stop_frame]
        assert [chunk.index_in_scene for chunk in inside] == list(range(len(inside)))
        assert inside[0].reference == "source" and inside[0].start_frame == inside[0].new_start == scene.start_frame
        covered = [frame for chunk in inside for frame in range(chunk.new_start, chunk.new_stop)]
        assert covered == list(range(scene.start_frame, scene.stop_frame))
        for index in (index for chunk in inside for index in chunk.ending_indices):
            assert 2 * scene.start_frame <= index < 2 * scene.stop_frame
    assert plan.chunks[-1].reference_index >= 130 or mode == "i2v"
    sparing = modes_plan(mode, 90, cuts, speech)
    assert sparing.num_kept > 0 and sparing.num_generated < plan.num_generated
    starts = {stream.start for stream in sparing.streams}
    assert {chunk.start_frame for chunk in sparing.chunks if chunk.index_in_scene == 0} == starts


def test_scene_that_fades_in_has_no_pinned_frame_in_the_dark() -> None:
    chunks = modes_plan("fl2v", 30, (cut_at(20, clear=40),)).chunks
    assert chunks[1].start_frame == 10 and chunks[1].reference_index == 40
    assert min(chunks[1].ending_indices) >= 36
