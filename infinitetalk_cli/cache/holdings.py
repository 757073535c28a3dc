"""What lies in the cache: every finished entry and every work folder, with its size and when it was last of use."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from infinitetalk_cli.cache.fingerprint import FINGERPRINT_BYTES
from infinitetalk_cli.cache.store import (
    DONE_NAME,
    HASHES_NAME,
    JOBS_NAME,
    LOCKS_NAME,
    PARTIAL_SUFFIX,
    REPLACED_SUFFIX,
    Store,
)

_HEX_DIGITS = 2 * FINGERPRINT_BYTES
_SUFFIXES = f"{re.escape(PARTIAL_SUFFIX)}|{re.escape(REPLACED_SUFFIX)}"
_OURS = re.compile(rf"[0-9a-f]{{{_HEX_DIGITS}}}({_SUFFIXES})?")


class HoldingState(StrEnum):
    """Finished; begun, and perhaps to be resumed; or left by a run that was killed while it removed it."""

    FINISHED = "finished"
    BEGUN = "begun"
    LEFTOVER = "leftover"


@dataclass(frozen=True)
class Holding:
    """One folder of a stage; `last_used_s` is in seconds since the epoch."""

    path: Path
    stage: str
    fingerprint: str
    state: HoldingState
    size_bytes: int
    last_used_s: float

    @property
    def work(self) -> tuple[str, str]:
        """What it is the result of: stage and fingerprint."""
        return self.stage, self.fingerprint

    def as_dict(self) -> dict[str, str | int]:
        """What it is and how large, as plain data."""
        return {
            "stage": self.stage,
            "fingerprint": self.fingerprint,
            "state": str(self.state),
            "bytes": self.size_bytes,
        }


def holdings(store: Store) -> tuple[Holding, ...]:
    """All entries and work folders, by stage and name; empty for a cache that does not exist.

    Whatever else lies in the folder that we were given is not ours, and not counted.
    """
    return tuple(_holding(folder) for folder in _folders(store))


def _folders(store: Store) -> Iterator[Path]:
    if not store.root.is_dir():
        return
    for stage in sorted(store.root.iterdir()):
        if stage.is_dir() and stage.name not in (LOCKS_NAME, HASHES_NAME, JOBS_NAME):
            named = (path for path in stage.iterdir() if _OURS.fullmatch(path.name))
            yield from sorted(path for path in named if path.is_dir())


def _holding(folder: Path) -> Holding:
    return Holding(
        path=folder,
        stage=folder.parent.name,
        fingerprint=folder.name.split(".")[0],
        state=_state(folder),
        size_bytes=size_of_folder(folder),
        last_used_s=_last_used(folder),
    )


def _state(folder: Path) -> HoldingState:
    if folder.name.endswith(PARTIAL_SUFFIX):
        return HoldingState.BEGUN
    return HoldingState.LEFTOVER if folder.name.endswith(REPLACED_SUFFIX) else HoldingState.FINISHED


def _last_used(folder: Path) -> float:
    """Of an unfinished folder, when something in it was last written."""
    done = folder / DONE_NAME
    try:
        return done.stat().st_mtime if done.is_file() else _newest(folder)
    except OSError:
        return 0.0  # somebody else is cleaning too


def _newest(folder: Path) -> float:
    return max([folder.stat().st_mtime, *(stat.st_mtime for stat in _stats_below(folder, with_folders=True))])


def size_of_folder(folder: Path) -> int:
    """Bytes of all files below `folder`; links count as themselves."""
    return sum(stat.st_size for stat in _stats_below(folder))


def _stats_below(folder: Path, with_folders: bool = False) -> Iterator[os.stat_result]:
    """Of everything below `folder`; what vanishes meanwhile is left out: a run may be at work there."""
    for place, folders, files in os.walk(folder):
        for name in (*files, *folders) if with_folders else files:
            with suppress(OSError):
                yield os.lstat(os.path.join(place, name))
