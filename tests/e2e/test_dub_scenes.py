"""Cuts and pauses through the whole command: fresh streams, kept pictures, and what the plan says of them."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import synthetic
from footage import Shot, join, write_film

RATE = Fraction(30000, 1001)


def mean_step(one: np.ndarray, other: np.ndarray) -> float:
    """How much two pictures differ, in levels of 0-255."""
    return float(np.abs(one.astype(np.float32) - other).mean())


@pytest.fixture(scope="module")
def three_scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Scenes that begin with source frames 0, 30 and 45 of a film at 29.97: model frames 0, 26 and 38."""
    film = join([Shot(1, 1.0), Shot(2, 0.5), Shot(3, 1.2)], RATE)
    assert film.cuts == [30, 45]
    return write_film(tmp_path_factory.mktemp("film") / "three.mp4", film, RATE)


@pytest.fixture
def job(three_scenes: Path, tmp_path: Path, small_profile: Path) -> list[object]:
    voice = synthetic.make_audio(tmp_path / "voice.wav", synthetic.speech(2.4))
    return ["dub", three_scenes, "--audio", voice, "--profile", small_profile, "-o", tmp_path / "out.mkv", "--json"]


def frames_of(path: Path) -> list[np.ndarray]:
    return synthetic.read_all_frames(path)


def test_result_is_cut_where_the_source_is(job: list[object], three_scenes: Path, tmp_path: Path, run_command) -> None:
    outcome = run_command(*job)
    assert outcome.exit_code == 0, outcome.stderr
    frames, source = frames_of(tmp_path / "out.mkv"), frames_of(three_scenes)
    shown = [source[min(int(index / Fraction(25) * RATE), len(source) - 1)] for index in range(len(frames))]
    assert len(frames) == 60
    for cut in (26, 38):
        assert mean_step(frames[cut - 1], shown[cut - 1]) < 0.5 * mean_step(frames[cut - 1], shown[cut])
        assert mean_step(frames[cut], shown[cut]) < 0.5 * mean_step(frames[cut], shown[cut - 1])


def test_without_scenes_the_first_picture_goes_on(
    job: list[object], three_scenes: Path, tmp_path: Path, run_command
) -> None:
    assert run_command(*job, "--scenes", "off").exit_code == 0
    frames, source = frames_of(tmp_path / "out.mkv"), frames_of(three_scenes)
    assert mean_step(frames[50], source[29]) < mean_step(frames[50], source[60])


def test_a_scene_depends_on_no_other(job: list[object], three_scenes: Path, tmp_path: Path, run_command) -> None:
    """The last scene is the same, to the bit, wherever the one before it began."""
    chunks = []
    for name, times in (("early.txt", "0.5\n1.501\n"), ("late.txt", "1.0\n1.501\n")):
        (tmp_path / name).write_text(times)
        outcome = run_command(*job, "--scenes", tmp_path / name, "-o", tmp_path / f"{name}.mkv", "--seed", "1")
        assert outcome.exit_code == 0, outcome.stderr
        (generated,) = [s["fingerprint"] for s in outcome.document["stages"] if s["name"] == "generate"]
        (found,) = [path for path in (tmp_path / "cache").rglob("chunks") if generated[:16] in str(path)]
        chunks.append(sorted(found.glob("*.mkv"))[-1])
    one, other = (np.stack(frames_of(path)) for path in chunks)
    assert np.array_equal(one, other)


def test_plan_shows_scenes(job: list[object], run_command) -> None:
    plan = run_command(*job, "--dry-run").document
    assert [(scene["start_s"], scene["begins"], scene["num_chunks"]) for scene in plan["scenes"]] == [
        (0.0, "start", 2), (1.04, "cut", 1), (1.52, "cut", 2),
    ]  # fmt: skip
    assert plan["num_chunks"] == 5
    text = run_command(*[word for word in job if word != "--json"], "--dry-run").stdout
    assert "scenes: 3, new ones at 0:01.0, 0:01.5; chunks in each: 2, 1, 2" in text


def test_content_of_a_list_decides_what_is_made_again(job: list[object], tmp_path: Path, run_command) -> None:
    cuts = tmp_path / "cuts.txt"
    cuts.write_text("1.0\n")
    first = run_command(*job, "--scenes", cuts, "--dry-run").document
    assert [scene["begins"] for scene in first["scenes"]] == ["start", "listed"]
    assert run_command(*job, "--scenes", cuts).document["status"] == "done"
    assert run_command(*job, "--scenes", cuts).document["status"] == "already done"
    cuts.write_text("1.5\n")
    again = run_command(*job, "--scenes", cuts)
    redone = [stage["name"] for stage in again.document["stages"] if not stage["reused"]]
    assert redone == ["scenes", "keyframes", "generate", "inspect", "remux"]


@pytest.mark.parametrize(
    ("text", "message"), [("1\nsoon\n", "cuts.txt:2: 'soon' is not a time"), (None, "cuts.txt: cannot be read")]
)
def test_list_that_cannot_be_used(
    text: str | None, message: str, job: list[object], tmp_path: Path, run_command
) -> None:
    if text is not None:
        (tmp_path / "cuts.txt").write_text(text)
    outcome = run_command(*job, "--scenes", tmp_path / "cuts.txt")
    assert outcome.exit_code == 4 and message in outcome.stderr and "Traceback" not in outcome.stderr


# Only speech


@pytest.fixture(scope="module")
def spoken_voice(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Speech from about 0 to 1.3 s and from about 5 to 6.3 s, silence between."""
    pytest.importorskip("espeakng_loader", reason="speech synthesis needs the extra infinitetalk[train]")
    from infinitetalk_cli.world.speech import random_speech

    spoken = random_speech(3, 1.3, held_out=False).waveform
    samples = np.zeros((round(6.6 * 16_000), 1), np.float32)
    for start_s in (0.0, 5.0):
        start = round(start_s * 16_000)
        samples[start : start + len(spoken), 0] = spoken[: len(samples) - start]
    return synthetic.make_audio(tmp_path_factory.mktemp("voice") / "voice.wav", samples, 16_000)


@pytest.fixture(scope="module")
def portrait(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("portrait") / "portrait.mp4"
    return write_film(path, join([Shot(4, 7.0, motion=0.03)], Fraction(25)), Fraction(25))


def test_pauses_keep_the_source_and_are_entered_without_a_jump(
    spoken_voice: Path, portrait: Path, small_profile: Path, tmp_path: Path, run_command
) -> None:
    words = ["dub", portrait, "--audio", spoken_voice, "--profile", small_profile, "-o", tmp_path / "out.mkv"]
    outcome = run_command(*words, "--only-speech", "--json", "--quality", "4")
    assert outcome.exit_code == 0, outcome.stderr
    frames, source = frames_of(tmp_path / "out.mkv"), frames_of(portrait)
    apart = np.array([mean_step(frame, shown) for frame, shown in zip(frames, source, strict=False)])
    kept = np.flatnonzero(apart < 1.5)  # the result is encoded once more
    longest = max(np.split(kept, np.flatnonzero(np.diff(kept) > 1) + 1), key=len)
    assert len(longest) > 50 and 25 < longest[0] < 60 and 100 < longest[-1] < 130
    steps = np.array([mean_step(one, other) for one, other in pairwise(frames)])
    edges = [*range(longest[0] - 10, longest[0] + 2), *range(longest[-1] - 2, longest[-1] + 10)]
    assert steps[edges].max() < 2.5 * np.median(steps) + 1.0


def test_plan_shows_what_is_saved(spoken_voice: Path, portrait: Path, small_profile: Path, run_command) -> None:
    words = ["dub", portrait, "--audio", spoken_voice, "--profile", small_profile, "--dry-run"]
    plan = run_command(*words, "--only-speech", "--json").document
    everything = run_command(*words, "--json").document
    assert 50 < plan["num_kept_frames"] < 110
    assert 0 < plan["share_saved"] == round(1 - plan["num_chunks"] / everything["num_chunks"], 4)
    assert "% of the work" in run_command(*words, "--only-speech").stdout


def test_silence_keeps_everything(portrait: Path, small_profile: Path, tmp_path: Path, run_command) -> None:
    voice = synthetic.make_audio(tmp_path / "voice.wav", synthetic.silence(2.0))
    words = ["dub", portrait, "--audio", voice, "--profile", small_profile, "-o", tmp_path / "out.mkv"]
    outcome = run_command(*words, "--only-speech", "--fps", "source", "--quality", "4")
    assert outcome.exit_code == 0, outcome.stderr
    frames, source = frames_of(tmp_path / "out.mkv"), frames_of(portrait)
    assert len(frames) == 50
    assert max(mean_step(frame, shown) for frame, shown in zip(frames, source, strict=False)) < 1.5
