"""Several processes at one batch: a worker that is killed, and two batches of one list."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import synthetic
from synthetic import Clip

from infinitetalk_cli.cache.files import SIDECAR_SUFFIX

ROOT = Path(__file__).parents[2]
DEADLINE_S = 120


@pytest.fixture
def command(tmp_path: Path, small_profile: Path) -> list[str]:
    """A batch of two jobs of several chunks each."""
    rows = ["video,audio,seed"]
    for index in range(2):
        synthetic.make_clip(tmp_path / f"v{index}.mp4", Clip(num_frames=25))
        synthetic.make_audio(tmp_path / f"v{index}.wav", synthetic.speech(2.0 - index, seed=index))
        rows.append(f"v{index}.mp4,v{index}.wav,{index}")
    (tmp_path / "jobs.csv").write_text("\n".join(rows))
    program = [sys.executable, "-m", "infinitetalk_cli", "batch", "jobs.csv", "--profile", "small.yaml", "--no-report"]
    return [*program, "--json", "--cache-dir", "cache"]


def start(command: list[str], folder: Path) -> subprocess.Popen[str]:
    path = os.pathsep.join((str(ROOT), os.environ.get("PYTHONPATH", "")))
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        command, cwd=folder, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def communicate(running: subprocess.Popen[str]) -> tuple[str, str]:
    """What it writes until it ends, which it has to do in time."""
    try:
        return running.communicate(timeout=DEADLINE_S)
    finally:
        running.kill()


def holders(cache: Path, stage: str) -> Iterator[int]:
    """Processes that work on `stage` now."""
    for path in cache.glob(f"locks/{stage}-*.holder.json"):
        try:
            yield int(json.loads(path.read_text())["pid"])
        except (OSError, ValueError):
            continue


def kill_whoever_generates(running: subprocess.Popen[str], cache: Path) -> int:
    """SIGKILL for the first process that has a chunk in its place and makes more; returns its number."""
    deadline = time.monotonic() + DEADLINE_S
    while running.poll() is None and time.monotonic() < deadline:
        for pid in holders(cache, "generate"):
            if list(cache.glob(f"generate/*/chunks/chunk-*.mkv{SIDECAR_SUFFIX}")):
                os.kill(pid, signal.SIGKILL)
                return pid
        time.sleep(0.005)
    running.kill()
    raise AssertionError(f"could not be killed while it made chunks: {running.communicate()}")


def test_a_killed_worker_is_replaced_and_its_job_goes_on(command: list[str], tmp_path: Path) -> None:
    running = start([*command, "--workers", "2"], tmp_path)
    pid = kill_whoever_generates(running, tmp_path / "cache")
    out, err = communicate(running)
    assert running.returncode == 0 and pid != running.pid, err
    assert [job["status"] for job in json.loads(out)["jobs"]] == ["done", "done"]
    assert "was killed by SIGKILL; it goes on from what it had finished" in err
    assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_two_batches_of_one_list_share_the_work(command: list[str], tmp_path: Path) -> None:
    running = [start(command, tmp_path) for _ in range(2)]
    ended = [(communicate(process), process.returncode) for process in running]
    assert [code for _, code in ended] == [0, 0], ended
    states = [[job["status"] for job in json.loads(out)["jobs"]] for (out, _), _ in ended]
    for of_one_job in zip(*states, strict=True):
        assert sorted(of_one_job) == ["already done", "done"], states


@pytest.mark.slow
def test_workers_end_with_the_process_that_feeds_them(command: list[str], tmp_path: Path) -> None:
    """`pytest tests/faults/test_batch_workers.py -m slow`."""
    running = start([*command, "--workers", "2"], tmp_path)
    while not list((tmp_path / "cache").glob("generate/*.partial")):
        assert running.poll() is None, running.communicate()
        time.sleep(0.02)
    children = psutil.Process(running.pid).children(recursive=True)
    running.kill()
    running.communicate()
    gone, alive = psutil.wait_procs(children, timeout=30)
    assert gone and not alive
