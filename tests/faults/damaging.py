"""Damage to the files of a cache, of the kinds that disks and people do, decided by a seed."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

LOCKS = "locks"


@dataclass(frozen=True)
class Damage:
    """What was done to which file of the cache."""

    kind: str
    file: str


def flip_bits(path: Path, chance: random.Random, cache: Path) -> None:
    """One bit somewhere, under the old time stamp: rot on the disk."""
    data = bytearray(path.read_bytes())
    data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    _rewrite_unnoticed(path, bytes(data))


def zero_block(path: Path, chance: random.Random, cache: Path) -> None:
    """A block of zeros, under the old time stamp: a lost sector."""
    data = bytearray(path.read_bytes())
    length = min(len(data), chance.choice((1, 512, 4096)))
    start = chance.randrange(len(data) - length + 1)
    data[start : start + length] = bytes(length)
    _rewrite_unnoticed(path, bytes(data))


def truncate(path: Path, chance: random.Random, cache: Path) -> None:
    """The end is missing, maybe all of it."""
    os.truncate(path, chance.choice((0, chance.randrange(path.stat().st_size))))


def append(path: Path, chance: random.Random, cache: Path) -> None:
    """Something is added."""
    with path.open("ab") as file:
        file.write(chance.randbytes(chance.randrange(1, 2000)))


def remove(path: Path, chance: random.Random, cache: Path) -> None:
    """It is not there any more."""
    path.unlink()


def swap(path: Path, chance: random.Random, cache: Path) -> None:
    """It changes places with another file of the cache, each with its own time stamp."""
    other = chance.choice([candidate for candidate in cache_files(cache) if candidate != path])
    between = path.with_name("between")
    os.replace(path, between)
    os.replace(other, path)
    os.replace(between, other)


def copy_over(path: Path, chance: random.Random, cache: Path) -> None:
    """It becomes a copy of another file of the same kind, under its own old time stamp."""
    alike = [other for other in cache_files(cache) if other.suffix == path.suffix and other != path]
    if alike:
        _rewrite_unnoticed(path, chance.choice(alike).read_bytes())


def turn_into_folder(path: Path, chance: random.Random, cache: Path) -> None:
    """Where it was there is a folder with something in it."""
    path.unlink()
    path.mkdir()
    (path / "foreign").write_bytes(chance.randbytes(10))


def dangle(path: Path, chance: random.Random, cache: Path) -> None:
    """It becomes a symbolic link to nowhere."""
    path.unlink()
    path.symlink_to(path.parent / "nowhere")


def put_beside(path: Path, chance: random.Random, cache: Path) -> None:
    """A foreign file appears beside it; it stays as it is."""
    name = chance.choice(("notes.txt", ".DS_Store", "chunk-000900.mkv", "tmp-foreign", path.name + ".bak"))
    (path.parent / name).write_bytes(chance.randbytes(100))


def clear_folder(path: Path, chance: random.Random, cache: Path) -> None:
    """The whole folder that it lies in is gone."""
    shutil.rmtree(path.parent)


KINDS: dict[str, Callable[[Path, random.Random, Path], None]] = {
    kind.__name__: kind
    for kind in (
        flip_bits, zero_block, truncate, append, remove, swap, copy_over, turn_into_folder, dangle, put_beside,
        clear_folder,
    )
}  # fmt: skip


def cache_files(cache: Path) -> list[Path]:
    """All files of the cache that a run may read; not the locks and logs."""
    files = (path for path in cache.rglob("*") if path.is_file() and path.stat().st_size)
    return sorted(path for path in files if path.relative_to(cache).parts[0] not in (LOCKS, "logs"))


def damage(cache: Path, chance: random.Random, kind: str | None = None, name: str | None = None) -> Damage:
    """Do one damage to a file of the cache, both drawn unless named; the kinds of file have equal chances."""
    by_kind: dict[str, list[Path]] = {}
    for path in cache_files(cache):
        by_kind.setdefault(_kind_of(path.relative_to(cache)), []).append(path)
    kind = kind or chance.choice(sorted(KINDS))
    path = chance.choice(by_kind[name or chance.choice(sorted(by_kind))])
    KINDS[kind](path, chance, cache)
    return Damage(kind, str(path.relative_to(cache)))


def _kind_of(name: Path) -> str:
    """`generate/*.mkv`, `demux/done.json`, ...: files that the same code reads."""
    return f"{name.parts[0]}/{'*' + name.suffix if len(name.stem) > 12 or '-' in name.stem else name.name}"


def _rewrite_unnoticed(path: Path, data: bytes) -> None:
    stat = path.stat()
    path.write_bytes(data)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
