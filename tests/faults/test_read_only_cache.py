"""The cache lies on a disk that cannot be written (a real mount: mode bits do not stop root)."""

from __future__ import annotations

from pathlib import Path

from conftest import Unbroken
from disks import read_only
from jobs import assert_one_sentence, contents, sha256


def _copy_of(unbroken: Unbroken, folder: Path, run_command) -> tuple[Path, Path]:
    """A cache with the finished job, and its result, made anew."""
    cache, output = folder / "cache", folder / "result.mp4"
    assert run_command(*unbroken.job.arguments(cache, output)).exit_code == 0
    return cache, output


def test_empty_read_only_cache_is_told_at_once(scenes_job: Unbroken, tmp_path: Path, run_command) -> None:
    (tmp_path / "cache").mkdir()
    with read_only(tmp_path / "cache"):
        ended = run_command(*scenes_job.job.arguments(tmp_path / "cache", tmp_path / "result.mp4"))
    error = assert_one_sentence(ended, 7)
    assert str(tmp_path / "cache") in error and "--cache-dir" in error
    assert not (tmp_path / "result.mp4").exists() and ": running" not in ended.stderr


def test_finished_work_in_a_read_only_cache(scenes_job: Unbroken, tmp_path: Path, run_command) -> None:
    """What is delivered is recognised, what is not is refused before any work, and the cache can be looked at."""
    cache, output = _copy_of(scenes_job, tmp_path, run_command)
    before = contents(cache)
    with read_only(cache):
        arguments = scenes_job.job.arguments(cache, output)
        again = run_command(*arguments)
        assert again.exit_code == 0 and again.document["status"] == "already done", again.stderr
        elsewhere = run_command(*scenes_job.job.arguments(cache, tmp_path / "other.mp4"))
        assert "--cache-dir" in assert_one_sentence(elsewhere, 7)
        assert not (tmp_path / "other.mp4").exists()
        planned = run_command(*arguments, "--dry-run")
        assert planned.exit_code == 0 and planned.document["stages"], planned.stderr
        assert "Traceback" not in again.stderr + planned.stderr
    assert contents(cache) == before
    ended = run_command(*scenes_job.job.arguments(cache, tmp_path / "other.mp4"))
    assert ended.exit_code == 0 and all(stage["reused"] for stage in ended.document["stages"])
    assert sha256(tmp_path / "other.mp4") == scenes_job.result


def test_a_read_only_cache_can_be_looked_at_but_not_emptied(scenes_job: Unbroken, tmp_path: Path, run_command) -> None:
    cache, _ = _copy_of(scenes_job, tmp_path, run_command)
    before = contents(cache)
    with read_only(cache):
        listed = run_command("cache", "list", "--cache-dir", cache)
        assert listed.exit_code == 0 and "source.mp4" in listed.stdout, listed.stderr
        assert_one_sentence(run_command("cache", "clear", "--cache-dir", cache, "--json", "--yes"), 7)
    assert contents(cache) == before


def test_result_on_a_read_only_disk_is_told_at_once(scenes_job: Unbroken, tmp_path: Path, run_command) -> None:
    (tmp_path / "there").mkdir()
    output = tmp_path / "there" / "result.mp4"
    with read_only(tmp_path / "there"):
        ended = run_command(*scenes_job.job.arguments(tmp_path / "cache", output))
    assert str(output) in assert_one_sentence(ended, 7)
    assert ": running" not in ended.stderr


def test_source_on_a_read_only_disk_is_as_good(scenes_job: Unbroken, tmp_path: Path, run_command) -> None:
    with read_only(Path(scenes_job.job.words[0]).parent):
        ended = run_command(*scenes_job.job.arguments(tmp_path / "cache", tmp_path / "result.mp4"))
    assert ended.exit_code == 0, ended.stderr
    assert sha256(tmp_path / "result.mp4") == scenes_job.result
