"""The system's clock jumps, between runs and during one: nothing is taken for something else, and nothing crashes."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import pytest
import synthetic
from conftest import Unbroken
from jobs import (
    chunk_files,
    contents,
    differences,
    environment,
    finish,
    leftovers,
    run,
    sha256,
    start,
    wait_until,
)

from infinitetalk_cli.cache.housekeeping import PruneRules, prune
from infinitetalk_cli.cache.store import Store

YEAR_S = 365 * 24 * 60 * 60
_CANDIDATES = (
    Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1"),
    Path("/usr/lib/aarch64-linux-gnu/faketime/libfaketime.so.1"),
)


def _clock(control: Path) -> dict[str, str]:
    """Environment of a process whose clock runs as far off as `control` says, from one moment to the next."""
    library = next((path for path in _CANDIDATES if path.exists()), None)
    if library is None:
        pytest.skip("needs libfaketime (Debian: apt install faketime)")
    return environment() | {
        "LD_PRELOAD": str(library),
        "FAKETIME_TIMESTAMP_FILE": str(control),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "NO_FAKE_STAT": "1",
    }


@pytest.mark.slow
@pytest.mark.parametrize("jump", ["-2y", "+2y"])
def test_clock_jumps_during_a_run(jump: str, scenes_job: Unbroken, tmp_path: Path, run_command) -> None:
    """`python -m pytest -m slow tests/faults/test_clock_moved.py`."""
    control, cache, output = tmp_path / "clock", tmp_path / "cache", tmp_path / "result.mp4"
    control.write_text("+0")
    process = start(scenes_job.job.command(cache, output), env=_clock(control))
    wait_until(lambda: bool(chunk_files(cache)), process)
    process.send_signal(signal.SIGSTOP)
    control.write_text(jump)
    process.send_signal(signal.SIGCONT)
    ended = finish(process)
    assert ended.exit_code == 0, ended.stderr
    assert sha256(output) == scenes_job.result
    assert all(stage["seconds"] >= 0 for stage in ended.document["stages"])
    assert run_command(*scenes_job.job.arguments(cache, output)).document["status"] == "already done"


@pytest.mark.slow
@pytest.mark.parametrize("jump", ["-2y", "+2y"])
def test_clock_jumps_between_runs(jump: str, scenes_job: Unbroken, tmp_path: Path) -> None:
    """An interrupted job goes on two years earlier or later, and is found finished at today's date.

    `python -m pytest -m slow tests/faults/test_clock_moved.py`.
    """
    control, cache, output = tmp_path / "clock", tmp_path / "cache", tmp_path / "result.mp4"
    control.write_text(jump)
    clock = _clock(control)
    process = start(scenes_job.job.command(cache, output))
    wait_until(lambda: len(chunk_files(cache)) > 1, process)
    process.kill()
    process.communicate()
    ended = run(scenes_job.job.command(cache, output), env=clock)
    assert ended.exit_code == 0, ended.stderr
    assert sha256(output) == scenes_job.result
    assert differences(scenes_job.files, contents(cache)) == [] and leftovers(cache, output) == []


@pytest.mark.parametrize("age_s", [-2 * YEAR_S, 30 * YEAR_S], ids=["future", "long ago"])
def test_time_stamps_of_another_time(age_s: int, scenes_job: Unbroken, tmp_path: Path, run_command) -> None:
    """As after a clock that was wrong, or a copy of the cache: what is there counts by its content."""
    cache, output = tmp_path / "cache", tmp_path / "result.mp4"
    shutil.copytree(scenes_job.cache, cache)
    shutil.rmtree(cache / "remux")
    for path in cache.rglob("*"):
        stamp = path.stat().st_mtime - age_s
        os.utime(path, (stamp, stamp))
    ended = run_command(*scenes_job.job.arguments(cache, output))
    assert ended.exit_code == 0 and sha256(output) == scenes_job.result, ended.stderr
    assert [stage["name"] for stage in ended.document["stages"] if not stage["reused"]] == ["remux"]


def test_source_changed_under_a_clock_that_stands_still(scenes_job: Unbroken, tmp_path: Path, run_command) -> None:
    """A voice that is replaced within the same tick, with the same size: the remembered hash must not count."""
    old = Path(scenes_job.job.words[2])
    voice = tmp_path / "voice.wav"
    shutil.copy2(old, voice)
    words = [
        str(voice) if word == str(old) else word
        for word in scenes_job.job.arguments(tmp_path / "c", tmp_path / "r.mp4")
    ]
    assert run_command(*words).exit_code == 0
    stat = voice.stat()
    synthetic.make_audio(voice, synthetic.speech(2.5, seed=4))
    os.utime(voice, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert voice.stat().st_size == stat.st_size
    again = run_command(*words)
    assert again.exit_code == 0 and again.document["status"] == "done"
    assert sha256(tmp_path / "r.mp4") != scenes_job.result


@pytest.mark.slow
@pytest.mark.parametrize("jump", ["-2y", "+2y"])
def test_pruning_never_takes_what_is_in_use(jump: str, scenes_job: Unbroken, tmp_path: Path) -> None:
    """A run is in the midst of its chunks when the clock jumps and somebody clears the cache with the new time.

    `python -m pytest -m slow tests/faults/test_clock_moved.py`.
    """
    control, cache, output = tmp_path / "clock", tmp_path / "cache", tmp_path / "result.mp4"
    control.write_text(jump)
    clock = _clock(control)
    process = start(scenes_job.job.command(cache, output))
    wait_until(lambda: bool(chunk_files(cache)), process)
    process.send_signal(signal.SIGSTOP)
    before = contents(cache)
    cleared = run(
        [*scenes_job.job.command(cache, output)[:3], "cache", "clear", "--yes", "--cache-dir", str(cache)], env=clock
    )
    assert cleared.exit_code == 0, cleared.stderr
    assert contents(cache) == before
    process.send_signal(signal.SIGCONT)
    ended = finish(process)
    assert ended.exit_code == 0 and sha256(output) == scenes_job.result, ended.stderr


def test_pruning_spares_a_session_that_says_it_begins_tomorrow(scenes_job: Unbroken, tmp_path: Path) -> None:
    """A run that began while the clock was ahead: its claim, and not its date, keeps its entries."""
    cache = tmp_path / "cache"
    shutil.copytree(scenes_job.cache, cache)
    store, before = Store(cache), contents(cache)
    with store.session():
        for name in before:
            stage, fingerprint, *_ = name.split("/")
            assert store.lookup(stage, fingerprint) is not None
        for done in cache.glob("*/*/done.json"):
            os.utime(done, (1, 1))
        prune(Store(cache), PruneRules(unfinished=True))
        assert contents(cache) == before
    prune(Store(cache), PruneRules(unfinished=True))
    assert contents(cache) == {}
