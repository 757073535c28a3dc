"""What a finished stage looks like in the cache, as values."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from infinitetalk_cli.cache.files import FileRecord


class DoneRecord(BaseModel):
    """`done.json`: what was made, from which settings, by which versions, in what time."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    schema_version: int = 1
    stage: str
    fingerprint: str
    finished_at: str
    settings: dict[str, Any]
    versions: dict[str, str]
    timings_s: dict[str, float]
    files: dict[str, FileRecord]


@dataclass(frozen=True)
class Entry:
    """A finished, verified stage."""

    path: Path
    done: DoneRecord

    def file(self, name: str) -> Path:
        """Path of one of the entry's files."""
        assert name in self.done.files, f"{self.done.stage} made no {name}"
        return self.path / name

    @property
    def size_bytes(self) -> int:
        """Sum of the recorded file sizes."""
        return sum(record.size_bytes for record in self.done.files.values())
