"""How a chunk came about: the record kept beside it, and the attempts that failed until one is chosen.

chunks/chunk-000003.mkv        the chunk
chunks/chunk-000003.json       its record: which attempt it is, and the figures of all
attempts/chunk-000003-0.mkv    an attempt that failed, while others are tried
attempts/chunk-000003-0.json   its figures; alone if there is no picture (NaN)
"""

from __future__ import annotations

import shutil
from collections.abc import Collection
from pathlib import Path

import numpy as np
from pydantic import ValidationError

from infinitetalk_cli.cache.files import commit_file, committed, make_folder, make_way, sidecar_of, temporary_for
from infinitetalk_cli.config.base import Settings
from infinitetalk_cli.errors import writing_to
from infinitetalk_cli.quality.gates import Verdict
from infinitetalk_cli.quality.measures import ChunkMeasures
from infinitetalk_cli.units import MODEL_RATE


class AttemptRecord(Settings):
    """What was found of one attempt. `measures` None: it was not measured, or there is no picture to measure."""

    attempt: int
    measures: ChunkMeasures | None
    reasons: tuple[str, ...]
    excess: float
    is_picture: bool = True

    @property
    def verdict(self) -> Verdict | None:
        """What attempts are compared by; None without a picture."""
        return Verdict(self.reasons, self.excess) if self.is_picture else None


class ChunkRecord(Settings):
    """`chunk-NNNNNN.json`: which of its attempts a chunk is, and why. `not_checked`: gates that could not judge."""

    attempt: int
    attempts: tuple[AttemptRecord, ...]
    not_checked: tuple[str, ...] = ()

    @property
    def chosen(self) -> AttemptRecord:
        """The attempt that was kept."""
        return next(record for record in self.attempts if record.attempt == self.attempt)

    @property
    def is_flagged(self) -> bool:
        """Whether the kept attempt failed, like all others."""
        return bool(self.chosen.reasons)


def read_record(path: Path) -> ChunkRecord:
    """The record of a finished chunk."""
    return ChunkRecord.model_validate_json(path.read_bytes(), strict=False)


class FailedAttempts:
    """The failed attempts at one chunk, below `folder`. What is kept here survives the process."""

    def __init__(self, folder: Path, index: int) -> None:
        self._folder, self._index = folder, index

    def kept(self) -> list[AttemptRecord]:
        """Those an earlier run has left, from the first on, as far as they are whole."""
        records: list[AttemptRecord] = []
        while (record := self._read(len(records))) is not None:
            records.append(record)
        return records

    def keep(self, record: AttemptRecord, frames: np.ndarray | None) -> None:
        """Commit an attempt, `frames` (t, h, w, 3) uint8 first: with its record it counts."""
        from infinitetalk_cli.media.lossless import write_frames

        with writing_to(self._folder):
            make_folder(self._folder)
        if frames is not None:
            file = self.file(record.attempt)
            write_frames(temporary_for(file), frames, MODEL_RATE)
            commit_file(temporary_for(file), file)
        write_record(self._record_file(record.attempt), record)

    def forget(self) -> None:
        """Remove all of them. The folder stays: others may be about to write into it."""
        with writing_to(self._folder):
            for path in self._folder.glob(f"chunk-{self._index:06d}-*"):
                path.unlink(missing_ok=True)

    def file(self, attempt: int) -> Path:
        """The frames of an attempt."""
        return self._folder / f"chunk-{self._index:06d}-{attempt}.mkv"

    def _record_file(self, attempt: int) -> Path:
        return self.file(attempt).with_suffix(".json")

    def _read(self, attempt: int) -> AttemptRecord | None:
        path = self._record_file(attempt)
        if not committed(path, always_hash=True):
            return None
        try:
            record = AttemptRecord.model_validate_json(path.read_bytes(), strict=False)
        except ValidationError:
            return None
        if record.is_picture and not committed(self.file(attempt), always_hash=True):
            return None
        return record


def forget_attempts(folder: Path, *, but: Collection[int] = ()) -> None:
    """Remove what failed, of all chunks but those with the numbers `but`."""
    kept = {f"chunk-{index:06d}-" for index in but}
    with writing_to(folder):
        if not kept:
            shutil.rmtree(folder, ignore_errors=True)
        for path in folder.glob("chunk-*"):
            if not any(path.name.startswith(name) for name in kept):
                path.unlink()


def write_record(path: Path, record: Settings) -> None:
    """Commit a record: whole or absent, and altered bytes are noticed."""
    with writing_to(path):
        temporary_for(path).write_text(record.model_dump_json(indent=1), encoding="utf-8")
    commit_file(temporary_for(path), path)


def forget(path: Path) -> None:
    """`path` does not count as committed any more."""
    with writing_to(path):
        make_way(sidecar_of(path))
        sidecar_of(path).unlink(missing_ok=True)
