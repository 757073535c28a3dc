"""The user's files are deleted, replaced, cut short or locked away, between runs and while one is going on."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import synthetic
from conftest import Unbroken
from footage import Shot, join, write_film
from jobs import RATE, Ended, Job, assert_one_sentence, chunk_files, contents, finish, sha256, start, wait_until

Change = Callable[[Path], None]


@pytest.fixture
def job(scenes_job: Unbroken, tmp_path: Path) -> Job:
    """The job with files of its own, to be ruined."""
    folder = tmp_path / "files"
    shutil.copytree(Path(scenes_job.job.words[0]).parent, folder, ignore=shutil.ignore_patterns("whole*"))
    old = str(Path(scenes_job.job.words[0]).parent)
    return Job("scenes", tuple(word.replace(old, str(folder)) for word in scenes_job.job.words))


def _another_film(path: Path) -> None:
    film = join([Shot(11, 1.1), Shot(12, 1.4)], RATE)
    write_film(path.with_name("new.mp4"), film, RATE).replace(path)


def _cut_short(path: Path) -> None:
    os.truncate(path, path.stat().st_size * 2 // 3)


def _another_voice(path: Path) -> None:
    synthetic.make_audio(path.with_name("new.wav"), synthetic.speech(2.5, seed=9)).replace(path)


def _folder_instead(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _same_size_and_time(path: Path) -> None:
    """Other bytes, as if nothing had happened: only the time of the last change of the inode tells."""
    stat, data = path.stat(), bytearray(path.read_bytes())
    data[-1000] ^= 1
    path.write_bytes(bytes(data))
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


QUICK = ("film deleted", "film cut short", "profile deleted")
BETWEEN: dict[str, tuple[str, Change, int]] = {
    "film deleted": ("source.mp4", Path.unlink, 4),
    "film cut short": ("source.mp4", _cut_short, 4),
    "film is a folder": ("source.mp4", _folder_instead, 4),
    "voice deleted": ("voice.wav", Path.unlink, 4),
    "voice emptied": ("voice.wav", lambda path: os.truncate(path, 0), 4),
    "profile deleted": ("small.yaml", Path.unlink, 3),
}


@pytest.mark.parametrize(
    "case", [case if case in QUICK else pytest.param(case, marks=pytest.mark.slow) for case in BETWEEN]
)
def test_lost_between_runs(case: str, scenes_job: Unbroken, job: Job, tmp_path: Path, run_command) -> None:
    """Told at once, by name; the result that was delivered stays as it is."""
    name, change, exit_code = BETWEEN[case]
    shutil.copytree(scenes_job.cache, tmp_path / "cache")
    arguments = job.arguments(tmp_path / "cache", tmp_path / "result.mp4")
    assert run_command(*arguments).exit_code == 0
    change(tmp_path / "files" / name)
    error = assert_one_sentence(run_command(*arguments), exit_code)
    assert name in error
    assert sha256(tmp_path / "result.mp4") == scenes_job.result


@pytest.mark.parametrize(
    ("name", "change", "made_again"),
    [
        ("source.mp4", _another_film, {"demux", "scenes", "generate", "remux"}),
        pytest.param("voice.wav", _another_voice, {"audio_embedding", "generate", "remux"}, marks=pytest.mark.slow),
        ("voice.wav", _same_size_and_time, {"audio_embedding", "generate", "remux"}),
    ],
)
def test_changed_between_runs(
    name: str, change: Change, made_again: set[str], scenes_job: Unbroken, job: Job, tmp_path: Path, run_command
) -> None:
    """What depends on the file is made again, and equals a run that has never seen the old one."""
    shutil.copytree(scenes_job.cache, tmp_path / "cache")
    assert run_command(*job.arguments(tmp_path / "cache", tmp_path / "result.mp4")).exit_code == 0
    change(tmp_path / "files" / name)
    ended = run_command(*job.arguments(tmp_path / "cache", tmp_path / "result.mp4"))
    assert ended.exit_code == 0, ended.stderr
    assert {stage["name"] for stage in ended.document["stages"] if not stage["reused"]} >= made_again
    fresh = run_command(*job.arguments(tmp_path / "fresh", tmp_path / "fresh.mp4"))
    assert fresh.exit_code == 0 and sha256(tmp_path / "result.mp4") == sha256(tmp_path / "fresh.mp4")


def _during(job: Job, folder: Path, disturb: Callable[[], None]) -> Ended:
    """Run `job`; after its first chunk stop it, `disturb`, and let it go on."""
    cache = folder / "cache"
    process = start(job.command(cache, folder / "out" / "result.mp4"))
    wait_until(lambda: bool(chunk_files(cache)), process)
    process.send_signal(signal.SIGSTOP)
    disturb()
    process.send_signal(signal.SIGCONT)
    return finish(process)


def _check_resumed(unbroken: Unbroken, job: Job, folder: Path, run_command) -> None:
    """With the old files back in their places, the same command ends with the same bytes."""
    files = folder / "files"
    shutil.rmtree(files)
    shutil.copytree(Path(unbroken.job.words[0]).parent, files, ignore=shutil.ignore_patterns("whole*"))
    output = folder / "out" / "result.mp4"
    ended = run_command(*job.arguments(folder / "cache", output))
    assert ended.exit_code == 0, ended.stderr
    assert sha256(output) == unbroken.result
    wrong = contents(folder / "cache")
    assert all(wrong[name] == digest for name, digest in unbroken.files.items())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "change"),
    [("source.mp4", Path.unlink), ("source.mp4", _cut_short), ("source.mp4", _another_film)],
    ids=["deleted", "cut short", "replaced"],
)
def test_film_lost_during_a_run(
    name: str, change: Change, scenes_job: Unbroken, job: Job, tmp_path: Path, run_command
) -> None:
    """`python -m pytest -m slow tests/faults/test_lost_sources.py`."""
    ended = _during(job, tmp_path, lambda: change(tmp_path / "files" / name))
    assert name in assert_one_sentence(ended, 4)
    assert not (tmp_path / "out" / "result.mp4").exists()
    _check_resumed(scenes_job, job, tmp_path, run_command)


@pytest.mark.slow
def test_folder_of_the_result_vanishes_during_a_run(
    scenes_job: Unbroken, job: Job, tmp_path: Path, run_command
) -> None:
    """A drive that was unplugged and its mount point removed: made anew, and the result is there.

    `python -m pytest -m slow tests/faults/test_lost_sources.py`.
    """
    ended = _during(job, tmp_path, lambda: shutil.rmtree(tmp_path / "out"))
    assert ended.exit_code == 0, ended.stderr
    assert sha256(tmp_path / "out" / "result.mp4") == scenes_job.result


@pytest.mark.slow
def test_something_else_is_in_the_way_of_the_result(
    scenes_job: Unbroken, job: Job, tmp_path: Path, run_command
) -> None:
    """`python -m pytest -m slow tests/faults/test_lost_sources.py`."""

    def block() -> None:
        shutil.rmtree(tmp_path / "out")
        (tmp_path / "out").write_text("a file where the folder was")

    ended = _during(job, tmp_path, block)
    assert "out" in assert_one_sentence(ended, 7)
    (tmp_path / "out").unlink()
    again = run_command(*job.arguments(tmp_path / "cache", tmp_path / "out" / "result.mp4"))
    assert again.exit_code == 0 and all(stage["reused"] for stage in again.document["stages"])
    assert sha256(tmp_path / "out" / "result.mp4") == scenes_job.result


@pytest.mark.slow
def test_cache_deleted_during_a_run(scenes_job: Unbroken, job: Job, tmp_path: Path, run_command) -> None:
    """Somebody empties the cache by hand while the job runs: one sentence or a good result, and never a bug.

    `python -m pytest -m slow tests/faults/test_lost_sources.py`.
    """
    ended = _during(job, tmp_path, lambda: shutil.rmtree(tmp_path / "cache"))
    if ended.exit_code:
        assert_one_sentence(ended, 7)
    _check_resumed(scenes_job, job, tmp_path, run_command)


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="only root can run the command as somebody else")
def test_file_that_may_not_be_read(job: Job, tmp_path: Path) -> None:
    """By others than root, whom mode bits do stop: `python -m pytest -m slow tests/faults/test_lost_sources.py`."""
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == 0 and not folder.stat().st_mode & 0o001 and folder != Path("/"):
            pytest.skip(f"{folder} cannot be entered by others")
    (tmp_path / "files" / "source.mp4").chmod(0o600)
    (tmp_path / "cache").mkdir(mode=0o777)
    (tmp_path / "cache").chmod(0o777)
    process = start(job.command(tmp_path / "cache", tmp_path / "cache" / "result.mp4"), user=65534, group=65534)
    assert "source.mp4" in assert_one_sentence(finish(process), 4)
