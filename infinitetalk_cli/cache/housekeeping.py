"""Removing what is no longer wanted: least recently used first, and nothing that anybody works on."""

from __future__ import annotations

import logging
import math
import os
import shutil
import time
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infinitetalk_cli.cache.files import TEMPORARY_PREFIX
from infinitetalk_cli.cache.holdings import Holding, HoldingState, holdings
from infinitetalk_cli.cache.lock import hold_lock
from infinitetalk_cli.cache.store import (
    HASHES_NAME,
    JOBS_NAME,
    LOCKS_NAME,
    REPLACED_SUFFIX,
    SESSION_PREFIX,
    SESSION_SUFFIX,
    USES_SUFFIX,
    Store,
)
from infinitetalk_cli.errors import LockedError, OutputError, writing_to

logger = logging.getLogger(__name__)

Work = tuple[str, str]
"""Stage and fingerprint."""

_FORGOTTEN_AFTER_S = 24 * 60 * 60
_CLOCK_STEP_S = 2.0  # the coarsest time stamps of a file system (FAT)


@dataclass(frozen=True)
class PruneRules:
    """What may go. `max_bytes`: the least recently used, until no more than that is left. `older_than_s`: what was
    last used longer ago. Either is reason enough; without both everything goes.

    Work that can be resumed stays, with what was finished for it (`resumable`), unless `unfinished`.
    """

    max_bytes: int | None = None
    older_than_s: float | None = None
    unfinished: bool = False


@dataclass(frozen=True)
class PruneReport:
    """What was removed (or would be), what stayed because somebody uses it, and how much is left in the cache."""

    removed: tuple[Holding, ...]
    in_use: tuple[Holding, ...]
    left_bytes: int
    resumable_bytes: int
    """Of `left_bytes`, what stayed because an interrupted job goes on from it."""

    @property
    def freed_bytes(self) -> int:
        """Sum of what was removed."""
        return sum(holding.size_bytes for holding in self.removed)

    def as_dict(self) -> dict[str, Any]:
        """The report as plain data, for `--json`."""
        return {
            "removed": [holding.as_dict() for holding in self.removed],
            "freed_bytes": self.freed_bytes,
            "left_bytes": self.left_bytes,
            "in_use": len(self.in_use),
            "resumable_bytes": self.resumable_bytes,
        }


def prune(
    store: Store, rules: PruneRules, resumable: Collection[Work] = frozenset(), *, dry_run: bool = False
) -> PruneReport:
    """Remove entries and work folders as `rules` say, the least recently used first.

    What a running job works on, or has used since it began, is left alone.

    Raises:
        OutputError: something cannot be removed (a read-only cache).
    """
    found = sorted(holdings(store), key=lambda holding: holding.last_used_s)
    sessions = Sessions(store)
    left_bytes = sum(holding.size_bytes for holding in found)
    removed, in_use, resumable_bytes = [], [], 0
    for holding in found:
        if not _is_wanted_gone(holding, rules, left_bytes):
            continue
        if not rules.unfinished and (holding.state is HoldingState.BEGUN or holding.work in resumable):
            resumable_bytes += holding.size_bytes
        elif sessions.need(holding) or not (dry_run or _remove_unless_held(store, holding)):
            in_use.append(holding)
        else:
            removed.append(holding)
            left_bytes -= holding.size_bytes
    return PruneReport(tuple(removed), tuple(in_use), left_bytes, resumable_bytes)


def _is_wanted_gone(holding: Holding, rules: PruneRules, left_bytes: int) -> bool:
    if holding.state is HoldingState.LEFTOVER or (rules.max_bytes is None and rules.older_than_s is None):
        return True
    is_old = rules.older_than_s is not None and holding.last_used_s <= time.time() - rules.older_than_s
    return is_old or (rules.max_bytes is not None and left_bytes > rules.max_bytes)


def remove_files(folder: Path, before_s: float, prefix: str = "") -> None:
    """Remove files directly in `folder` that were last written before that time (seconds since the epoch)."""
    if not folder.is_dir():
        return
    for path in folder.iterdir():
        try:
            if path.name.startswith(prefix) and path.is_file() and path.stat().st_mtime < before_s:
                path.unlink()
        except OSError as exc:
            logger.debug("could not remove %s: %s", path, exc)


def sweep(store: Store) -> None:
    """Remove what runs that were killed while they wrote a small file left behind, once it is a day old."""
    limit = time.time() - _FORGOTTEN_AFTER_S
    for name in (HASHES_NAME, JOBS_NAME, LOCKS_NAME, "pace", "receipts"):
        remove_files(store.root / name, before_s=limit, prefix=TEMPORARY_PREFIX)


class Sessions:
    """The runs that are going on, and what they need."""

    def __init__(self, store: Store) -> None:
        self.since_s = math.inf
        """When the longest of them began, in seconds since the epoch; infinity if none runs."""
        self.used: set[str] = set()
        for path in (store.root / LOCKS_NAME).glob(f"{SESSION_PREFIX}*{SESSION_SUFFIX}"):
            if not _is_left_behind(path):
                since_ns = path.name.removeprefix(SESSION_PREFIX).split("-")[0]
                self.since_s = min(self.since_s, int(since_ns) / 1e9 - _CLOCK_STEP_S)
                self.used |= _uses(path)

    def need(self, holding: Holding) -> bool:
        """Whether one of them has used `holding` since it began: as it noted, or by the time stamp."""
        return f"{holding.stage}/{holding.fingerprint}" in self.used or holding.last_used_s >= self.since_s


def _is_left_behind(path: Path) -> bool:
    """Whether the run that made this session file is gone; then the file goes too. In doubt it is not."""
    try:
        with hold_lock(path, "a session"), suppress(OSError):  # Windows removes no file that is open
            path.with_suffix(USES_SUFFIX).unlink(missing_ok=True)
            path.unlink(missing_ok=True)
    except (LockedError, OutputError):  # a cache that can only be read
        return False
    return True


def _uses(path: Path) -> set[str]:
    try:
        return set(path.with_suffix(USES_SUFFIX).read_text(encoding="ascii").splitlines())
    except (OSError, ValueError):
        return set()


def _remove_unless_held(store: Store, holding: Holding) -> bool:
    """Remove one folder under its lock; False if another run holds it, or one that began meanwhile needs it."""
    folder = holding.path
    try:
        with store.lock(holding.stage, holding.fingerprint), writing_to(folder):
            if not folder.exists():
                return True
            if Sessions(store).need(holding):  # removing the others may have taken minutes
                return False
            doomed = folder.with_name(holding.fingerprint + REPLACED_SUFFIX)
            if folder != doomed:
                if doomed.exists():
                    shutil.rmtree(doomed)
                os.replace(folder, doomed)  # a reader sees the entry whole or not at all
            shutil.rmtree(doomed)
    except LockedError:
        return False
    return True
