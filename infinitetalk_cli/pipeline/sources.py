"""The files a job is made from: hashed once, and watched so that the hash stays true."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from infinitetalk_cli.cache.fingerprint import file_content_hash
from infinitetalk_cli.cache.store import Store
from infinitetalk_cli.errors import InputError
from infinitetalk_cli.progress import Progress

Signature = tuple[int, int, int]
"""Size, time stamp and inode: what changes when a file is written again."""


@dataclass(frozen=True)
class SourceFile:
    """A file of the user's, with the hash of its content when the job was planned."""

    path: Path
    sha256: str
    signature: Signature


def read_source(path: Path, store: Store, progress: Progress) -> SourceFile:
    """Hash `path`, or recall its hash if it has not changed since.

    Raises:
        InputError: it cannot be read, or changes while it is read.
    """
    signature = _signature(path)
    return SourceFile(path, file_content_hash(path, store.hashes_dir, progress), signature)


def check_unchanged(sources: Iterable[SourceFile]) -> None:
    """What was computed from a file that has changed meanwhile must not be kept under its old hash.

    Raises:
        InputError: one of `sources` is not the file that was hashed.
    """
    for source in sources:
        if _signature(source.path) != source.signature:
            raise InputError(f"{source.path}: changed while the job ran; run again when it is complete")


def _signature(path: Path) -> Signature:
    try:
        stat = os.stat(path)
    except OSError as exc:
        raise InputError(f"{path}: cannot be read ({exc.strerror or exc})") from exc
    return stat.st_size, stat.st_mtime_ns, stat.st_ino
