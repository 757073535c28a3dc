"""Files that are either whole or absent, also after a power cut."""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from infinitetalk_cli.errors import writing_to

READ_BYTES = 1024 * 1024
TEMPORARY_PREFIX = "tmp-"
SIDECAR_SUFFIX = ".committed.json"


class FileRecord(BaseModel):
    """What a finished file looked like: enough to notice that it no longer does."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    size_bytes: int
    mtime_ns: int
    sha256: str


class _Sidecar(BaseModel):
    """The record of a committed file and its name: good files in each other's place are noticed, too."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    name: str
    record: FileRecord


def sha256_of(path: Path, advance: Callable[[int], None] | None = None) -> str:
    """Hash of the content, read in pieces; `advance` hears how many bytes each had."""
    digest = hashlib.sha256()
    with path.open("rb", buffering=0) as file:
        while piece := file.read(READ_BYTES):
            digest.update(piece)
            if advance is not None:
                advance(len(piece))
    return digest.hexdigest()


def record_of(path: Path) -> FileRecord:
    """The record of a file as it is now."""
    stat = path.stat()
    return FileRecord(size_bytes=stat.st_size, mtime_ns=stat.st_mtime_ns, sha256=sha256_of(path))


def is_intact(path: Path, record: FileRecord, *, always_hash: bool = False) -> bool:
    """Whether `path` still has the recorded content.

    The size is always compared, so a truncated file is noticed for the price of a stat. The content is
    hashed when the time stamp differs (somebody wrote or copied the file) or on demand: only bits that rot on
    the disk under an unchanged time stamp go unnoticed without `always_hash`.
    """
    try:
        stat = path.stat()
        if stat.st_size != record.size_bytes or not path.is_file():
            return False
        if stat.st_mtime_ns == record.mtime_ns and not always_hash:
            return True
        if sha256_of(path) != record.sha256:
            return False
    except OSError:
        return False
    if stat.st_mtime_ns != record.mtime_ns:
        _restore_mtime(path, stat.st_atime_ns, record.mtime_ns)
    return True


def _restore_mtime(path: Path, atime_ns: int, mtime_ns: int) -> None:
    """Give a copied, verified file its recorded time stamp, so that the next look costs no hash."""
    try:
        os.utime(path, ns=(atime_ns, mtime_ns))
    except OSError:
        return  # a cache that we may only read: it is hashed again next time


def temporary_for(final: Path) -> Path:
    """Where to write what `commit_file` will turn into `final`; it keeps the suffix."""
    return final.with_name(TEMPORARY_PREFIX + final.name)


def commit_file(temporary: Path, final: Path) -> FileRecord:
    """Make a completely written file appear under its final name, with a sidecar that `committed` checks.

    After this returns, the file survives SIGKILL and a power cut; before, it does not count as committed.
    """
    with writing_to(final):
        sync_file(temporary)
        record = record_of(temporary)
        for name in (final, sidecar_of(final)):
            make_way(name)
        os.replace(temporary, final)
    write_text_atomic(sidecar_of(final), _Sidecar(name=final.name, record=record).model_dump_json())
    return record


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Where to write what takes the place of `path` when the block ends well; its suffix is kept, its folder made.

    For files that need no record: several runs may write one at once, and the last one to end leaves its own, whole.

    Raises:
        OutputError, ResourceError: it cannot be written.
    """
    temporary = path.with_name(f"{TEMPORARY_PREFIX}{secrets.token_hex(4)}-{path.name}")
    try:
        with writing_to(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            yield temporary
            sync_file(temporary)
            os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def make_way(path: Path) -> None:
    """Remove a folder that stands where a file of ours belongs: no rename can replace it."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)


def committed(final: Path, *, always_hash: bool = False) -> bool:
    """Whether `final` was committed and still has its content (see `is_intact`)."""
    record = committed_record(final)
    return record is not None and is_intact(final, record, always_hash=always_hash)


def committed_record(final: Path) -> FileRecord | None:
    """What the sidecar of a committed file says of it, or `None`."""
    try:
        sidecar = _Sidecar.model_validate_json(sidecar_of(final).read_bytes())
    except (OSError, ValidationError):
        return None
    return sidecar.record if sidecar.name == final.name else None


def sidecar_of(final: Path) -> Path:
    """File that holds the record of `final`."""
    return final.with_name(final.name + SIDECAR_SUFFIX)


def write_text_atomic(path: Path, text: str) -> None:
    """Write UTF-8 `text` so that a reader sees the old file or the new one, never a part."""
    temporary = path.with_name(f"{TEMPORARY_PREFIX}{secrets.token_hex(4)}-{path.name}")
    with writing_to(path):
        try:
            with temporary.open("x", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)


def make_folder(path: Path) -> None:
    """Make a folder, and those it lies in, so that its name survives a power cut; `OSError` if that cannot be done."""
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    path.mkdir(parents=True, exist_ok=True)
    for folder in missing:
        with suppress(PermissionError):  # one may be allowed to add to a folder without being allowed to look at it
            sync_folder(folder.parent)


def sync_file(path: Path) -> None:
    """Wait until the content of `path` is on the disk."""
    handle = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_folder(path: Path) -> None:
    """Wait until the names in a folder are on the disk (Windows cannot open folders and does it)."""
    if os.name == "nt":
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
