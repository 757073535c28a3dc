"""What can be wrong with a job for two people: told before any work, with the documented exit code."""

from __future__ import annotations

import sys
from pathlib import Path

import miniature
import pytest
import synthetic
from synthetic import Clip

from infinitetalk_cli.checkpoints.diarizer import FOLDER_NAME

LEFT, RIGHT = ["--speaker-box", "0,0,30,32"], ["--speaker-box", "34,0,64,32"]


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    return {
        "video": synthetic.make_clip(tmp_path / "source.mp4", Clip(num_frames=13, size=(64, 32))),
        "a": synthetic.make_audio(tmp_path / "a.wav", synthetic.speech(0.4, seed=1)),
        "b": synthetic.make_audio(tmp_path / "b.wav", synthetic.speech(0.4, seed=2)),
        "mute": synthetic.make_clip(tmp_path / "mute.mp4", Clip(num_frames=5)),
    }


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return miniature.write_weights(tmp_path_factory.mktemp("weights"))


@pytest.fixture
def profile(tmp_path: Path) -> Path:
    path = tmp_path / "two.yaml"
    path.write_text("extends: infinitetalk-480p-multi\ngeometry: {area_px: 2048}\ncompute: {dtype: float32}\n")
    return path


REFUSALS: dict[str, tuple[list[str], int, str]] = {
    "three voices": (["--audio", "a", "--audio", "b", "--audio", "a"], 2, "two people can speak at most"),
    "boxes for one voice": (["--audio", "a", *LEFT, *RIGHT], 2, "--speaker-box has no effect with one voice"),
    "turns of one voice": (["--audio", "a", "--turns", "sequence"], 2, "--turns has no effect"),
    "one box": (["--audio", "a", "--audio", "b", *LEFT], 2, "one for each of the 2 people"),
    "three boxes": (["--audio", "a", "--audio", "b", *LEFT, *RIGHT, *LEFT], 2, "one for each of the 2 people"),
    "no numbers": (["--audio", "a", "--audio", "b", "--speaker-box", "left", *RIGHT], 2, "four numbers"),
    "reversed": (["--audio", "a", "--audio", "b", "--speaker-box", "30,0,10,32", *RIGHT], 2, "x0 must be less than x1"),
    "empty": (["--audio", "a", "--audio", "b", "--speaker-box", "30,9,40,9", *RIGHT], 2, "y0 must be less than y1"),
    "negative": (["--audio", "a", "--audio", "b", "--speaker-box", "-3,0,40,9", *RIGHT], 2, "outside of the picture"),
    "too far": (["--audio", "a", "--audio", "b", *LEFT, "--speaker-box", "34,0,65,32"], 4, "person 2 reaches out"),
    "twice the same": (["--audio", "a", "--audio", "b", *LEFT, *LEFT], 4, "the same --speaker-box"),
    "too small": (["--audio", "a", "--audio", "b", *LEFT, "--speaker-box", "35,3,40,12"], 4, "person 2: too small"),
    "no sound": (["--audio", "a", "--audio", "mute"], 4, "mute.mp4: has no audio"),
    "not there": (["--audio", "a", "--audio", "nowhere.wav"], 4, "nowhere.wav"),
    "one clean voice": (["--audio", "a", "--audio", "b", "--speech", "a"], 2, "give it 2 times, or not at all"),
    "two clean voices": (["--audio", "a", "--speech", "a", "--speech", "b"], 2, "give it 1 times, or not at all"),
    "late start": (["--audio", "a", "--audio", "b", "--start", "9"], 4, "before --start"),
    "copied mix": (["--audio", "a", "--audio", "b", "--container", "webm", "--audio-codec", "copy"], 7, "be copied"),
    "diarized twice": (["--audio", "a", "--audio", "b", "--diarize"], 2, "--diarize splits one track"),
    "diarizer alone": (["--audio", "a", "--diarizer", "."], 2, "--diarizer has no effect"),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSALS)
def test_refused_before_the_work(
    what: str, files: dict[str, Path], weights: Path, profile: Path, tmp_path: Path, run_command
) -> None:
    words, exit_code, message = REFUSALS[what]
    options = [files.get(word, word) for word in words]
    outcome = run_command("dub", files["video"], *options, "--profile", profile, "--weights-dir", weights, "--json")
    assert outcome.exit_code == exit_code, outcome.stderr
    said = " ".join(outcome.stderr.replace("│", " ").split())
    assert message in said and "Traceback" not in said
    assert not list((tmp_path / "cache").glob("demux/*"))


@pytest.mark.parametrize("name", ["nano", "infinitetalk-480p"])
def test_a_model_that_knows_one_person(name: str, files: dict[str, Path], weights: Path, run_command) -> None:
    outcome = run_command(
        "dub", files["video"], "--audio", files["a"], "--audio", files["b"], "--profile", name, "--weights-dir", weights
    )
    assert outcome.exit_code == 3, outcome.stderr
    assert f"profile {name} knows one person only" in outcome.stderr and "infinitetalk-480p-multi" in outcome.stderr


def test_without_a_profile_the_weights_for_two_are_wanted(
    files: dict[str, Path], weights: Path, tmp_path: Path, run_command
) -> None:
    voices = ["--audio", files["a"], "--audio", files["b"]]
    missing = run_command("dub", files["video"], *voices, "--weights-dir", tmp_path / "nothing")
    assert missing.exit_code == 5 and "InfiniteTalk-multi" in missing.stderr, missing.stderr
    found = run_command("dub", files["video"], *voices, "--weights-dir", weights, "--dry-run", "--json")
    assert found.exit_code == 0 and found.document["profile"] == "infinitetalk-480p-multi", found.stderr


def test_diarizing_needs_its_extra(
    files: dict[str, Path], weights: Path, profile: Path, run_command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyannote", None)
    outcome = run_command(
        "dub", files["video"], "--audio", files["a"], "--diarize", "--profile", profile, "--weights-dir", weights
    )
    assert outcome.exit_code == 5 and "pip install 'infinitetalk[diarize]'" in outcome.stderr


@pytest.mark.parametrize("has_folder", [False, True])
def test_diarizing_needs_its_weights(
    has_folder: bool, files: dict[str, Path], weights: Path, profile: Path, tmp_path: Path, run_command,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("infinitetalk_cli.pipeline.people.require_diarization", lambda: None)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    named = ["--diarizer", tmp_path] if has_folder else []
    outcome = run_command(
        "dub", files["video"], "--audio", files["a"], "--diarize", *named,
        "--profile", profile, "--weights-dir", weights,
    )  # fmt: skip
    assert outcome.exit_code == 5, outcome.stderr
    assert ("holds no diarization pipeline" if has_folder else "hf download") in outcome.stderr


def test_a_diarized_job_is_planned_with_its_weights(
    files: dict[str, Path], weights: Path, profile: Path, tmp_path: Path, run_command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("infinitetalk_cli.pipeline.people.require_diarization", lambda: None)
    folder = tmp_path / FOLDER_NAME
    (folder / "segmentation").mkdir(parents=True)
    (folder / "config.yaml").write_text("pipeline: {}")
    job = ["dub", files["video"], "--audio", files["a"], "--diarize", "--diarizer", folder, "--json", "--dry-run",
           "--profile", profile, "--weights-dir", weights, *LEFT, *RIGHT]  # fmt: skip
    (folder / "segmentation" / "pytorch_model.bin").write_bytes(b"weights")
    outcome = run_command(*job)
    assert outcome.exit_code == 0, outcome.stderr
    assert [stage["name"] for stage in outcome.document["stages"]][1:4] == ["scenes", "diarization", "audio_embedding"]
