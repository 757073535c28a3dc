"""Finished stages on disk, and the folders in which unfinished ones grow.

    ROOT/STAGE/FINGERPRINT/           a finished entry: the stage's files and done.json
    ROOT/STAGE/FINGERPRINT.partial/   work in progress, or what a stopped run left behind
    ROOT/locks/STAGE-FINGERPRINT.lock held while somebody works on it
    ROOT/locks/session-SINCE-PID.lock held as long as somebody needs what they looked up
    ROOT/locks/session-SINCE-PID.uses what that is
    ROOT/hashes/                      remembered hashes of source files
    ROOT/jobs/                        what each job was made from (see `pipeline.jobs`)

An entry appears by one rename, so it is whole or absent. A fingerprint names all that went in, so leftovers
under it always belong to the same work.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any

from pydantic import ValidationError

from infinitetalk_cli.cache.entries import DoneRecord, Entry
from infinitetalk_cli.cache.files import (
    SIDECAR_SUFFIX,
    TEMPORARY_PREFIX,
    FileRecord,
    committed_record,
    is_intact,
    make_folder,
    record_of,
    sync_file,
    sync_folder,
    write_text_atomic,
)
from infinitetalk_cli.cache.lock import hold_lock
from infinitetalk_cli.errors import OutputError, writing_to
from infinitetalk_cli.progress import Progress

logger = logging.getLogger(__name__)

DONE_NAME = "done.json"
PARTIAL_SUFFIX = ".partial"
REPLACED_SUFFIX = ".replaced"
LOCKS_NAME = "locks"
SESSION_PREFIX = "session-"
SESSION_SUFFIX, USES_SUFFIX = ".lock", ".uses"
HASHES_NAME = "hashes"
JOBS_NAME = "jobs"
ALWAYS_HASHED_BYTES = 256 * 1024
"""Files up to this size (tables, JSON, time lines) are hashed at every lookup, within a millisecond."""
SLOW_BYTES = 500 * 1000 * 1000
"""Reading more than this takes long enough for the user to be told."""

_STAGE_NAME = re.compile(r"[a-z][a-z0-9_]*")
_FINGERPRINT = re.compile(r"[0-9a-f]{8,64}")


class Store:
    """The cache below one folder; nothing is created before something is written."""

    def __init__(self, root: Path) -> None:
        self.root = Path(os.path.abspath(root))
        self._uses: Path | None = None

    @property
    def hashes_dir(self) -> Path:
        """Folder for `file_content_hash` to remember in."""
        return self.root / HASHES_NAME

    @property
    def jobs_dir(self) -> Path:
        """Folder of the job records."""
        return self.root / JOBS_NAME

    def final_path(self, stage: str, fingerprint: str) -> Path:
        """Where the entry is, or will be."""
        assert _STAGE_NAME.fullmatch(stage) and stage not in (LOCKS_NAME, HASHES_NAME, JOBS_NAME), stage
        assert _FINGERPRINT.fullmatch(fingerprint), fingerprint
        return self.root / stage / fingerprint

    def partial_path(self, stage: str, fingerprint: str) -> Path:
        """Where the work in progress is, or would be."""
        final = self.final_path(stage, fingerprint)
        return final.with_name(final.name + PARTIAL_SUFFIX)

    def lock_path(self, stage: str, fingerprint: str) -> Path:
        """The lock file of one piece of work."""
        self.final_path(stage, fingerprint)
        return self.root / LOCKS_NAME / f"{stage}-{fingerprint}.lock"

    def lock(
        self,
        stage: str,
        fingerprint: str,
        *,
        what: str | None = None,
        wait_s: float | None = 0.0,
        on_wait: Callable[[str], None] | None = None,
    ) -> AbstractContextManager[None]:
        """Keep others off this piece of work, from before `begin` till after `commit`; see `hold_lock`."""
        path = self.lock_path(stage, fingerprint)
        return hold_lock(path, what or f"stage '{stage}'", wait_s=wait_s, on_wait=on_wait)

    @contextmanager
    def session(self) -> Iterator[None]:
        """What is looked up or made during the body stays: cleaning leaves it to us till the end.

        What that is, is written beside the session's lock, because clocks move; time stamps are a second line.
        """
        path = self.root / LOCKS_NAME / f"{SESSION_PREFIX}{time.time_ns()}-{os.getpid()}{SESSION_SUFFIX}"
        with hold_lock(path, "a session of this very process"):
            outer, self._uses = self._uses, path.with_suffix(USES_SUFFIX)
            try:
                yield
            finally:
                uses, self._uses = self._uses, outer
                with suppress(OSError):  # Windows removes no file that is open; the next cleaning does
                    uses.unlink(missing_ok=True)
                    path.unlink(missing_ok=True)

    def claim(self, stage: str, fingerprint: str) -> None:
        """In a session: what there is of this work, finished or not, is needed till the end."""
        if self._uses is None:
            return
        try:
            with self._uses.open("a", encoding="ascii") as file:
                file.write(f"{stage}/{fingerprint}\n")
        except OSError as exc:  # a full disk: the time stamps have to do
            logger.debug("%s: %s", self._uses, exc)

    def require_writable(self, advice: str = "name a folder that can be written with --cache-dir") -> None:
        """Raise an error with `advice` if nothing can be written or removed here."""
        probe = self.root / LOCKS_NAME / f"{TEMPORARY_PREFIX}{os.getpid()}"
        try:
            probe.parent.mkdir(parents=True, exist_ok=True)
            probe.touch()
            probe.unlink()
        except OSError as exc:
            raise OutputError(f"{self.root}: the cache cannot be written ({exc.strerror or exc}); {advice}") from exc

    def lookup(self, stage: str, fingerprint: str, *, always_hash: bool = False) -> Entry | None:
        """The finished entry if it is there and undamaged, else `None`; damage is logged as a warning.

        Noticed at every lookup: missing and truncated files (size), files that were written to or copied
        since (time stamp, then hash), any change in a small file (hash). Bits that rotted in a large file
        under an unchanged time stamp are noticed with `always_hash`, or by `verify` before the entry is read.
        """
        path = self.final_path(stage, fingerprint)
        if not os.path.isdir(path):  # unlike Path.is_dir, False also for a cache that we may not enter
            return None
        try:
            done = DoneRecord.model_validate_json((path / DONE_NAME).read_bytes())
        except (OSError, ValidationError):
            logger.warning("cache entry %s has no readable %s; it will be made again", path, DONE_NAME)
            return None
        if (done.stage, done.fingerprint) != (stage, fingerprint):
            logger.warning("cache entry %s says that it is %s; it will be made again", path, done.fingerprint)
            return None
        for name, record in done.files.items():
            small = record.size_bytes <= ALWAYS_HASHED_BYTES
            if not is_intact(path / name, record, always_hash=always_hash or small):
                logger.warning("cache file %s is damaged or missing; it will be made again", path / name)
                return None
        _mark_used(path)
        self.claim(stage, fingerprint)
        return Entry(path, done)

    def verify(self, entry: Entry, progress: Progress | None = None) -> bool:
        """Whether every file of `entry` has the content that was committed, all of it read; damage is a warning.

        Reading costs about a second per gigabyte. `progress` hears of entries that take longer than a moment.
        """
        damaged = self.damaged_files(entry, progress)
        for name in damaged:
            logger.warning("cache file %s is damaged or missing; it will be made again", entry.path / name)
        return not damaged

    def damaged_files(self, entry: Entry, progress: Progress | None = None) -> tuple[str, ...]:
        """Names of the files that have not the content that was committed; everything is read."""
        if progress is not None and entry.size_bytes > SLOW_BYTES:
            progress.start(f"checking {entry.done.stage}", entry.size_bytes)
        damaged = []
        for name, record in entry.done.files.items():
            if not is_intact(entry.path / name, record, always_hash=True):
                damaged.append(name)
            if progress is not None and entry.size_bytes > SLOW_BYTES:
                progress.advance(record.size_bytes)
        return tuple(damaged)

    def entry(self, stage: str, fingerprint: str) -> Entry | None:
        """What is recorded of a finished entry, whether or not its files are as they were; not marked as used."""
        path = self.final_path(stage, fingerprint)
        try:
            done = DoneRecord.model_validate_json((path / DONE_NAME).read_bytes())
        except (OSError, ValidationError):
            return None
        return Entry(path, done) if (done.stage, done.fingerprint) == (stage, fingerprint) else None

    def begin(self, stage: str, fingerprint: str, *, resumable: bool = False) -> Path:
        """An empty work folder; with `resumable` one that keeps what an earlier run committed in it.

        An entry of a resumable stage that stands there (and is damaged, or it would not be made again) becomes its work
        folder, so that its good files count. Hold the lock.
        """
        partial, final = self.partial_path(stage, fingerprint), self.final_path(stage, fingerprint)
        with writing_to(partial):
            make_folder(partial.parent)
            self.claim(stage, fingerprint)
            if not resumable:
                _remove(partial)
            elif not partial.exists() and final.is_dir():
                os.replace(final, partial)
            make_folder(partial)
            _remove(partial / DONE_NAME)
            for leftover in partial.rglob(TEMPORARY_PREFIX + "*"):
                _remove(leftover)
        return partial

    def commit(
        self,
        stage: str,
        fingerprint: str,
        *,
        settings: Mapping[str, Any],
        versions: Mapping[str, str],
        timings_s: Mapping[str, float],
    ) -> Entry:
        """Turn the work folder into a finished entry, replacing one that stands there. Hold the lock."""
        partial, final = self.partial_path(stage, fingerprint), self.final_path(stage, fingerprint)
        with writing_to(final):
            done = DoneRecord(
                stage=stage,
                fingerprint=fingerprint,
                finished_at=datetime.now(UTC).isoformat(timespec="seconds"),
                settings=dict(settings),
                versions=dict(versions),
                timings_s={name: float(value) for name, value in timings_s.items()},
                files=_collect_files(partial),
            )
            write_text_atomic(partial / DONE_NAME, done.model_dump_json(indent=1))
            replaced = final.with_name(final.name + REPLACED_SUFFIX)
            _remove(replaced)
            if final.exists():
                os.replace(final, replaced)
            os.replace(partial, final)
            sync_folder(final.parent)
            _remove(replaced)
        return Entry(final, done)


def _collect_files(partial: Path) -> dict[str, FileRecord]:
    """Records of all files of a work folder, safely on the disk; what `commit_file` made is not reread."""
    records: dict[str, FileRecord] = {}
    folders = {partial}
    for path in sorted(partial.rglob("*")):
        if path.is_dir():
            folders.add(path)
        elif path.name.startswith(TEMPORARY_PREFIX):
            path.unlink()
        elif path.name != DONE_NAME and not path.name.endswith(SIDECAR_SUFFIX):
            name = PurePosixPath(path.relative_to(partial)).as_posix()
            record = committed_record(path)
            if record is None or not is_intact(path, record):
                sync_file(path)
                record = record_of(path)
            records[name] = record
    for folder in folders:
        sync_folder(folder)
    return records


def _mark_used(path: Path) -> None:
    """The time stamp of done.json says when the entry was last of use; `clean` goes by it."""
    try:
        os.utime(path / DONE_NAME)
    except OSError:
        logger.debug("could not mark %s as used", path)


def _remove(path: Path) -> None:
    """Remove a file or a folder; that it is not there is fine."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
