"""A record in the cache of every job that was begun: what it was made from, and what that left on the disk.

    ROOT/jobs/JOB.json          the record, with a checksum of itself
    ROOT/jobs/JOB.profile.yaml  the profile without the command line's settings, for a run without --profile

JOB is the fingerprint of the result. Jobs of the same files and stretch, whatever their settings, share a key.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from infinitetalk_cli.cache.files import make_folder, write_text_atomic
from infinitetalk_cli.cache.sealed import read_sealed, write_sealed
from infinitetalk_cli.cache.store import Store
from infinitetalk_cli.config.load import dump_profile
from infinitetalk_cli.config.profile import ComputeProfile, Profile
from infinitetalk_cli.errors import OutputError, ResourceError, writing_to
from infinitetalk_cli.pipeline.plan import PlannedStage, Recipe
from infinitetalk_cli.pipeline.sources import SourceFile

logger = logging.getLogger(__name__)

_RECORD_SUFFIX = ".json"
_PROFILE_SUFFIX = ".profile.yaml"


class RecordedSource(BaseModel):
    """A file of the user's that went in, under the name of its artefact."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    artefact: str
    path: str
    size_bytes: int
    sha256: str


class RecordedStage(BaseModel):
    """One stage of the job: where its result lies in the cache, and what decided it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    fingerprint: str
    resumable: bool
    recipe: Recipe

    @property
    def name(self) -> str:
        """Of the stage."""
        return self.recipe.stage


class JobRecord(BaseModel):
    """What is known of a job; `finished_at` None: the last run of it did not come to its end."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: int = 1
    job: str
    key: str
    begun_at: datetime
    finished_at: datetime | None = None
    output: str
    profile: str
    profile_sha256: str
    compute: ComputeProfile | None
    """What "auto" became for the device, where the profile left it to it."""
    sources: tuple[RecordedSource, ...]
    stages: tuple[RecordedStage, ...]

    def stage(self, name: str) -> RecordedStage | None:
        """The stage of that name, if the job has it."""
        return next((stage for stage in self.stages if stage.name == name), None)

    @property
    def is_unfinished(self) -> bool:
        """Whether the next run of the same files goes on with it."""
        return self.finished_at is None

    @property
    def source_names(self) -> tuple[str, ...]:
        """Names of the files, each once, the video first."""
        return tuple(dict.fromkeys(os.path.basename(source.path) for source in self.sources))


def begin_job(
    store: Store,
    *,
    job: str,
    key: str,
    output: Path,
    base: Profile,
    asked: Profile,
    compute: ComputeProfile,
    sources: Mapping[str, SourceFile],
    stages: Sequence[PlannedStage],
) -> JobRecord:
    """Keep a record of a job that is about to run.

    `base` is its profile without the command line's settings, `asked` with them; `compute` is what the latter's became
    for the device.

    Raises:
        OutputError, ResourceError: the cache cannot be written, or its disk is full.
    """
    profile = dump_profile(base)
    record = JobRecord(
        job=job,
        key=key,
        begun_at=datetime.now(UTC),
        output=path_text(output),
        profile=base.name,
        profile_sha256=hashlib.sha256(profile.encode()).hexdigest(),
        compute=compute if asked.compute.quantization == "auto" else None,
        sources=tuple(
            RecordedSource(artefact=name, path=path_text(file.path), size_bytes=file.signature[0], sha256=file.sha256)
            for name, file in sources.items()
        ),
        stages=tuple(
            RecordedStage(fingerprint=step.fingerprint, resumable=step.stage.resumable, recipe=step.recipe)
            for step in stages
        ),
    )
    with writing_to(store.jobs_dir):
        make_folder(store.jobs_dir)
    write_text_atomic(_profile_path(store, job), profile)
    write_sealed(_record_path(store, job), record)
    return record


def finish_job(store: Store, record: JobRecord) -> None:
    """The result was handed over: the next run of the same files may choose its profile anew.

    That it cannot be noted, on a disk that is full by now, does not undo the result.
    """
    try:
        write_sealed(_record_path(store, record.job), record.model_copy(update={"finished_at": datetime.now(UTC)}))
    except (OutputError, ResourceError) as exc:
        logger.warning("the job is done, but still listed as unfinished: %s", exc)


def job_records(store: Store, key: str | None = None) -> list[JobRecord]:
    """All that can be read, the one begun last first; with a `key` only those that have it.

    Of thousands of records most are of other jobs: looking for the key in their bytes is much less than reading them.
    """
    paths = store.jobs_dir.glob(f"*{_RECORD_SUFFIX}")
    found = paths if key is None else (path for path in paths if _mentions(path, key))
    records = (read_sealed(path, JobRecord) for path in found)
    return sorted(
        (record for record in records if record is not None), key=lambda record: record.begun_at, reverse=True
    )


def last_run(records: Sequence[JobRecord], key: str, sources: Mapping[str, SourceFile]) -> JobRecord | None:
    """The last run of the same content, wherever it lies, or of the files of these names, whatever was in them then."""
    paths = {path_text(file.path) for file in sources.values()}
    same = (record for record in records if record.key == key or {source.path for source in record.sources} == paths)
    return next(same, None)


def unfinished_run(store: Store, key: str) -> JobRecord | None:
    """The last run of the job's files and stretch, if it did not come to its end."""
    last = next((record for record in job_records(store, key) if record.key == key), None)
    return last if last is not None and last.is_unfinished else None


def begun_profile(store: Store, record: JobRecord) -> Path | None:
    """File of the profile that `record` began with; None if it is gone or altered."""
    path = _profile_path(store, record.job)
    try:
        intact = hashlib.sha256(path.read_bytes()).hexdigest() == record.profile_sha256
    except OSError:
        return None
    return path if intact else None


def forget_job(store: Store, record: JobRecord) -> None:
    """Remove the record; what the job left in the cache is not touched."""
    with writing_to(store.jobs_dir):
        for path in (_record_path(store, record.job), _profile_path(store, record.job)):
            path.unlink(missing_ok=True)


def _mentions(path: Path, key: str) -> bool:
    try:
        return key.encode("ascii") in path.read_bytes()
    except OSError:
        return False


def _record_path(store: Store, job: str) -> Path:
    return store.jobs_dir / f"{job}{_RECORD_SUFFIX}"


def _profile_path(store: Store, job: str) -> Path:
    return store.jobs_dir / f"{job}{_PROFILE_SUFFIX}"


def path_text(path: Path) -> str:
    """The absolute path as text that fits into JSON, also where it is no Unicode."""
    return os.fsencode(os.path.abspath(path)).decode("utf-8", "backslashreplace")
