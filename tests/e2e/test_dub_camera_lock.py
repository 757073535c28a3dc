"""Automatic camera lock and the conditioning modes through the whole command: the plan, the pixels, and a resume."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import synthetic
from footage import Shot, join, write_film

from infinitetalk_cli.cache.files import commit_file

RATE = Fraction(25)


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A still camera, one that shakes, one that zooms; 1 s each, rooms with some detail."""
    shots = [Shot(1, 1.0, detail=16), Shot(2, 1.0, detail=16, shake=0.01), Shot(3, 1.0, detail=16, zoom=1.2)]
    return write_film(tmp_path_factory.mktemp("film") / "cameras.mp4", join(shots, RATE), RATE)


@pytest.fixture
def job(film: Path, tmp_path: Path, small_profile: Path) -> list[object]:
    voice = synthetic.make_audio(tmp_path / "voice.wav", synthetic.speech(3.0))
    return ["dub", film, "--audio", voice, "--profile", small_profile, "-o", tmp_path / "out.mkv", "--json"]


def chunks(cache: Path, outcome) -> list[np.ndarray]:
    """The new frames of each chunk of this run."""
    assert outcome.exit_code == 0, outcome.stderr
    (digest,) = [stage["fingerprint"] for stage in outcome.document["stages"] if stage["name"] == "generate"]
    (folder,) = [path for path in cache.rglob("chunks") if digest.startswith(path.parent.name)]
    return [np.stack(synthetic.read_all_frames(path)) for path in sorted(folder.glob("*.mkv"))]


def test_plan_says_which_scenes_are_locked_and_why(job: list[object], run_command) -> None:
    plan = run_command(*job, "--camera-lock", "auto", "--dry-run").document
    cameras = [scene["camera"] for scene in plan["scenes"]]
    assert [camera["locked"] for camera in cameras] == [False, True, True]
    assert [camera["kind"] for camera in cameras[1:]] == ["shake", "zoom"]
    width, height = plan["width"], plan["height"]
    assert {camera["threshold_px_s"] for camera in cameras} == {round(0.0075 * (width * height) ** 0.5, 2)}
    text = run_command(*[word for word in job if word != "--json"], "--camera-lock", "auto", "--dry-run").stdout
    assert "camera lock: 2 of 3 scenes" in text and "0:01.0 locked: shake" in text and "0:00.0 free: " in text
    assert [scene["camera"] for scene in run_command(*job, "--dry-run").document["scenes"]] == [None] * 3


def test_auto_locks_exactly_those_scenes(job: list[object], tmp_path: Path, run_command) -> None:
    cache = tmp_path / "cache"
    strength = ["--camera-lock-strength", "0.6"]
    free = chunks(cache, run_command(*job))
    on = chunks(cache, run_command(*job, "--camera-lock", "on", *strength))
    outcome = run_command(*job, "--camera-lock", "auto", *strength)
    redone = [stage["name"] for stage in outcome.document["stages"] if not stage["reused"]]
    assert redone[:3] == ["camera_motion", "keyframes", "generate"]
    auto = chunks(cache, outcome)
    third = len(auto) // 3
    assert len(auto) == len(free) == len(on) == 3 * third
    for index in range(len(auto)):
        expected = free if index < third else on
        assert np.array_equal(auto[index], expected[index]), index
        assert not np.array_equal(free[index], on[index])


@pytest.mark.parametrize(
    "options",
    [
        ["--conditioning", "i2v"],
        ["--conditioning", "fl2v", "--camera-lock", "on"],
        ["--camera-lock", "auto", "--camera-lock-strength", "0.5"],
    ],
    ids=["i2v", "fl2v locked", "auto lock"],
)
def test_every_mode_goes_on_where_it_stopped(
    options: list[str], job: list[object], tmp_path: Path, run_command, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = chunks(tmp_path / "cache", run_command(*job, *options))
    committed: list[Path] = []

    def stops_at_the_fourth(temporary: Path, final: Path) -> None:
        if final.suffix == ".mkv" and final.parent.name == "chunks":
            if len(committed) == 3:
                raise KeyboardInterrupt
            committed.append(final)
        commit_file(temporary, final)

    again = [*job, *options, "--cache-dir", tmp_path / "broken", "-o", tmp_path / "again.mkv"]
    with monkeypatch.context() as patch:
        patch.setattr("infinitetalk_cli.stages.generate.commit_file", stops_at_the_fourth)
        assert run_command(*again).exit_code == 130
    outcome = run_command(*again)
    assert [stage["name"] for stage in outcome.document["stages"] if stage["resumed"]] == ["generate"]
    resumed = chunks(tmp_path / "broken", outcome)
    assert sum(map(len, whole)) == 75 and len(whole) > 4
    assert all(np.array_equal(one, other) for one, other in zip(whole, resumed, strict=True))
    assert (tmp_path / "again.mkv").read_bytes() == (tmp_path / "out.mkv").read_bytes()


def test_modes_differ_and_leave_the_sound_alone(job: list[object], tmp_path: Path, run_command) -> None:
    sparse = chunks(tmp_path / "cache", run_command(*job))
    outcome = run_command(*job, "--conditioning", "i2v")
    redone = [stage["name"] for stage in outcome.document["stages"] if not stage["reused"]]
    assert "keyframes" in redone and "generate" in redone and "audio_embedding" not in redone
    i2v = chunks(tmp_path / "cache", outcome)
    assert np.array_equal(sparse[0], i2v[0]), "the first chunk of a scene is the same"
    assert [len(chunk) for chunk in i2v[:2]] == [17, 8] and [len(chunk) for chunk in sparse[:2]] == [17, 8]
    assert not np.array_equal(sparse[1], i2v[1])


def test_pinned_frames_are_the_sources_own(job: list[object], film: Path, tmp_path: Path, run_command) -> None:
    """Both ends of a scene's first chunk show the source's frames there; a free end has moved on."""
    from infinitetalk_cli.models.geometry import resize_frame

    source = synthetic.read_all_frames(film)
    errors = {}
    for mode in ("sparse", "fl2v"):
        # The second scene shakes, so that a free chunk strays from the source.
        made = chunks(tmp_path / "cache", run_command(*job, "--conditioning", mode))
        frames = np.concatenate(made)[25:42]
        shown = [resize_frame(np.asarray(source[25 + k]), frames.shape[1:3]) for k in (0, 16)]
        errors[mode] = [float(np.abs(frames[k].astype(float) - s).mean()) for k, s in zip((0, 16), shown, strict=True)]
    assert errors["fl2v"][0] < 1.1 * errors["sparse"][0]
    assert errors["fl2v"][1] < 0.75 * errors["sparse"][1]
