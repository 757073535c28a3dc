"""What an evaluation leaves, as values: the content of `report.json`, which `eval compare` reads again."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from infinitetalk_cli.errors import InputError

SCHEMA = 1
KIND = "infinitetalk eval"


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Measured(_Value):
    """One metric of one clip. `missing`: why there are no values ("no face", "too short", ...), None if there are."""

    values: dict[str, float | None] = {}
    missing: str | None = None
    about: dict[str, Any] = {}
    seconds: float = 0.0


class ClipResult(_Value):
    """One clip. `status` "missing": the source's or the method's file is not there; "failed": it cannot be used.

    `notes` are deviations that were allowed; `seams` the first frames of later chunks; `made_with` the profile and the
    weights of our own pipeline.
    """

    id: str
    status: Literal["scored", "missing", "failed"]
    reason: str | None = None
    num_frames: int | None = None
    audio_pad_s: float = 0.0
    seams: tuple[int, ...] = ()
    face_by: str | None = None
    notes: tuple[str, ...] = ()
    seconds_to_make: float | None = None
    made_with: dict[str, Any] = {}
    metrics: dict[str, Measured] = {}


class Summary(_Value):
    """A column over the `n` clips that have it: mean, median, 95 % interval of the mean (None for a single clip)."""

    mean: float
    median: float
    low: float | None
    high: float | None
    n: int


class SetValue(_Value):
    """A figure of all clips together, such as FID: of `n` clips, with `samples` frames or windows on each side."""

    value: float | None = None
    low: float | None = None
    high: float | None = None
    n: int = 0
    samples: int = 0
    missing: str | None = None


class MetricState(_Value):
    """A metric that was asked for: `missing` says why it could not be measured at all, `about` what it was."""

    missing: str | None = None
    remedy: str = ""
    about: dict[str, Any] = {}


class Report(_Value):
    """One method on one split. `missing` lists the clips that no figure covers."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    schema_: Literal[1] = Field(default=SCHEMA, alias="schema")
    kind: Literal["infinitetalk eval"] = KIND
    made_by: str
    finished_at: str
    split: dict[str, Any]
    method: dict[str, Any]
    num_items: int
    num_scored: int
    metrics: dict[str, MetricState]
    clips: tuple[ClipResult, ...]
    summary: dict[str, Summary]
    sets: dict[str, SetValue]
    seconds: dict[str, float]

    @property
    def uncovered(self) -> list[ClipResult]:
        """Clips without any figure."""
        return [clip for clip in self.clips if clip.status != "scored"]

    def values_of(self, key: str) -> dict[str, float]:
        """`metric.value` of every clip that has it, by id."""
        metric, _, name = key.partition(".")
        found = {}
        for clip in self.clips:
            measured = clip.metrics.get(metric)
            value = None if measured is None else measured.values.get(name)
            if value is not None:
                found[clip.id] = value
        return found


def read_report(path: Path) -> Report:
    """A `report.json`; `InputError` if it is none."""
    file = path / "report.json" if path.is_dir() else path
    try:
        return Report.model_validate_json(file.read_bytes())
    except OSError as exc:
        raise InputError(f"{file}: cannot be read ({exc.strerror or exc}); give a report.json of 'eval run'") from exc
    except ValidationError as exc:
        raise InputError(f"{file}: is not a report of 'eval run', or of another version of it") from exc
