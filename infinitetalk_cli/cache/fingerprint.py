"""Names for work: equal inputs give equal names, on any machine and in any process."""

from __future__ import annotations

import hashlib
import json
import logging
import math
import os
import stat as stat_flags
import time
from enum import Enum
from fractions import Fraction
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from infinitetalk_cli.cache.files import sha256_of
from infinitetalk_cli.cache.sealed import read_sealed, write_sealed
from infinitetalk_cli.errors import InfiniteTalkError, InputError
from infinitetalk_cli.progress import Progress

logger = logging.getLogger(__name__)

FINGERPRINT_BYTES = 12  # 96 bits: no accidental clash, and still short as a folder name

SETTLED_AFTER_NS = 2 * 10**9
"""A file written less than this ago may change again without a new time stamp (FAT counts in 2 s)."""


def fingerprint(data: object) -> str:
    """Short hex name of plain data: None, bool, int, float, str, Fraction, Enum, lists and dicts of these.

    Key order does not count, types do (1, 1.0 and True differ), floats count to the last bit, a tuple equals
    a list. Anything else is a `TypeError`; in particular a `Path`, because files count by content
    (`file_content_hash`) and not by where they lie.
    """
    text = json.dumps(_canonical(data), separators=(",", ":"), ensure_ascii=True)
    return hashlib.blake2b(text.encode("ascii"), digest_size=FINGERPRINT_BYTES).hexdigest()


def _canonical(data: object) -> object:
    """JSON that only equal data share: everything but text, bool, int and None is tagged with its kind."""
    if isinstance(data, Enum):  # before int and str, which an Enum may also be
        return ["enum", _canonical(data.value)]
    if data is None or isinstance(data, str | bool | int):
        return data
    if isinstance(data, float):
        if not math.isfinite(data):
            raise TypeError(f"{data} has no place in a fingerprint")
        return ["float", data.hex()]
    if isinstance(data, Fraction):
        return ["fraction", str(data)]
    if isinstance(data, list | tuple):
        return ["list", *(_canonical(item) for item in data)]
    if isinstance(data, dict):
        wrong = [key for key in data if type(key) is not str]
        if wrong:
            raise TypeError(f"keys of fingerprinted data are text, not {wrong[0]!r}")
        return ["dict", *([key, _canonical(data[key])] for key in sorted(data))]
    if isinstance(data, os.PathLike):
        raise TypeError(f"{data}: a path has no place in a fingerprint; hash the content")
    raise TypeError(f"{type(data).__name__} has no place in a fingerprint")


class _Memo(BaseModel):
    """A remembered hash, and the signs by which the file is known to be unchanged."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    path: str
    size_bytes: int
    mtime_ns: int
    ctime_ns: int
    inode: int
    sha256: str


def file_content_hash(path: Path, memo_dir: Path | None = None, progress: Progress | None = None) -> str:
    """SHA-256 of a file in constant memory; `InputError` if it cannot be read.

    With `memo_dir` the hash of an unchanged file (same absolute path, size, times and inode) is remembered
    there, so that a long video is read once and not at every run. `progress` hears bytes.
    """
    before = _stat(path)
    memo_path = _memo_path(path, memo_dir) if memo_dir is not None else None
    if memo_path is not None:
        known = _recall(memo_path)
        if known is not None and known == _memo(path, before, known.sha256):
            return known.sha256
    if progress is not None:
        progress.start(f"reading {path.name}", before.st_size)
    try:
        digest = sha256_of(path, progress.advance if progress is not None else None)
    except OSError as exc:
        raise InputError(f"{path}: cannot be read ({exc.strerror or exc})") from exc
    after = _stat(path)
    if _memo(path, before, digest) != _memo(path, after, digest):
        raise InputError(f"{path}: changed while it was read; run again when it is complete")
    if memo_path is not None and time.time_ns() - after.st_mtime_ns > SETTLED_AFTER_NS:
        _remember(memo_path, _memo(path, after, digest))
    return digest


def _stat(path: Path) -> os.stat_result:
    try:
        result = path.stat()
    except FileNotFoundError as exc:
        raise InputError(f"{path}: no such file") from exc
    except (OSError, ValueError) as exc:  # ValueError: a zero byte in the name
        raise InputError(f"{path}: cannot be read ({exc})") from exc
    if stat_flags.S_ISDIR(result.st_mode):
        raise InputError(f"{path}: is a folder; name a file")
    if not stat_flags.S_ISREG(result.st_mode):
        raise InputError(f"{path}: is not a regular file (a pipe or a device cannot be read twice)")
    return result


def _memo(path: Path, stat: os.stat_result, sha256: str) -> _Memo:
    return _Memo(
        path=os.fsencode(os.path.abspath(path)).decode("utf-8", "backslashreplace"),
        size_bytes=stat.st_size,
        mtime_ns=stat.st_mtime_ns,
        ctime_ns=stat.st_ctime_ns,
        inode=stat.st_ino,
        sha256=sha256,
    )


def _memo_path(path: Path, memo_dir: Path) -> Path:
    name = hashlib.blake2b(os.fsencode(os.path.abspath(path)), digest_size=FINGERPRINT_BYTES).hexdigest()
    return memo_dir / f"{name}.json"


def _recall(memo_path: Path) -> _Memo | None:
    return read_sealed(memo_path, _Memo)


def _remember(memo_path: Path, memo: _Memo) -> None:
    """A memo saves time, nothing else: a disk that refuses it must not stop the work."""
    try:
        memo_path.parent.mkdir(parents=True, exist_ok=True)
        write_sealed(memo_path, memo)
    except (OSError, UnicodeError, InfiniteTalkError) as exc:
        logger.debug("hash of %s not remembered: %s", memo.path, exc)
