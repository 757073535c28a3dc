"""Killed in the middle of a chunk: the chunk goes on with its next step, and the result is the same.

All of them: `pytest tests/faults/test_snapshot_resume.py -m "slow or not slow"`.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import synthetic
from synthetic import Clip

NUM_STEPS = 5
DRIVER = """
import os, signal, sys
from infinitetalk_cli.stages import snapshots

snapshots.INTERVAL_S, snapshots.PATIENCE = 0.0, 0
chunk, step, when, signum = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], int(sys.argv[4])
offer, sync = snapshots.ChunkSnapshots.offer, snapshots.sync_file

def offer_and_die(self, key, state):
    is_the_one = self._owner["chunk"] == str(chunk) and state.num_done == step
    if is_the_one and when == "while it is written":
        snapshots.sync_file = lambda path: os.kill(os.getpid(), signum)
    offer(self, key, state)
    if is_the_one:
        os.kill(os.getpid(), signum)

snapshots.ChunkSnapshots.offer = offer_and_die
sys.argv[1:] = sys.argv[5:]
from infinitetalk_cli.cli.app import main
main()
"""
"""The command with a snapshot after every step, which kills itself once it has, or has half, taken a certain one."""


@pytest.fixture
def profile(small_profile: Path) -> Path:
    """More steps, and guidance with buffers of its own."""
    text = small_profile.read_text().replace(
        "sampling: {num_steps: 2, audio_guidance_scale: 1.0}",
        f"sampling: {{num_steps: {NUM_STEPS}, audio_guidance_scale: 2.0, apg: {{momentum: -0.5, norm_threshold: 5}}}}",
    )
    assert "apg" in text
    small_profile.write_text(text)
    return small_profile


@pytest.fixture
def job(tmp_path: Path) -> Path:
    synthetic.make_clip(tmp_path / "source.mp4", Clip(num_frames=60))
    synthetic.make_audio(tmp_path / "voice.wav", synthetic.speech(1.1))
    return tmp_path


@pytest.fixture
def unbroken(job: Path, profile: Path, run_command) -> bytes:
    """What comes out of a run that nobody interrupts."""
    assert run_command(*arguments(job, profile, "whole")).exit_code == 0
    return (job / "whole.mp4").read_bytes()


def arguments(folder: Path, profile: Path, name: str) -> list[str]:
    return [
        "dub", str(folder / "source.mp4"), "--audio", str(folder / "voice.wav"), "--profile", str(profile),
        "--cache-dir", str(folder / name), "-o", str(folder / f"{name}.mp4"), "--json",
    ]  # fmt: skip


def kill_at(folder: Path, profile: Path, chunk: int, step: int, when: str, signum: int = signal.SIGKILL) -> int:
    """Run the command until it dies at that snapshot; returns how it ended."""
    driver = [sys.executable, "-c", DRIVER, str(chunk), str(step), when, str(int(signum))]
    return subprocess.run(
        [*driver, *arguments(folder, profile, "broken")], capture_output=True, timeout=120, check=False
    ).returncode


def log_of_last_run(cache: Path) -> str:
    return max((cache / "logs").glob("*.log"), key=lambda path: path.stat().st_mtime_ns).read_text()


@pytest.mark.parametrize(
    ("chunk", "step", "when", "kept_step", "signum"),
    [
        pytest.param(1, 3, "once it is written", 3, signal.SIGKILL, marks=pytest.mark.slow),
        (1, 3, "while it is written", 2, signal.SIGKILL),
        pytest.param(0, NUM_STEPS, "once it is written", NUM_STEPS, signal.SIGKILL, marks=pytest.mark.slow),
        pytest.param(1, 4, "once it is written", 4, signal.SIGTERM, marks=pytest.mark.slow),
    ],
)
def test_chunk_goes_on_from_its_snapshot(
    chunk: int, step: int, when: str, kept_step: int, signum: int, job: Path, profile: Path, unbroken, run_command
) -> None:
    code = kill_at(job, profile, chunk, step, when, signum)
    assert code == (143 if signum == signal.SIGTERM else -signum)
    assert len(list((job / "broken").glob("generate/*.partial/snapshot/chunk.safetensors"))) == 1

    resumed = run_command(*arguments(job, profile, "broken"))
    assert resumed.exit_code == 0, resumed.stderr
    log = log_of_last_run(job / "broken")
    assert f"chunk {chunk + 1}, attempt 1: goes on after step {kept_step}, from a snapshot" in log
    assert (job / "broken.mp4").read_bytes() == unbroken
    assert not list((job / "broken").rglob("snapshot")), "snapshots vanish with their chunk"
    assert "snapshot" not in json.dumps(resumed.document)
    (done,) = (job / "broken").glob("generate/*/done.json")
    assert "snapshot" not in done.read_text()


@pytest.mark.slow
def test_damaged_snapshot_costs_only_its_chunk(job: Path, profile: Path, unbroken, run_command) -> None:
    kill_at(job, profile, 1, 3, "once it is written")
    (snapshot,) = (job / "broken").glob("generate/*.partial/snapshot/chunk.safetensors")
    content = bytearray(snapshot.read_bytes())
    content[-100] ^= 0x10
    snapshot.write_bytes(content)
    resumed = run_command(*arguments(job, profile, "broken"))
    assert resumed.exit_code == 0 and "damaged snapshot" in resumed.stderr
    assert (job / "broken.mp4").read_bytes() == unbroken


@pytest.mark.slow
def test_stale_snapshot_is_not_used(job: Path, profile: Path, unbroken, run_command) -> None:
    """As if the power had failed between a chunk's commit and the removal of its snapshot."""
    kill_at(job, profile, 0, 3, "once it is written")
    (stale,) = (job / "broken").glob("generate/*.partial/snapshot/chunk.safetensors")
    content = stale.read_bytes()
    kill_at(job, profile, 1, 2, "once it is written")
    stale.write_bytes(content)
    resumed = run_command(*arguments(job, profile, "broken"))
    assert resumed.exit_code == 0, resumed.stderr
    log = log_of_last_run(job / "broken")
    assert "a snapshot of something else, not of chunk 2" in log and "goes on after step" not in log
    assert (job / "broken.mp4").read_bytes() == unbroken
