"""`infinitetalk batch --engine ray` on a cluster of this computer, which the command starts and ends itself."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import synthetic
from synthetic import Clip

from infinitetalk_cli.cache.files import SIDECAR_SUFFIX

pytest.importorskip("ray", reason="needs the extra ray: pip install 'infinitetalk[ray]'")

ROOT = Path(__file__).parents[2]

DEADLINE_S = 400
"""Ray starts a dozen programs; on two cores that others use as well each job waits a minute for its process."""


@pytest.mark.timeout(2 * DEADLINE_S + 60)
def test_a_lost_worker_costs_no_job_and_failures_are_told(tmp_path: Path, small_profile: Path) -> None:
    """One job whose process is killed while it makes chunks, and one that cannot be read."""
    for index in range(2):
        synthetic.make_clip(tmp_path / f"v{index}.mp4", Clip(num_frames=25))
        synthetic.make_audio(tmp_path / f"v{index}.wav", synthetic.speech(2.0, seed=index))
    (tmp_path / "v1.mp4").write_text("no video")
    (tmp_path / "jobs.csv").write_text("video,audio\nv0.mp4,v0.wav\nv1.mp4,v1.wav\n")
    program = [sys.executable, "-m", "infinitetalk_cli", "batch", "jobs.csv", "--engine", "ray", "--no-report"]
    command = [*program, "--profile", small_profile, "--json", "--cache-dir", "cache", "--gpus-per-job", "0"]
    path = os.pathsep.join((str(ROOT), os.environ.get("PYTHONPATH", "")))
    environment = {**os.environ, "PYTHONPATH": path}
    running = subprocess.Popen(
        command, cwd=tmp_path, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    killed = _kill_whoever_generates(running, tmp_path / "cache")
    killed_at_s = time.time()
    try:
        out, err = running.communicate(timeout=DEADLINE_S)
    finally:
        running.kill()
    assert running.returncode == 8 and killed != running.pid, err
    jobs = json.loads(out)["jobs"]
    assert [job["status"] for job in jobs] == ["done", "failed"], out
    assert jobs[1]["exit_code"] == 4 and "v1.mp4" in jobs[1]["error"]
    assert (tmp_path / "v0.dubbed.mp4").is_file()
    chunks = (tmp_path / "cache").glob("generate/*/chunks/chunk-*.mkv")
    assert min(chunk.stat().st_mtime for chunk in chunks) < killed_at_s, "nothing of the killed process was kept"


def _kill_whoever_generates(running: subprocess.Popen[str], cache: Path) -> int:
    """SIGKILL for the process that makes chunks, as soon as one is finished; returns its number."""
    deadline = time.monotonic() + DEADLINE_S
    while running.poll() is None and time.monotonic() < deadline:
        for path in cache.glob("locks/generate-*.holder.json"):
            if list(cache.glob(f"generate/*/chunks/chunk-*.mkv{SIDECAR_SUFFIX}")):
                try:
                    pid = int(json.loads(path.read_text())["pid"])
                except (OSError, ValueError):
                    continue
                os.kill(pid, signal.SIGKILL)
                return pid
        time.sleep(0.005)
    running.kill()
    raise AssertionError(f"could not be killed while it made chunks: {running.communicate()}")


@pytest.fixture
def one_job(tmp_path: Path) -> tuple[object, ...]:
    """The words of a batch of one job on Ray."""
    synthetic.make_clip(tmp_path / "v.mp4", Clip(num_frames=25))
    synthetic.make_audio(tmp_path / "v.wav", synthetic.speech(1.0))
    (tmp_path / "jobs.csv").write_text("video,audio\nv.mp4,v.wav\n")
    return "batch", tmp_path / "jobs.csv", "--profile", "nano", "--engine", "ray"


def test_no_cluster_is_one_sentence_at_once(one_job: tuple[object, ...], run_command) -> None:
    """Ray itself would try for minutes."""
    began_s = time.monotonic()
    nowhere = run_command(*one_job, "--address", "127.0.0.1:1")
    assert nowhere.exit_code == 5 and "no cluster can be used at 127.0.0.1:1" in nowhere.stderr
    assert time.monotonic() - began_s < 60


@pytest.mark.timeout(DEADLINE_S)
def test_no_such_node_is_one_sentence(one_job: tuple[object, ...], run_command) -> None:
    too_much = run_command(*one_job, "--gpus-per-job", "99")
    assert too_much.exit_code == 4 and "no node of the cluster has 99 GPUs" in too_much.stderr
