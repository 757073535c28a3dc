"""Killed in the middle, then the same command again: nothing finished is lost, and the result is the same."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import synthetic
from synthetic import Clip

from infinitetalk_cli.cache.files import committed

NUM_CHUNKS = 5
DEADLINE_S = 120


def _dub(folder: Path, profile: Path, cache: str, output: str) -> list[str]:
    return [
        sys.executable, "-m", "infinitetalk_cli", "dub", str(folder / "source.mp4"),
        "--audio", str(folder / "voice.wav"), "--profile", str(profile),
        "--cache-dir", str(folder / cache), "-o", str(folder / output), "--json",
    ]  # fmt: skip


def _started(command: list[str], reached: Callable[[], bool]) -> subprocess.Popen[bytes]:
    """`command` as a process that has just got as far as `reached`."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    deadline = time.monotonic() + DEADLINE_S
    while not reached():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "the run did not get that far"
        time.sleep(0.01)
    return process


def _interrupt(command: list[str], reached: Callable[[], bool], signum: int) -> int:
    """Start `command`, send `signum` once `reached`, and return how it ended."""
    process = _started(command, reached)
    process.send_signal(signum)
    process.communicate(timeout=DEADLINE_S)
    return process.returncode


def _paused(command: list[str], reached: Callable[[], bool]) -> subprocess.Popen[bytes]:
    """`command` as a process that stands still since `reached`; wake it with SIGCONT."""
    process = _started(command, reached)
    process.send_signal(signal.SIGSTOP)
    return process


def _chunks(cache: Path) -> list[Path]:
    return sorted(cache.glob("generate/*/chunks/chunk-*.mkv"))


@pytest.fixture
def job(tmp_path: Path) -> Path:
    synthetic.make_clip(tmp_path / "source.mp4", Clip(num_frames=60))
    synthetic.make_audio(tmp_path / "voice.wav", synthetic.speech(2.5))
    return tmp_path


@pytest.mark.parametrize(
    ("signum", "exit_code"),
    [(signal.SIGKILL, -signal.SIGKILL), (signal.SIGTERM, 143), (signal.SIGINT, 130)],
    ids=["SIGKILL", "SIGTERM", "SIGINT"],
)
def test_killed_while_generating_resumes_to_the_same_result(
    signum: int, exit_code: int, job: Path, small_profile: Path, run_command
) -> None:
    cache = job / "broken"
    command = _dub(job, small_profile, "broken", "broken.mp4")
    assert _interrupt(command, lambda: len(_chunks(cache)) >= 2, signum) == exit_code
    finished = {path.name: path.stat().st_mtime_ns for path in _chunks(cache) if committed(path)}
    assert 1 <= len(finished) < NUM_CHUNKS
    assert not (job / "broken.mp4").exists()

    resumed = run_command(*command[3:])
    assert resumed.exit_code == 0, resumed.stderr
    after = {path.name: path.stat().st_mtime_ns for path in _chunks(cache)}
    assert len(after) == NUM_CHUNKS
    assert {name: after[name] for name in finished} == finished, "a finished chunk was made again"

    unbroken = run_command(*_dub(job, small_profile, "whole", "whole.mp4")[3:])
    assert unbroken.exit_code == 0, unbroken.stderr
    assert (job / "broken.mp4").read_bytes() == (job / "whole.mp4").read_bytes()


def test_killed_before_the_end_of_remux_leaves_no_output(job: Path, small_profile: Path, run_command) -> None:
    cache = job / "broken"
    command = _dub(job, small_profile, "broken", "broken.mp4")
    begun = _interrupt(command, lambda: any(cache.glob("remux/*.partial")), signal.SIGKILL)
    assert begun == -signal.SIGKILL
    assert not (job / "broken.mp4").exists()
    resumed = run_command(*command[3:])
    assert resumed.exit_code == 0
    reused = {stage["name"]: stage["reused"] for stage in resumed.document["stages"]}
    assert reused.pop("remux") is False and all(reused.values())


def test_unfinished_job_keeps_its_profile(job: Path, small_profile: Path, run_command) -> None:
    command = _dub(job, small_profile, "broken", "broken.mp4")
    _interrupt(command, lambda: len(_chunks(job / "broken")) >= 1, signal.SIGKILL)
    without_profile = [word for word in command[3:] if word not in ("--profile", str(small_profile))]
    resumed = run_command(*without_profile)
    assert resumed.exit_code == 0, resumed.stderr
    assert resumed.document["profile"] == "small" and "unfinished job" in resumed.stderr


def test_damaged_chunk_is_noticed_and_made_again(job: Path, small_profile: Path, run_command) -> None:
    command = _dub(job, small_profile, "cache", "a.mp4")[3:]
    assert run_command(*command).exit_code == 0
    victim = _chunks(job / "cache")[2]
    os.truncate(victim, victim.stat().st_size // 2)
    again = run_command(*command, "--quality", "20", "-o", job / "b.mp4")
    assert again.exit_code == 0, again.stderr
    assert not next(stage for stage in again.document["stages"] if stage["name"] == "generate")["reused"]
    assert "damaged" in again.stderr
    whole = run_command(*_dub(job, small_profile, "other", "c.mp4")[3:], "--quality", "20")
    assert whole.exit_code == 0
    assert (job / "b.mp4").read_bytes() == (job / "c.mp4").read_bytes()


def test_second_run_of_a_held_job_says_who_holds_it(job: Path, small_profile: Path, run_command) -> None:
    command = _dub(job, small_profile, "cache", "a.mp4")
    first = _paused(command, lambda: any((job / "cache").glob("generate/*.partial")))
    try:
        refused = run_command(*command[3:], "--no-wait")
        assert refused.exit_code == 9 and str(first.pid) in refused.stderr
    finally:
        first.send_signal(signal.SIGCONT)
    assert first.wait(timeout=DEADLINE_S) == 0
    assert run_command(*command[3:]).document["status"] == "already done"


def test_source_that_changes_during_the_run_is_not_cached(job: Path, small_profile: Path, run_command) -> None:
    command = _dub(job, small_profile, "cache", "a.mp4")
    process = _paused(command, lambda: len(_chunks(job / "cache")) >= 1)
    original = (job / "source.mp4").read_bytes()
    synthetic.make_clip(job / "source.mp4", Clip(num_frames=60, first_number=900))
    process.send_signal(signal.SIGCONT)
    _, errors = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 4 and b"changed while the job ran" in errors
    (job / "source.mp4").write_bytes(original)
    assert run_command(*command[3:]).exit_code == 0
    assert run_command(*_dub(job, small_profile, "whole", "whole.mp4")[3:]).exit_code == 0
    assert (job / "a.mp4").read_bytes() == (job / "whole.mp4").read_bytes()


def test_file_that_appears_at_the_output_is_not_overwritten(job: Path, small_profile: Path, run_command) -> None:
    command = _dub(job, small_profile, "cache", "a.mp4")
    process = _paused(command, lambda: len(_chunks(job / "cache")) >= 1)
    (job / "a.mp4").write_text("somebody's work")
    process.send_signal(signal.SIGCONT)
    assert process.wait(timeout=DEADLINE_S) == 7
    assert (job / "a.mp4").read_text() == "somebody's work"
    moved = run_command(*command[3:], "-o", job / "b.mp4")
    assert all(stage["reused"] for stage in moved.document["stages"])
