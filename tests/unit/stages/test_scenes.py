"""Scenes of real files: found or listed, and the very model frame with which each begins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from footage import Film, Shot, join, write_film

from infinitetalk_cli.config.profile import ChunkProfile, SpeechProfile
from infinitetalk_cli.errors import InputError
from infinitetalk_cli.media.probe import probe
from infinitetalk_cli.media.scan import scan_timeline
from infinitetalk_cli.media.timeline import SourceTimeline
from infinitetalk_cli.progress import SilentProgress
from infinitetalk_cli.stages.keyframes import ChunkPlan, KeyframeSettings, make_plan
from infinitetalk_cli.stages.scenes import Cut, SceneSettings, find_scenes, nearest_frame, read_scenes
from infinitetalk_cli.stages.speech_spans import SpeechSpans
from infinitetalk_cli.stages.stage import StageContext

FILM_RATE, TELEVISION_RATE = Fraction(24000, 1001), Fraction(30000, 1001)


class Notes(SilentProgress):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


def scenes_of(
    tmp_path: Path, source: Path, start_s: float = 0, end_s: float | None = None, listed: str | None = None
) -> tuple[Cut, ...]:
    info = probe(source)
    (tmp_path / "media.json").write_text(info.model_dump_json())
    scan_timeline(source, info).save(tmp_path / "timeline.npz")
    inputs = {"source_video": source, "media": tmp_path / "media.json", "timeline": tmp_path / "timeline.npz"}
    if listed is not None:
        inputs["scene_list"] = tmp_path / "cuts.txt"
        inputs["scene_list"].write_text(listed)
    settings = SceneSettings(start_s=Fraction(start_s), end_s=None if end_s is None else Fraction(end_s))
    find_scenes(inputs, settings, tmp_path, StageContext(Notes(), models=None, check_inputs=lambda: None))
    return read_scenes(tmp_path / "scenes.json").cuts


def plan(
    timeline: SourceTimeline, cuts: Sequence[Cut], num_frames: int, start_s: str = "0", **chunks: object
) -> ChunkPlan:
    settings = KeyframeSettings(chunks=ChunkProfile(**chunks), start_s=Fraction(start_s))
    return make_plan(num_frames, settings, timeline, cuts)


def uneven(film: Film) -> Film:
    """The frames of `film` at uneven times."""
    random = np.random.default_rng(0)
    times = np.cumsum(random.integers(15, 70, len(film.frames)))
    return replace(film, times_s=[Fraction(int(time), 1000) for time in times - times[0]])


@pytest.mark.parametrize("rate", [FILM_RATE, Fraction(25), TELEVISION_RATE, Fraction(50), None])
def test_scene_begins_with_the_first_model_frame_that_shows_it(rate: Fraction | None, tmp_path: Path) -> None:
    film = join([Shot(1, 1.1), Shot(2, 0.7, brightness=0.5), Shot(3, 1.2)], rate or Fraction(25))
    if rate is None:
        film = uneven(film)
    source = write_film(tmp_path / "film.mkv", film, rate or Fraction(25))
    cuts = scenes_of(tmp_path, source)
    assert [cut.index for cut in cuts] == film.cuts
    timeline = SourceTimeline.load(tmp_path / "timeline.npz")
    num_frames = int(timeline.duration_s * 25)
    shown = [timeline.frame_index_at(Fraction(frame, 25)) for frame in range(num_frames)]
    expected = [next(frame for frame in range(num_frames) if shown[frame] >= cut) for cut in film.cuts]
    scenes = plan(timeline, cuts, num_frames).scenes
    assert [scene.start_frame for scene in scenes] == [0, *expected]


@pytest.fixture
def three_scenes(tmp_path: Path) -> tuple[SourceTimeline, tuple[Cut, ...]]:
    """Scenes that begin with the frames 0, 100 and 130 of a film of 400 at 25 fps."""
    timeline = SourceTimeline(np.arange(400), 400, Fraction(1, 25), np.ones(400, bool))
    cuts = tuple(Cut(index=i, time_s=Fraction(i, 25), reference_index=i, kind="cut") for i in (100, 130))
    return timeline, cuts


def test_no_chunk_crosses_a_cut(three_scenes: tuple[SourceTimeline, tuple[Cut, ...]]) -> None:
    chunks = plan(*three_scenes, num_frames=400).chunks
    assert [(c.scene, c.index_in_scene, c.start_frame, c.new_start, c.new_stop) for c in chunks] == [
        (0, 0, 0, 0, 81), (0, 1, 72, 81, 100), (1, 0, 100, 100, 130),
        (2, 0, 130, 130, 211), (2, 1, 202, 211, 283), (2, 2, 274, 283, 355), (2, 3, 346, 355, 400),
    ]  # fmt: skip
    assert [chunk.reference_index for chunk in chunks] == [0, 72, 100, 130, 202, 274, 346]


def test_short_scenes_may_have_short_chunks(three_scenes: tuple[SourceTimeline, tuple[Cut, ...]]) -> None:
    found = plan(*three_scenes, num_frames=400, last_chunk="fit")
    assert [chunk.num_frames for chunk in found.chunks] == [81, 29, 33, 81, 81, 81, 57]
    assert found.num_generated == sum([81, 29, 33, 81, 81, 81, 57])


def test_held_reference_is_that_of_the_scene(three_scenes: tuple[SourceTimeline, tuple[Cut, ...]]) -> None:
    chunks = plan(*three_scenes, num_frames=400, reference_refresh="hold").chunks
    assert [chunk.reference_index for chunk in chunks] == [0, 0, 100, 130, 130, 130, 130]


def test_cuts_outside_a_preview_do_not_count(three_scenes: tuple[SourceTimeline, tuple[Cut, ...]]) -> None:
    found = plan(*three_scenes, num_frames=10, start_s="4.6")
    assert [(scene.start_frame, scene.stop_frame) for scene in found.scenes] == [(0, 10)]
    found = plan(*three_scenes, num_frames=50, start_s="4.6")
    assert [(scene.start_frame, scene.stop_frame) for scene in found.scenes] == [(0, 15), (15, 50)]
    assert [chunk.reference_index for chunk in found.chunks] == [115, 130]


def test_what_follows_the_end_of_the_source_is_the_last_scene(
    three_scenes: tuple[SourceTimeline, tuple[Cut, ...]],
) -> None:
    found = plan(*three_scenes, num_frames=700)
    assert [scene.start_frame for scene in found.scenes] == [0, 100, 130]
    assert found.chunks[-1].reference_index == 399


def test_reference_of_a_fade_is_the_first_clear_frame(three_scenes: tuple[SourceTimeline, tuple[Cut, ...]]) -> None:
    timeline, (first, second) = three_scenes
    faded = first.model_copy(update={"reference_index": 112, "kind": "fade"})
    chunks = plan(timeline, (faded, second), num_frames=200).chunks
    assert [chunk.reference_index for chunk in chunks] == [0, 72, 112, 130]
    too_short = first.model_copy(update={"reference_index": 140, "kind": "fade"})
    assert plan(timeline, (too_short, second), num_frames=200).chunks[2].reference_index == 129


def test_scenes_shorter_than_a_model_frame_vanish() -> None:
    timeline = SourceTimeline(np.arange(400), 400, Fraction(1, 100), np.ones(400, bool))
    cuts = tuple(
        Cut(index=i, time_s=Fraction(i, 100), reference_index=i, kind="listed") for i in (101, 102, 103, 104, 105)
    )
    found = plan(timeline, cuts, num_frames=100)
    assert [scene.start_frame for scene in found.scenes] == [0, 26, 27]
    assert [chunk.reference_index for chunk in found.chunks[1:]] == [104, 108]


def test_speech_makes_streams_of_their_own(three_scenes: tuple[SourceTimeline, tuple[Cut, ...]]) -> None:
    timeline, cuts = three_scenes
    settings = KeyframeSettings(
        chunks=ChunkProfile(), speech=SpeechProfile(only=True, margin_s=0.4, min_gap_s=2.0), start_s=Fraction(0)
    )
    speech = SpeechSpans(spans=((200 * 640 + 1, 220 * 640), (300 * 640, 310 * 640 + 1)))
    found = make_plan(400, settings, timeline, cuts, speech)
    assert [(s.scene, s.start, s.stop, s.blends_in, s.blends_out) for s in found.streams] == [
        (2, 190, 230, True, True), (2, 290, 321, True, True),
    ]  # fmt: skip
    assert [(c.scene, c.new_start, c.new_stop, c.reference_index) for c in found.chunks] == [
        (0, 190, 230, 190), (1, 290, 321, 290),
    ]  # fmt: skip
    assert found.num_kept == 400 - 40 - 31
    assert [found.chunks_in(scene) for scene in found.scenes] == [0, 0, 2]


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    return write_film(path, join([Shot(1, 4.0), Shot(2, 5.0)], Fraction(25)), Fraction(25))


def test_preview_is_searched_alone(film: Path, tmp_path: Path) -> None:
    assert [cut.index for cut in scenes_of(tmp_path, film, start_s=3, end_s=5)] == [100]
    assert scenes_of(tmp_path, film, start_s=7, end_s=8) == ()


def test_listed_times_mean_the_nearest_frame(film: Path, tmp_path: Path) -> None:
    listed = "# a comment\n0\n\n0:01.23  # by hand\n3.99\n 4 \n30\n"
    assert [(cut.index, cut.kind) for cut in scenes_of(tmp_path, film, listed=listed)] == [
        (31, "listed"), (100, "listed"),
    ]  # fmt: skip


@pytest.mark.parametrize("rate", [FILM_RATE, TELEVISION_RATE])
def test_times_rounded_to_two_digits_name_their_frame(rate: Fraction) -> None:
    timeline = SourceTimeline(np.arange(2000), 2000, 1 / rate, np.ones(2000, bool))
    for index in range(0, 2000, 7):
        assert nearest_frame(timeline, Fraction(f"{float(index / rate):.2f}")) == index


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1\nhello\n", "cuts.txt:2: 'hello' is not a time"),
        ("2\n\n1.5\n", "cuts.txt:3: 1.5 is not later"),
        ("-1\n", "cuts.txt:1: '-1' is not a time"),
    ],
)
def test_mistakes_in_a_list_are_named_by_line(text: str, message: str, film: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        scenes_of(tmp_path, film, listed=text)
