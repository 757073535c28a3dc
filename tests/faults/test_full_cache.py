"""The disk is full, at every stage in turn: one sentence, and with more room the same command goes on."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from conftest import Unbroken
from disks import PAGE_BYTES, SmallDisk, small_disk
from jobs import assert_one_sentence, contents, differences, leftovers, sha256

ROOMY = 64 * 2**20
OTHER_FILES_BYTES = 15 * PAGE_BYTES
"""Log, locks, records of jobs and hashes."""


def _pages(folder: Path) -> int:
    """Bytes that the files below `folder` take on a tmpfs."""
    sizes = [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
    return sum(-(-size // PAGE_BYTES) * PAGE_BYTES for size in sizes)


def _finish(unbroken: Unbroken, disk: SmallDisk, output: Path, run_command) -> None:
    """With enough room the same command ends with the same bytes, and what the failures left is gone."""
    disk.resize(ROOMY)
    ended = run_command(*unbroken.job.arguments(disk.folder, output))
    assert ended.exit_code == 0, ended.stderr
    assert sha256(output) == unbroken.result
    assert differences(unbroken.files, contents(disk.folder)) == []
    assert leftovers(disk.folder, output) == []


def _go_through_sizes(unbroken: Unbroken, sizes: list[int], folder: Path, run_command) -> set[str]:
    """Run the job on a disk that grows from size to size, as if somebody freed too little each time.

    Every run but the last must end with one sentence and exit code 6, and finish no less than the one before. Returns
    the stages that met the full disk.
    """
    met: set[str] = set()
    finished: set[str] = set()
    with small_disk(folder / "disk", ROOMY) as disk:
        output = folder / "result.mp4"
        for size in sizes:
            disk.resize(max(size, disk.used_bytes))
            ended = run_command(*unbroken.job.arguments(disk.folder, output, "--ignore-disk"))
            if ended.exit_code == 0:
                assert sha256(output) == unbroken.result
                break
            error = assert_one_sentence(ended, 6)
            assert str(disk.folder) in error and "no space left" in error
            made = set(contents(disk.folder))
            assert finished <= made, "finished work was lost"
            finished = made
            met |= {line.split()[1].rstrip(":") for line in _running(ended.stderr)[-1:]}
        _finish(unbroken, disk, output, run_command)
    return met


def _running(stderr: str) -> list[str]:
    return [line for line in stderr.splitlines() if line.endswith((": running", ": resuming"))]


@pytest.mark.parametrize("stage", ["audio_embedding", "generate", "remux"])
def test_a_stage_meets_the_full_disk(stage: str, scenes_job: Unbroken, tmp_path: Path, run_command) -> None:
    """All before it is done, and there is room for half of what it keeps (some need more while they run)."""
    with small_disk(tmp_path / "disk", ROOMY) as disk:
        for done in scenes_job.stages[: scenes_job.stages.index(stage)]:
            shutil.copytree(scenes_job.cache / done, disk.folder / done)
        before = contents(disk.folder)
        disk.resize(disk.used_bytes + OTHER_FILES_BYTES + _pages(scenes_job.cache / stage) // 2)
        output = tmp_path / "result.mp4"
        ended = run_command(*scenes_job.job.arguments(disk.folder, output, "--ignore-disk"))
        error = assert_one_sentence(ended, 6)
        assert f"{stage}/" in error and "no space left" in error
        assert before.items() <= contents(disk.folder).items(), "finished work was lost"
        assert not output.exists()
        _finish(scenes_job, disk, output, run_command)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_the_disk_is_full_at_every_page(scenes_job: Unbroken, tmp_path: Path, run_command) -> None:
    """`python -m pytest -m slow tests/faults/test_full_cache.py`: 4 KiB more each time, from nothing to enough."""
    sizes = list(range(PAGE_BYTES, _pages(scenes_job.cache) + 100 * PAGE_BYTES, PAGE_BYTES))
    met = _go_through_sizes(scenes_job, sizes, tmp_path, run_command)
    assert met >= set(scenes_job.stages), met


def test_full_disk_of_the_result(scenes_job: Unbroken, tmp_path: Path, run_command) -> None:
    with small_disk(tmp_path / "disk", ROOMY) as disk:
        output = disk.folder / "result.mp4"
        disk.resize(scenes_job.output.stat().st_size // 2)
        arguments = scenes_job.job.arguments(tmp_path / "cache", output, "--ignore-disk")
        error = assert_one_sentence(run_command(*arguments), 6)
        assert str(output) in error
        assert not output.exists() and leftovers(tmp_path / "cache", output) == []
        disk.resize(ROOMY)
        ended = run_command(*arguments)
        assert ended.exit_code == 0, ended.stderr
        assert all(stage["reused"] for stage in ended.document["stages"])
        assert sha256(output) == scenes_job.result


@pytest.mark.slow
def test_a_quota_ends_like_a_full_disk(scenes_job: Unbroken, tmp_path: Path, run_command) -> None:
    """A limit on the size of files: `python -m pytest -m slow tests/faults/test_full_cache.py`.

    Such as a quota.
    """
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    arguments = scenes_job.job.arguments(tmp_path / "cache", tmp_path / "result.mp4")
    resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, before[1]))
    try:
        ended = run_command(*arguments)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert_one_sentence(ended, 6)
    assert run_command(*arguments).exit_code == 0
    assert sha256(tmp_path / "result.mp4") == scenes_job.result
    assert os.listdir(tmp_path / "cache" / "remux")
