"""Several runs at once in one cache: of one job, of different jobs, and of one job to one output."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest
from conftest import Unbroken
from jobs import Ended, Job, chunk_files, contents, differences, finish, leftovers, run, sha256, start

from infinitetalk_cli.cache.store import Store
from infinitetalk_cli.pipeline.delivery import Destination


def _all_at_once(commands: Sequence[list[str]]) -> list[Ended]:
    """Start every command before waiting for the first."""
    processes = [start(command) for command in commands]
    ended: list[Ended | None] = [None] * len(processes)

    def wait(place: int) -> None:
        ended[place] = finish(processes[place])

    threads = [threading.Thread(target=wait, args=(place,)) for place in range(len(processes))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [outcome for outcome in ended if outcome is not None]


def _made(ended: Sequence[Ended]) -> dict[tuple[str, str], int]:
    """How many of the runs made each stage themselves."""
    counts: dict[tuple[str, str], int] = {}
    for outcome in ended:
        for stage in outcome.document["stages"]:
            key = (stage["name"], stage["fingerprint"])
            counts[key] = counts.get(key, 0) + (not stage["reused"])
    return counts


def _same_job(unbroken: Unbroken, folder: Path, count: int) -> None:
    """`count` runs of one job, each with its own output."""
    cache, outputs = folder / "cache", [folder / f"result-{number}.mp4" for number in range(count)]
    ended = _all_at_once([unbroken.job.command(cache, output) for output in outputs])
    assert [outcome.exit_code for outcome in ended] == [0] * count, [outcome.stderr for outcome in ended]
    assert all(sha256(output) == unbroken.result for output in outputs)
    assert set(_made(ended).values()) == {1}, "a stage was made twice, or by nobody"
    assert differences(unbroken.files, contents(cache)) == []
    assert leftovers(cache, outputs[0]) == []


def test_two_runs_of_one_job(scenes_job: Unbroken, tmp_path: Path) -> None:
    _same_job(scenes_job, tmp_path, 2)


@pytest.mark.slow
@pytest.mark.parametrize("count", [2, 4])
@pytest.mark.parametrize("round_number", range(5))
def test_many_runs_of_one_job(count: int, round_number: int, scenes_job: Unbroken, tmp_path: Path) -> None:
    """`python -m pytest -m slow tests/faults/test_concurrent_runs.py`."""
    _same_job(scenes_job, tmp_path, count)


@pytest.mark.slow
@pytest.mark.parametrize("round_number", range(3))
def test_four_runs_to_one_output(round_number: int, scenes_job: Unbroken, tmp_path: Path) -> None:
    """`python -m pytest -m slow tests/faults/test_concurrent_runs.py`: one makes it, the others find it finished."""
    command = scenes_job.job.command(tmp_path / "cache", tmp_path / "result.mp4")
    ended = _all_at_once([command] * 4)
    assert [outcome.exit_code for outcome in ended] == [0] * 4, [outcome.stderr for outcome in ended]
    assert sorted(outcome.document["status"] for outcome in ended) == ["already done"] * 3 + ["done"]
    assert sha256(tmp_path / "result.mp4") == scenes_job.result


@pytest.mark.slow
def test_four_runs_that_do_not_wait(scenes_job: Unbroken, tmp_path: Path) -> None:
    """`python -m pytest -m slow tests/faults/test_concurrent_runs.py`: some are turned away, nothing is wrong."""
    outputs = [tmp_path / f"result-{number}.mp4" for number in range(4)]
    commands = [scenes_job.job.command(tmp_path / "cache", output, "--no-wait") for output in outputs]
    ended = _all_at_once(commands)
    codes = {outcome.exit_code for outcome in ended}
    assert codes <= {0, 9} and 0 in codes, [outcome.stderr for outcome in ended]
    for outcome, output in zip(ended, outputs, strict=True):
        assert output.exists() == (outcome.exit_code == 0)
        assert outcome.exit_code == 0 or "process" in outcome.stderr
    for command, output in zip(commands, outputs, strict=True):
        assert run(command).exit_code == 0 and sha256(output) == scenes_job.result


@pytest.mark.slow
def test_four_jobs_in_one_cache(scenes_job: Unbroken, tmp_path: Path) -> None:
    """`python -m pytest -m slow tests/faults/test_concurrent_runs.py`: what they share is made once, the rest by each.

    Each result equals that of the same job alone in a cache of its own.
    """
    jobs = [Job("seed", (*scenes_job.job.words, "--seed", str(seed))) for seed in range(4)]
    together = _all_at_once(
        [job.command(tmp_path / "cache", tmp_path / f"together-{number}.mp4") for number, job in enumerate(jobs)]
    )
    assert [outcome.exit_code for outcome in together] == [0] * 4, [outcome.stderr for outcome in together]
    counts = _made(together)
    assert set(counts.values()) == {1}
    assert sum(stage == "generate" for stage, _ in counts) == 4 and sum(stage == "demux" for stage, _ in counts) == 1
    for number, job in enumerate(jobs):
        alone = tmp_path / f"alone-{number}.mp4"
        assert run(job.command(tmp_path / f"cache-{number}", alone)).exit_code == 0
        assert sha256(alone) == sha256(tmp_path / f"together-{number}.mp4")


def test_a_finished_chunk_is_not_made_again_by_the_next_run(scenes_job: Unbroken, tmp_path: Path, run_command) -> None:
    """A run that had to wait for a killed one takes over its chunks: the same files, not the same bytes made again."""
    cache = tmp_path / "cache"
    shutil.copytree(scenes_job.cache, cache)
    shutil.rmtree(cache / "remux")
    before = {path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in chunk_files(cache)}
    ended = run_command(*scenes_job.job.arguments(cache, tmp_path / "result.mp4"))
    assert ended.exit_code == 0, ended.stderr
    assert {path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in chunk_files(cache)} == before


def test_a_second_run_leaves_the_delivery_of_the_first_alone(
    scenes_job: Unbroken, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the first copies the result to its place, another run of the same command checks that it could."""
    output, store = tmp_path / "there" / "result.mp4", Store(tmp_path / "cache")
    first, second = (Destination(output, "job", "0123456789abcdef", store) for _ in range(2))
    first.check((), force=False)
    copyfile = shutil.copyfile

    def interrupted_copy(source: Path, target: Path) -> None:
        copyfile(source, target)
        second.check((), force=False)

    monkeypatch.setattr(shutil, "copyfile", interrupted_copy)
    first.deliver(scenes_job.output)
    assert sha256(output) == scenes_job.result
    assert list(output.parent.iterdir()) == [output]
