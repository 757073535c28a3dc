"""How much the cache holds, and removing what is no longer wanted."""

from __future__ import annotations

import logging
import math
import os
import re
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from infinitetalk_cli.cache.fingerprint import FINGERPRINT_BYTES
from infinitetalk_cli.cache.lock import hold_lock
from infinitetalk_cli.cache.store import (
    DONE_NAME,
    HASHES_NAME,
    LOCKS_NAME,
    PARTIAL_SUFFIX,
    REPLACED_SUFFIX,
    SESSION_PREFIX,
    Store,
)
from infinitetalk_cli.errors import LockedError, writing_to

logger = logging.getLogger(__name__)

_CLOCK_STEP_S = 2.0  # the coarsest time stamps of a file system (FAT)
_HEX_DIGITS = 2 * FINGERPRINT_BYTES
_SUFFIXES = f"{re.escape(PARTIAL_SUFFIX)}|{re.escape(REPLACED_SUFFIX)}"
_OURS = re.compile(rf"[0-9a-f]{{{_HEX_DIGITS}}}({_SUFFIXES})?")


@dataclass(frozen=True)
class StageUsage:
    """What one stage keeps on disk."""

    stage: str
    num_entries: int
    num_partial: int
    size_bytes: int


@dataclass(frozen=True)
class CleanReport:
    """What `clean` removed (or would remove), and what it left because somebody works on it."""

    num_removed: int
    freed_bytes: int
    num_in_use: int


def usage(store: Store) -> tuple[StageUsage, ...]:
    """One line per stage, sorted by name; empty for a cache that does not exist."""
    totals: dict[str, list[int]] = {}
    for folder in _folders(store):
        total = totals.setdefault(folder.parent.name, [0, 0, 0])
        total[0 if _is_entry(folder) else 1] += 1
        total[2] += _size_bytes(folder)
    return tuple(StageUsage(stage, *total) for stage, total in sorted(totals.items()))


def clean(
    store: Store,
    *,
    older_than_s: float = 0.0,
    keep_partial: bool = True,
    dry_run: bool = False,
) -> CleanReport:
    """Remove entries not used for `older_than_s`; unfinished work only when `keep_partial` is off.

    What another run works on, or has used since it began, is left alone. Remembered hashes go with the same
    age; they cost little to remake.
    """
    num_removed = freed_bytes = num_in_use = 0
    limit = time.time() - older_than_s
    needed_since = _oldest_session(store)
    for folder in _folders(store):
        last_used = _last_used(folder)
        too_young = older_than_s > 0 and last_used > limit
        if too_young or (keep_partial and folder.name.endswith(PARTIAL_SUFFIX)):
            continue
        if last_used >= needed_since:
            num_in_use += 1
            continue
        size_bytes = _size_bytes(folder)
        if not dry_run and not _remove_unless_held(store, folder):
            num_in_use += 1
            continue
        num_removed += 1
        freed_bytes += size_bytes
    if not dry_run:
        _remove_old_hashes(store, limit)
    return CleanReport(num_removed, freed_bytes, num_in_use)


def _folders(store: Store) -> Iterator[Path]:
    """All entry and work folders; whatever else lies in the folder that we were given is not ours."""
    if not store.root.is_dir():
        return
    for stage in sorted(store.root.iterdir()):
        if stage.is_dir() and stage.name not in (LOCKS_NAME, HASHES_NAME):
            named = (path for path in stage.iterdir() if _OURS.fullmatch(path.name))
            yield from sorted(path for path in named if path.is_dir())


def _oldest_session(store: Store) -> float:
    """Seconds since the epoch when the longest of the running sessions began; infinity if none runs."""
    oldest = math.inf
    for path in (store.root / LOCKS_NAME).glob(f"{SESSION_PREFIX}*.lock"):
        try:
            with hold_lock(path, "a session"):
                path.unlink(missing_ok=True)  # left behind by a killed run
        except LockedError:
            since_ns = path.name.removeprefix(SESSION_PREFIX).split("-")[0]
            oldest = min(oldest, int(since_ns) / 1e9 - _CLOCK_STEP_S)
    return oldest


def _is_entry(folder: Path) -> bool:
    return not folder.name.endswith((PARTIAL_SUFFIX, REPLACED_SUFFIX))


def _last_used(folder: Path) -> float:
    """Seconds since the epoch; of an unfinished folder, when something in it was last written."""
    done = folder / DONE_NAME
    try:
        return done.stat().st_mtime if done.is_file() else _newest(folder)
    except OSError:
        return 0.0


def _newest(folder: Path) -> float:
    return max([folder.stat().st_mtime, *(path.stat().st_mtime for path in folder.rglob("*"))])


def _size_bytes(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.lstat().st_size if not path.is_dir() else 0
        except OSError:
            continue  # somebody else is cleaning too
    return total


def _remove_unless_held(store: Store, folder: Path) -> bool:
    """Remove one folder under its lock; False if another run holds it."""
    stage, fingerprint = folder.parent.name, folder.name.split(".")[0]
    try:
        with store.lock(stage, fingerprint), writing_to(folder):
            doomed = folder.with_name(fingerprint + REPLACED_SUFFIX)
            if folder != doomed:
                if doomed.exists():
                    shutil.rmtree(doomed)
                os.replace(folder, doomed)  # a reader sees the entry whole or not at all
            shutil.rmtree(doomed)
    except LockedError:
        return False
    return True


def _remove_old_hashes(store: Store, limit: float) -> None:
    if not store.hashes_dir.is_dir():
        return
    for path in store.hashes_dir.iterdir():
        try:
            if path.stat().st_mtime <= limit:
                path.unlink()
        except OSError:
            logger.debug("could not remove %s", path)
