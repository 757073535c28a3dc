"""A power cut after any call of a run: what counts as finished is whole, and what was finished is still there."""

from __future__ import annotations

import random
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Unbroken
from jobs import chunk_files, contents, differences, sha256
from power import Moment, Recorder, restore

from infinitetalk_cli.cache.files import committed
from infinitetalk_cli.cache.store import Store

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the names of open files are read from /proc")

SEED = 3


@pytest.fixture(scope="module")
def moments(scenes_job: Unbroken, tmp_path_factory: pytest.TempPathFactory, run_command_in) -> list[Moment]:
    """The disk after every call of one run that makes something durable; cache and result each in a folder."""
    folder = tmp_path_factory.mktemp("recorded")
    roots = [folder / "cache", folder / "results"]
    for root in roots:
        root.mkdir()
    with pytest.MonkeyPatch.context() as monkeypatch, Recorder(roots).active(monkeypatch) as recorder:
        ended = run_command_in(*scenes_job.job.arguments(roots[0], roots[1] / "result.mp4"))
    assert ended.exit_code == 0, ended.stderr
    return recorder.moments


def _distinct(moments: list[Moment], folder: Path) -> Iterator[tuple[Moment, Path, Path]]:
    """(moment, cache, result) of every outcome of every moment that differs from those before."""
    chance, known = random.Random(SEED), set()
    for moment in moments:
        for lost in moment.outcomes(chance):
            signs = hash(frozenset((number, name, kept) for number, name, kept in moment.files(lost)))
            if signs not in known:
                known.add(signs)
                shutil.rmtree(folder, ignore_errors=True)
                restore(moment, lost, [folder / "cache", folder / "results"])
                yield moment, folder / "cache", folder / "results" / "result.mp4"


def _whole_entries(unbroken: Unbroken, cache: Path) -> list[str]:
    """The entries that the store takes for finished; each must have every byte."""
    found = []
    for name in sorted({name.rsplit("/", maxsplit=name.count("/") - 1)[0] for name in unbroken.files}):
        stage, fingerprint = name.split("/")
        if Store(cache).lookup(stage, fingerprint) is not None:
            found.append(name)
            files = {file: digest for file, digest in unbroken.files.items() if file.startswith(f"{name}/")}
            assert all(sha256(cache / file) == digest for file, digest in files.items()), name
    return found


def _whole_chunks(unbroken: Unbroken, cache: Path) -> list[str]:
    """The chunks that count as finished; each must have every byte."""
    found = [path for path in chunk_files(cache) if committed(path)]
    expected = {Path(name).name: digest for name, digest in unbroken.files.items() if name.startswith("generate/")}
    for path in found:
        assert sha256(path) == expected[path.name], path.name
    return [path.name for path in found]


def test_what_counts_is_whole_and_what_was_finished_stays(
    scenes_job: Unbroken, moments: list[Moment], tmp_path: Path
) -> None:
    """After every third call; the slow test below takes them all."""
    assert len(moments) > 100
    assert {moment.call.split()[0] for moment in moments} >= {"fsync", "replace"}
    half_finished = 0
    for moment, cache, result in _distinct(moments[::3], tmp_path / "after"):
        entries, chunks = _whole_entries(scenes_job, cache), _whole_chunks(scenes_job, cache)
        assert not result.exists() or sha256(result) == scenes_job.result, moment.call
        half_finished += 0 < len(entries) < len(scenes_job.stages) or 0 < len(chunks) < 6
    assert half_finished > 5
    worst = next(moments[-1].outcomes(random.Random(SEED)))
    shutil.rmtree(tmp_path / "after")
    restore(moments[-1], worst, [tmp_path / "after" / "cache", tmp_path / "after" / "results"])
    assert differences(scenes_job.files, contents(tmp_path / "after" / "cache")) == [], "finished, and lost"
    assert sha256(tmp_path / "after" / "results" / "result.mp4") == scenes_job.result


def test_a_finished_chunk_is_never_lost_again(scenes_job: Unbroken, moments: list[Moment], tmp_path: Path) -> None:
    """From the moment on at which a chunk's record has its name and the names are synced, in the worst outcome."""
    most = 0
    for moment in moments[::3] + moments[-1:]:
        shutil.rmtree(tmp_path / "after", ignore_errors=True)
        worst = next(moment.outcomes(random.Random(SEED)))
        restore(moment, worst, [tmp_path / "after" / "cache", tmp_path / "after" / "results"])
        count = len(_whole_chunks(scenes_job, tmp_path / "after" / "cache"))
        assert count >= most, f"after {moment.call}: {count} chunks are left of {most}"
        most = count
    assert most == len(chunk_files(scenes_job.cache))


def _resume(unbroken: Unbroken, moment: Moment, cache: Path, result: Path, run_command) -> None:
    ended = run_command(*unbroken.job.arguments(cache, result))
    assert ended.exit_code == 0 and "Traceback" not in ended.stderr, (moment.call, ended.stderr)
    assert sha256(result) == unbroken.result, moment.call
    assert differences(unbroken.files, contents(cache)) == [], moment.call


def test_the_same_command_goes_on_after_a_power_cut(
    scenes_job: Unbroken, moments: list[Moment], tmp_path: Path, run_command
) -> None:
    chosen = random.Random(SEED).sample(range(len(moments)), 2)
    for number in chosen:
        for moment, cache, result in list(_distinct([moments[number]], tmp_path / "after"))[-1:]:
            _resume(scenes_job, moment, cache, result, run_command)


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_the_same_command_goes_on_after_every_power_cut(
    scenes_job: Unbroken, moments: list[Moment], tmp_path: Path, run_command
) -> None:
    """`python -m pytest -m slow tests/faults/test_power_cut.py`: from every outcome of every moment."""
    for moment, cache, result in _distinct(moments, tmp_path / "after"):
        _resume(scenes_job, moment, cache, result, run_command)
