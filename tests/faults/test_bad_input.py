"""What can be wrong with a command: one clear sentence, the documented exit code, no traceback, nothing lost."""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import synthetic
from synthetic import Clip, ClipAudio


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return synthetic.make_clip(tmp_path / "source.mp4", Clip(num_frames=30))


@pytest.fixture
def voice(tmp_path: Path) -> Path:
    return synthetic.make_audio(tmp_path / "voice.wav", synthetic.speech(1.0))


def assert_clean(outcome, exit_code: int, *words: str) -> None:
    assert outcome.exit_code == exit_code, outcome.stderr
    assert "Traceback" not in outcome.stderr
    for word in words:
        assert word in outcome.stderr, outcome.stderr


def _text_file(folder: Path) -> Path:
    path = folder / "notes.mp4"
    path.write_text("this is not a video\n" * 50)
    return path


def _truncated(folder: Path) -> Path:
    options = {"movflags": "faststart"}
    whole = synthetic.make_clip(folder / "whole.mp4", Clip(num_frames=100, size=(320, 240), container_options=options))
    return synthetic.truncate(whole, 0.5, folder / "cut.mp4")


BAD_VIDEOS: dict[str, tuple[Callable[[Path], Path], str]] = {
    "missing": (lambda folder: folder / "nowhere.mp4", "no such file"),
    "folder": (lambda folder: folder, "not a file"),
    "text": (_text_file, "not"),
    "sound_only": (lambda folder: synthetic.make_audio(folder / "a.wav", synthetic.tone()), "no video stream"),
    "truncated": (_truncated, "cut"),
}


@pytest.mark.parametrize("kind", BAD_VIDEOS)
def test_unfit_video(kind: str, tmp_path: Path, voice: Path, run_command) -> None:
    make, words = BAD_VIDEOS[kind]
    video = make(tmp_path)
    assert_clean(run_command("dub", video, "--audio", voice, "-o", tmp_path / "o.mp4"), 4, video.name, words)


def test_audio_without_samples(tmp_path: Path, source: Path, run_command) -> None:
    empty = synthetic.make_audio(tmp_path / "empty.wav", synthetic.silence(0.0))
    assert_clean(run_command("dub", source, "--audio", empty), 4, "empty.wav")


def test_video_without_sound_as_audio(source: Path, run_command) -> None:
    assert_clean(run_command("dub", source, "--audio", source), 4, "no audio")


def test_silent_audio_is_dubbed_with_one_warning(
    tmp_path: Path, source: Path, run_command, small_profile: Path
) -> None:
    quiet = synthetic.make_audio(tmp_path / "quiet.wav", synthetic.silence(0.5))
    outcome = run_command("dub", source, "--audio", quiet, "--profile", small_profile)
    assert_clean(outcome, 0, "silent")
    assert outcome.stderr.count("silent") == 1


@pytest.mark.parametrize("seconds", [0.02, 0.3])
def test_audio_shorter_than_a_chunk(
    seconds: float, tmp_path: Path, source: Path, run_command, small_profile: Path
) -> None:
    short = synthetic.make_audio(tmp_path / "short.wav", synthetic.speech(seconds))
    outcome = run_command("dub", source, "--audio", short, "--profile", small_profile, "--json")
    assert_clean(outcome, 0)
    assert outcome.document["duration_s"] == pytest.approx(seconds)


def test_start_past_the_end(source: Path, voice: Path, run_command) -> None:
    assert_clean(run_command("dub", source, "--audio", voice, "--start", "1:00"), 4, "voice.wav")


@pytest.mark.parametrize(("start", "end"), [("two", "3"), ("2", "1"), ("-1", "2")])
def test_times_that_make_no_sense(start: str, end: str, source: Path, voice: Path, run_command) -> None:
    assert run_command("dub", source, "--audio", voice, "--start", start, "--end", end).exit_code == 2


def test_output_that_is_the_input(source: Path, voice: Path, run_command) -> None:
    before = source.read_bytes()
    assert_clean(run_command("dub", source, "--audio", voice, "-o", source, "--force"), 7, "input")
    assert source.read_bytes() == before


def test_output_that_cannot_be_written(source: Path, voice: Path, tmp_path: Path, run_command) -> None:
    (tmp_path / "file").write_text("in the way")
    assert_clean(run_command("dub", source, "--audio", voice, "-o", tmp_path / "file" / "o.mp4"), 7, "o.mp4")


def test_container_that_is_not_known(source: Path, voice: Path, tmp_path: Path, run_command) -> None:
    assert_clean(run_command("dub", source, "--audio", voice, "-o", tmp_path / "o.xyz"), 7, ".mp4", ".mkv")


def test_unknown_profile_suggests(source: Path, voice: Path, run_command) -> None:
    assert_clean(run_command("dub", source, "--audio", voice, "--profile", "nanno"), 3, "did you mean 'nano'")


def test_wrong_key_in_profile_names_its_place(source: Path, voice: Path, tmp_path: Path, run_command) -> None:
    profile = tmp_path / "mine.yaml"
    profile.write_text("extends: nano\nsampling:\n  num_step: 4\n")
    outcome = run_command("dub", source, "--audio", voice, "--profile", profile)
    assert_clean(outcome, 3, "mine.yaml:3: sampling.num_step", "did you mean 'num_steps'")


def test_wrong_usage_is_a_document_too_with_json(source: Path, voice: Path, run_command) -> None:
    outcome = run_command("dub", source, "--audio", voice, "--end", "x", "--json")
    assert outcome.exit_code == 2 and outcome.document["exit_code"] == 2


@pytest.mark.parametrize("option", [["--quality", "64"], ["--encoder-preset", "bogus"]])
def test_bad_output_settings_are_told_before_the_work(
    option: list[str], source: Path, voice: Path, tmp_path: Path, run_command
) -> None:
    outcome = run_command("dub", source, "--audio", voice, *option)
    assert_clean(outcome, 7, option[0].removeprefix("--").split("-")[-1])
    assert not (tmp_path / "cache" / "demux").exists()


def test_unusable_cache_folder(tmp_path: Path, source: Path, voice: Path, run_command) -> None:
    (tmp_path / "file").write_text("in the way")
    assert_clean(run_command("dub", source, "--audio", voice, "--cache-dir", tmp_path / "file"), 7, "file")


def test_wrong_option_value_names_the_option(source: Path, voice: Path, run_command) -> None:
    assert_clean(run_command("dub", source, "--audio", voice, "--steps", "0"), 3, "--steps")


def test_missing_weights_name_the_commands(source: Path, voice: Path, run_command) -> None:
    outcome = run_command("dub", source, "--audio", voice, "--profile", "infinitetalk-480p")
    assert_clean(outcome, 5, "Wan2.1-I2V-14B-480P", "--profile nano")


def test_missing_device(source: Path, voice: Path, run_command, small_profile: Path) -> None:
    outcome = run_command("dub", source, "--audio", voice, "--profile", small_profile, "--device", "cuda:7")
    assert_clean(outcome, 5, "cuda:7")


def test_option_without_effect_is_refused(source: Path, voice: Path, run_command) -> None:
    assert run_command("dub", source, "--audio", voice, "--camera-lock-strength", "0.5").exit_code == 2


def test_error_is_a_document_too_with_json(source: Path, run_command) -> None:
    outcome = run_command("dub", source, "--audio", "nowhere.wav", "--json")
    assert outcome.document["status"] == "error" and outcome.document["exit_code"] == outcome.exit_code == 4


@pytest.mark.parametrize("name", ["with space.mp4", "quo'te\"s.mp4", "-dash.mp4", "видео 影片.mp4", "100%03d:x.mp4"])
def test_any_file_name_works(
    name: str, tmp_path: Path, voice: Path, run_command, small_profile: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    synthetic.make_clip(tmp_path / name, Clip(num_frames=13, audio=(ClipAudio(synthetic.tone(0.5)),)))
    outcome = run_command("dub", "--profile", small_profile, "--json", "--audio", voice, "--end", "0.4", "--", name)
    assert_clean(outcome, 0)
    assert (tmp_path / f"{Path(name).stem}.dubbed.mp4").exists()


def test_disk_full_is_resumable(tmp_path: Path, source: Path, voice: Path, run_command, small_profile: Path) -> None:
    """The process may not write files beyond a size that the chunks fit into and the remuxed result does not."""
    command = [
        "dub",
        source,
        "--audio",
        voice,
        "--profile",
        small_profile,
        "--codec",
        "ffv1",
        "--cache-dir",
        tmp_path / "c",
    ]
    limited = subprocess.run(
        [sys.executable, "-m", "infinitetalk_cli", *map(str, command), "-o", str(tmp_path / "o.mkv")],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (150_000, 150_000)),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert limited.returncode == 6, limited.stderr
    assert "no space left" in limited.stderr and "Traceback" not in limited.stderr
    assert not (tmp_path / "o.mkv").exists()
    resumed = run_command(*command, "-o", tmp_path / "o.mkv", "--json")
    assert_clean(resumed, 0)
    assert resumed.document["stages"][0]["reused"]
