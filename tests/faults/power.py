"""What a power cut may leave of a folder: a model of a disk that drops whatever was not synced.

While a `Recorder` is active it follows every call that makes names or contents durable. POSIX promises little: the
bytes of a file are safe when the file was synced, a name (new, moved or removed) when its folder was. What was not
synced may have reached the disk or not, and names may overtake contents: that is how files of zero length come about.
So every moment has several outcomes, of which `Moment.outcomes` gives the two worst and a mixture.
"""

from __future__ import annotations

import os
import random
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

Inode = int
Names = dict[str, Inode]

CALLS = ("fsync", "replace", "rename", "link", "symlink", "unlink", "remove", "mkdir", "rmdir", "truncate")


@dataclass(frozen=True)
class Kept:
    """A file's bytes and time stamp."""

    data: bytes
    mtime_ns: int


@dataclass(frozen=True)
class Moment:
    """The disk just after a call: what is synced, and what a running program sees.

    `synced_names` and `seen_names` map folders to their names; folders are among the names of others.
    """

    call: str
    roots: tuple[Inode, ...]
    synced_names: dict[Inode, Names]
    seen_names: dict[Inode, Names]
    synced: dict[Inode, Kept]
    seen: dict[Inode, Kept]

    def outcomes(self, chance: random.Random) -> Iterator[dict[Inode, bool]]:
        """Which folders lose their unsynced names: all, none, some."""
        folders = list(self.seen_names)
        yield dict.fromkeys(folders, True)
        yield dict.fromkeys(folders, False)
        yield {folder: chance.random() < 0.5 for folder in folders}

    def files(self, lost: dict[Inode, bool]) -> Iterator[tuple[int, str, Kept | None]]:
        """(number of the root, relative name, content) of all that is left; None for a folder."""
        for number, root in enumerate(self.roots):
            for name, inode in self._below(root, "", lost):
                is_folder = inode in self.seen_names or inode in self.synced_names
                yield number, name, None if is_folder else self._content(inode)

    def _content(self, inode: Inode) -> Kept:
        """Only synced bytes are left, but the size and time may be there without them."""
        return self.synced.get(inode) or Kept(b"", self.seen[inode].mtime_ns)

    def _below(self, folder: Inode, prefix: str, lost: dict[Inode, bool]) -> Iterator[tuple[str, Inode]]:
        names = self.synced_names if lost.get(folder, True) else self.seen_names
        for name, inode in names.get(folder, {}).items():
            yield prefix + name, inode
            yield from self._below(inode, f"{prefix}{name}/", lost)


class Recorder:
    """Follows the calls of this process on everything below `roots`, which must exist and count as synced."""

    def __init__(self, roots: list[Path]) -> None:
        self.moments: list[Moment] = []
        self._roots = roots
        self._handles: dict[Inode, int] = {}
        self._synced_names: dict[Inode, Names] = {}
        self._synced: dict[Inode, Kept] = {}
        self._read: dict[Inode, tuple[tuple[int, int], Kept]] = {}
        for root in roots:
            self._synced_names[root.stat().st_ino] = {}

    @contextmanager
    def active(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[Recorder]:
        """Record during the body."""
        with monkeypatch.context() as patch:
            for name in CALLS:
                patch.setattr(os, name, self._followed(name, getattr(os, name)))
            try:
                yield self
            finally:
                for handle in self._handles.values():
                    os.close(handle)

    def _followed(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def followed(*args: Any, **kwargs: Any) -> Any:
            self._look()  # so that inodes are known, and held, before a call frees them
            result = call(*args, **kwargs)
            if name == "fsync":
                self._sync(args[0])
            self._record(f"{name} {args[0] if name != 'fsync' else os.readlink(f'/proc/self/fd/{args[0]}')}")
            return result

        return followed

    def _sync(self, handle: int) -> None:
        status = os.fstat(handle)
        if stat.S_ISDIR(status.st_mode):
            self._synced_names[status.st_ino] = {
                entry.name: entry.inode() for entry in os.scandir(f"/proc/self/fd/{handle}")
            }
        else:
            path = f"/proc/self/fd/{handle}"
            with open(path, "rb") as file:
                self._synced[status.st_ino] = Kept(file.read(), status.st_mtime_ns)

    def _record(self, call: str) -> None:
        names, contents = self._look()
        roots = tuple(root.stat().st_ino for root in self._roots)
        synced_names = {folder: dict(entries) for folder, entries in self._synced_names.items()}
        known = {inode: kept for inode, (_, kept) in self._read.items()} | contents
        self.moments.append(Moment(call, roots, synced_names, names, dict(self._synced), known))

    def _look(self) -> tuple[dict[Inode, Names], dict[Inode, Kept]]:
        names: dict[Inode, Names] = {}
        contents: dict[Inode, Kept] = {}
        for root in self._roots:
            for folder, _, _ in os.walk(root):
                entries = list(os.scandir(folder))
                names[os.stat(folder).st_ino] = {entry.name: entry.inode() for entry in entries}
                for entry in entries:
                    self._hold(entry)
                    if entry.is_file(follow_symlinks=False):
                        contents[entry.inode()] = self._content(entry)
        return names, contents

    def _hold(self, entry: os.DirEntry[str]) -> None:
        """Keep the inode from being used for another file when it is removed."""
        if entry.inode() not in self._handles and not entry.is_symlink():
            self._handles[entry.inode()] = os.open(entry.path, os.O_RDONLY)

    def _content(self, entry: os.DirEntry[str]) -> Kept:
        status = entry.stat()
        signs = (status.st_size, status.st_mtime_ns)
        known = self._read.get(status.st_ino)
        if known is None or known[0] != signs:
            with open(entry.path, "rb") as file:
                known = self._read[status.st_ino] = (signs, Kept(file.read(), status.st_mtime_ns))
        return known[1]


def restore(moment: Moment, lost: dict[Inode, bool], roots: list[Path]) -> None:
    """Write into the new folders `roots` what the power cut has left of the recorded ones."""
    for root in roots:
        root.mkdir(parents=True)
    for number, name, kept in moment.files(lost):
        path = roots[number] / name
        if kept is None:
            path.mkdir()
        else:
            path.write_bytes(kept.data)
            os.utime(path, ns=(kept.mtime_ns, kept.mtime_ns))
