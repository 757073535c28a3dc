"""Damaged files in the cache: never a traceback, never another result; what is damaged is made again, and said so."""

from __future__ import annotations

import os
import random
import shutil
from pathlib import Path

import pytest
from conftest import Unbroken
from damaging import KINDS, Damage, cache_files, damage
from jobs import contents, differences, finished_files, sha256

QUICK = ("flip_bits", "swap", "turn_into_folder", "dangle")
SEED = int(os.environ.get("DAMAGE_SEED", "5"))
COUNT = int(os.environ.get("DAMAGE_COUNT", "100"))


def _begin_with(unbroken: Unbroken, folder: Path, *, finished: bool) -> tuple[Path, Path]:
    """A copy of the finished cache; or, without its last stage and half of the chunks, of an unfinished one."""
    cache, output = folder / "cache", folder / "result.mp4"
    shutil.rmtree(cache, ignore_errors=True)
    output.unlink(missing_ok=True)
    shutil.copytree(unbroken.cache, cache)
    if not finished:
        shutil.rmtree(cache / "remux")
        (entry,) = (path for path in (cache / "generate").iterdir())
        (entry / "done.json").unlink()
        for chunk in sorted((entry / "chunks").glob("chunk-*.mkv"))[3:]:
            for file in chunk.parent.glob(f"{chunk.stem}.*"):
                file.unlink()
        entry.rename(entry.with_name(entry.name + ".partial"))
    return cache, output


def _check_run(unbroken: Unbroken, cache: Path, output: Path, done: object, run_command) -> None:
    """The run after the damage ends well, with the same bytes; the one after it finds everything finished."""
    ended = run_command(*unbroken.job.arguments(cache, output))
    assert ended.exit_code == 0 and "Traceback" not in ended.stderr, (done, ended.stderr)
    assert sha256(output) == unbroken.result, (done, ended.stderr)
    log = "".join(path.read_text() for path in (cache / "logs").glob("*.log"))
    assert "Logging error" not in log
    again = run_command(*unbroken.job.arguments(cache, output))
    assert again.exit_code == 0 and again.document["status"] == "already done", (done, again.stderr)


def _wrong_in_cache(unbroken: Unbroken, cache: Path) -> list[str]:
    """Damaged files that are still in the entries; foreign ones do not count."""
    found = contents(cache)
    return [name for name in differences(unbroken.files, found) if name in unbroken.files and name in found]


@pytest.mark.parametrize(
    "kind", [kind if kind in QUICK else pytest.param(kind, marks=pytest.mark.slow) for kind in KINDS]
)
def test_each_kind_of_damage_to_an_unfinished_job(kind: str, scenes_job: Unbroken, tmp_path: Path, run_command) -> None:
    """To one file each; `python -m pytest -m slow tests/faults/test_damaged_cache.py` does the rest, and many more."""
    cache, output = _begin_with(scenes_job, tmp_path, finished=False)
    done = damage(cache, random.Random(f"{SEED} {kind}"), kind)
    _check_run(scenes_job, cache, output, done, run_command)
    assert _wrong_in_cache(scenes_job, cache) == [], done


def test_rotten_bit_in_each_kind_of_file_that_is_read_again(scenes_job: Unbroken, tmp_path: Path, run_command) -> None:
    """Under unchanged time stamps and sizes, in every entry at once; said for each file that the rest is made from."""
    cache, output = _begin_with(scenes_job, tmp_path, finished=False)
    chance = random.Random(SEED)
    rotten = [path for path in finished_files(cache).values() if "scenes" not in path.parts[-3]]
    rotten += list(cache.glob("generate/*/chunks/chunk-000001.mkv"))
    for path in rotten:
        KINDS["flip_bits"](path, chance, cache)
    ended = run_command(*scenes_job.job.arguments(cache, output))
    assert ended.exit_code == 0, ended.stderr
    assert sha256(output) == scenes_job.result
    assert "damaged" in ended.stderr
    assert _wrong_in_cache(scenes_job, cache) == []


def test_swapped_chunks_are_told_apart(scenes_job: Unbroken, tmp_path: Path, run_command) -> None:
    """Two good chunks in each other's place, each with its own record: only their content gives them away."""
    cache, output = _begin_with(scenes_job, tmp_path, finished=False)
    (folder,) = cache.glob("generate/*/chunks")
    first, third = (sorted(folder.glob(f"chunk-{index:06d}*")) for index in (0, 2))
    assert len(first) == len(third) >= 2
    for one, other in zip(first, third, strict=True):
        between = one.with_name("between")
        one.rename(between)
        other.rename(one)
        between.rename(other)
    _check_run(scenes_job, cache, output, Damage("swap", "chunks 0 and 2 with their records"), run_command)


def test_folders_where_chunks_belong(scenes_job: Unbroken, tmp_path: Path, run_command) -> None:
    """In the place of a chunk, and of the record of the next one: they make way."""
    cache, output = _begin_with(scenes_job, tmp_path, finished=False)
    (folder,) = cache.glob("generate/*/chunks")
    for name in ("chunk-000001.mkv", "chunk-000002.mkv.committed.json"):
        (folder / name).unlink()
        (folder / name / "foreign").mkdir(parents=True)
    _check_run(scenes_job, cache, output, Damage("turn_into_folder", "two of a chunk's files"), run_command)
    assert _wrong_in_cache(scenes_job, cache) == []


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_hundred_damages(scenes_job: Unbroken, tmp_path: Path, run_command) -> None:
    """`DAMAGE_SEED=7 python -m pytest -m slow tests/faults/test_damaged_cache.py`: one to three at once,
    a hundred times, into the finished cache and into that of an unfinished job in turn.
    """
    chance = random.Random(SEED)
    for number in range(COUNT):
        cache, output = _begin_with(scenes_job, tmp_path, finished=number % 2 == 0)
        done = [damage(cache, chance) for _ in range(chance.randint(1, 3)) if cache_files(cache)]
        _check_run(scenes_job, cache, output, (number, done), run_command)
