"""One job on several processes: real ones, that talk through gloo on the CPU, as `--gpus` and accelerate start them."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import pytest
from conftest import Unbroken
from jobs import contents, finish, run, sha256, start, wait_until
from synthetic import read_all_frames

from infinitetalk_cli.cache.files import SIDECAR_SUFFIX
from infinitetalk_cli.cache.store import DONE_NAME, PARTIAL_SUFFIX
from infinitetalk_cli.parallel import link

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="torch starts no such processes there")

TOLERANCE_LEVELS = 2
"""Of 255: what a chunk of a team that splits tokens may differ from that of one process, in any pixel. Sums are added
in another order, in float32; the nano model's own pictures differ by none in most runs."""

CPU = ("--device", "cpu")


def chunk_files(cache: Path) -> dict[str, Path]:
    """Committed chunks by name, of the finished stage or of the one in work."""
    sidecars = cache.glob(f"generate/*/chunks/chunk-*.mkv{SIDECAR_SUFFIX}")
    files = (path.with_name(path.name.removesuffix(SIDECAR_SUFFIX)) for path in sidecars)
    return {path.name: path for path in files}


def process_of(rank: int, launcher: subprocess.Popen[str]) -> psutil.Process:
    """The process of that rank below `launcher`."""
    below = psutil.Process(launcher.pid).children(recursive=True)
    return next(process for process in below if process.environ().get("RANK") == str(rank))


def undone(job: Unbroken, cache: Path, *keep: int) -> dict[str, bytes]:
    """A copy of the job's cache as an interrupted run leaves it, of whose chunks only `keep` are there."""
    shutil.copytree(job.cache, cache)
    for stage in ("inspect", "remux", "receipts"):
        shutil.rmtree(cache / stage)
    (done,) = cache.glob(f"generate/*/{DONE_NAME}")
    done.unlink()
    partial = done.parent.rename(done.parent.with_name(done.parent.name + PARTIAL_SUFFIX))
    for path in (partial / "chunks").glob(f"*.mkv{SIDECAR_SUFFIX}"):
        if int(path.name[6:12]) not in keep:
            path.unlink()
    return {name: path.read_bytes() for name, path in chunk_files(cache).items()}


def test_accelerate_launch_goes_on_with_two_teams(scenes_job: Unbroken, tmp_path: Path) -> None:
    """Chunks of two scenes are there, of the third none; what comes out is what one process makes, to the bit."""
    cache, output = tmp_path / "cache", tmp_path / "out.mp4"
    kept = undone(scenes_job, cache, 0, 2, 3)
    times = {name: path.stat().st_mtime_ns for name, path in chunk_files(cache).items()}
    launcher = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2"]
    launcher += ["--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0"]
    ended = run([*launcher, "--module", "infinitetalk_cli", *scenes_job.job.arguments(cache, output, *CPU)])
    assert ended.exit_code == 0, ended.stderr
    assert ended.document["status"] == "done", "one document, of one process"
    assert "2 processes: 2 teams, each making whole scenes; 2 scenes are left" in ended.stderr
    assert sha256(output) == scenes_job.result and contents(cache) == scenes_job.files
    final = chunk_files(cache)
    assert len(kept) == 3 and all(final[name].stat().st_mtime_ns == time_ns for name, time_ns in times.items())
    logs = [path.read_text() for path in (cache / "logs").glob("*-dub-*.log")]
    assert sum("loading" in text and "transformer" in text for text in logs) >= 2, "both made chunks"
    assert not list(cache.glob("locks/*.meeting"))


def test_killed_process_ends_all_and_one_process_goes_on(scenes_job: Unbroken, tmp_path: Path, run_command) -> None:
    cache, output = tmp_path / "cache", tmp_path / "out.mp4"
    process = start(scenes_job.job.command(cache, output, *CPU, "--gpus", 2, "--no-wait"))
    wait_until(lambda: bool(chunk_files(cache)), process)
    process_of(1, process).send_signal(signal.SIGKILL)
    killed_s = time.monotonic()
    kept = {name: path.read_bytes() for name, path in chunk_files(cache).items()}
    ended = finish(process)
    assert ended.exit_code == 10, ended.stderr
    assert time.monotonic() - killed_s < 60
    assert ended.document["exit_code"] == 10
    (message,) = [line for line in ended.stderr.splitlines() if line.startswith("error:")]
    assert message.startswith("error: process 2 of 2 (") and "run the same command again" in message
    assert "Traceback" not in ended.stderr and "elastic" not in ended.stderr
    resumed = run_command(*scenes_job.job.arguments(cache, output))
    assert resumed.exit_code == 0, resumed.stderr
    assert sha256(output) == scenes_job.result and contents(cache) == scenes_job.files
    final = chunk_files(cache)
    assert kept and all(final[name].read_bytes() == content for name, content in kept.items())


@pytest.mark.slow
def test_team_of_two_around_one_transformer(scenes_job: Unbroken, tmp_path: Path) -> None:
    """`python -m pytest -m slow tests/faults/test_dying_processes.py`: both processes compute every forward."""
    cache, output = tmp_path / "cache", tmp_path / "out.mp4"
    kept = undone(scenes_job, cache, 0, 2, 3)
    ended = run(scenes_job.job.command(cache, output, *CPU, "--gpus", 2, "--split", "sequence=2"))
    assert ended.exit_code == 0, ended.stderr
    assert ended.document["status"] == "done"
    assert "1 team of 2 processes (guidance 1 x sequence 2); as asked for with --split" in ended.stderr
    whole, final = chunk_files(scenes_job.cache), chunk_files(cache)
    assert final.keys() == whole.keys() and len(kept) == 3
    assert all(final[name].read_bytes() == content for name, content in kept.items()), "finished chunks are kept"
    for name, path in whole.items():
        one, other = (np.stack(read_all_frames(file)).astype(int) for file in (path, final[name]))
        assert np.abs(one - other).max() <= TOLERANCE_LEVELS, name


def test_what_remains_is_made_in_this_process(scenes_job: Unbroken, tmp_path: Path, run_command) -> None:
    """Several processes only make chunks; where none is missing, none is started."""
    cache, output = tmp_path / "cache", tmp_path / "out.mp4"
    shutil.copytree(scenes_job.cache, cache)
    again = run_command(*scenes_job.job.arguments(cache, output, *CPU, "--gpus", 2))
    assert again.exit_code == 0, again.stderr
    assert sha256(output) == scenes_job.result and not list(cache.glob("logs/*-launch-*"))


@pytest.fixture
def plan(scenes_job: Unbroken, tmp_path: Path, run_command) -> Callable[..., object]:
    """A dry run of the job, of whose chunks 0, 2 and 3 are there."""
    undone(scenes_job, tmp_path / "cache", 0, 2, 3)
    words = scenes_job.job.arguments(tmp_path / "cache", tmp_path / "out.mp4", "--dry-run")
    return lambda *more, text=False: run_command(*(word for word in words if not (text and word == "--json")), *more)


def test_plan_shows_who_makes_what(plan: Callable[..., object]) -> None:
    shown = plan(*CPU, "--gpus", 2).document
    assert (shown["num_chunks_done"], shown["num_chunks_left"]) == (3, 3)
    assert (shown["layout"]["scenes"], shown["layout"]["guidance"], shown["layout"]["sequence"]) == (2, 1, 1)
    assert plan().document["layout"] is None
    asked = plan(*CPU, "--gpus", 4, "--split", "scenes=2,sequence=2", text=True).stdout
    assert "shared by 4 processes: 2 teams, each making whole scenes of 2 processes (guidance 1 x sequence 2)" in asked


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--gpus", "0"], 2, "--gpus 0: write how many, from 1 on, or all"),
        (["--gpus", "two"], 2, "write how many"),
        (["--gpus", "all", *CPU], 2, "--gpus all counts GPUs"),
        (["--gpus", "all"], 5, "--gpus all: this machine has no CUDA device"),
        (["--gpus", "2", "--device", "cuda:1"], 2, "--device cuda:1 is one GPU"),
        (["--split", "scenes=2"], 2, "is for 2 processes, and there are 1"),
        (["--gpus", "2", *CPU, "--split", "scenes=3"], 2, "is for 3 processes, and there are 2"),
        (["--gpus", "2", *CPU, "--split", "heads=2"], 2, "'heads=2' is none of scenes=N"),
        (["--gpus", "2000"], 5, "2000 processes (--gpus or the launcher) take one GPU each"),
    ],
)
def test_what_cannot_be_is_refused(
    words: list[str], code: int, message: str, scenes_job: Unbroken, tmp_path: Path, run_command, monkeypatch
) -> None:
    monkeypatch.setattr("infinitetalk_cli.cli.gpus._num_gpus", lambda: 0)
    refused = run_command(*scenes_job.job.arguments(tmp_path / "cache", tmp_path / "out.mp4", *words))
    assert refused.exit_code == code
    assert message in " ".join(refused.stderr.replace("│", " ").split()) and "Traceback" not in refused.stderr
    assert json.loads(refused.stdout)["exit_code"] == code


def test_another_number_than_the_launcher_started(
    scenes_job: Unbroken, tmp_path: Path, run_command, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"RANK": "0", "WORLD_SIZE": "4", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}.items():
        monkeypatch.setenv(name, value)
    words = scenes_job.job.arguments(tmp_path / "cache", tmp_path / "out.mp4", *CPU, "--gpus", "2")
    refused = run_command(*words)
    message = " ".join(refused.stderr.replace("│", " ").split())
    assert refused.exit_code == 2 and "one of 4 processes that a launcher has started" in message
    assert "unset RANK" in message


def test_environment_of_another_program(
    scenes_job: Unbroken, tmp_path: Path, run_command, monkeypatch: pytest.MonkeyPatch, capfd
) -> None:
    """Where nobody is met, a peer says so itself, and which variables made it one."""
    monkeypatch.setattr(link, "MEETING_S", 0.2)
    for name, value in {"RANK": "1", "WORLD_SIZE": "4", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}.items():
        monkeypatch.setenv(name, value)
    ended = run_command(*scenes_job.job.arguments(tmp_path / "cache", tmp_path / "out.mp4", *CPU))
    said = capfd.readouterr().err + ended.stderr
    assert ended.exit_code == 10 and "RANK=1 and WORLD_SIZE=4 are in the environment" in said
