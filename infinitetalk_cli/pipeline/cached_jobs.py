"""The cache as a user sees it: jobs, with what they left behind."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infinitetalk_cli.cache.holdings import Holding, HoldingState, holdings
from infinitetalk_cli.cache.housekeeping import Sessions, Work
from infinitetalk_cli.cache.store import Store
from infinitetalk_cli.errors import InputError
from infinitetalk_cli.pipeline.jobs import JobRecord, RecordedStage, job_records, path_text
from infinitetalk_cli.stages.chunk_files import unfinished
from infinitetalk_cli.stages.generate import GENERATE
from infinitetalk_cli.stages.keyframes import KEYFRAMES, ChunkPlan, read_plan

_SHORTEST_NAME = 4
"""Fewer characters of a job's name are not taken for it."""


@dataclass(frozen=True)
class CachedStage:
    """A stage of a recorded job, and its folder in the cache if it has one."""

    recorded: RecordedStage
    holding: Holding | None

    @property
    def state(self) -> str:
        """`finished`, `begun`, or `not there`."""
        return "not there" if self.holding is None else str(self.holding.state)

    def as_dict(self) -> dict[str, Any]:
        """The stage as plain data, for `--json`."""
        recipe, held = self.recorded.recipe, self.holding
        return {
            "name": self.recorded.name,
            "fingerprint": self.recorded.fingerprint,
            "state": self.state,
            "bytes": 0 if held is None else held.size_bytes,
            "last_used_s": None if held is None else held.last_used_s,
            "version": recipe.version,
            "settings": recipe.settings,
        }


@dataclass(frozen=True)
class CachedJob:
    """A recorded job and what the cache has of it. Chunks are None until it is known how many there are."""

    record: JobRecord
    stages: tuple[CachedStage, ...]
    shared_bytes: int
    """Of its size, what other jobs use as well."""
    is_running: bool
    num_chunks: int | None
    num_chunks_done: int | None

    @property
    def holdings(self) -> tuple[Holding, ...]:
        """Its folders."""
        return tuple(stage.holding for stage in self.stages if stage.holding is not None)

    @property
    def size_bytes(self) -> int:
        """Of all its folders, shared ones too."""
        return sum(holding.size_bytes for holding in self.holdings)

    @property
    def last_used_s(self) -> float:
        """In seconds since the epoch."""
        return max((holding.last_used_s for holding in self.holdings), default=self.record.begun_at.timestamp())

    @property
    def state(self) -> str:
        """`done`, `running`, `resumable` or `begun`."""
        if self.is_running:
            return "running"
        if not self.record.is_unfinished:
            return "done"
        has_chunks = any(stage.recorded.resumable and stage.holding is not None for stage in self.stages)
        return "resumable" if has_chunks else "begun"

    def as_dict(self) -> dict[str, Any]:
        """The job as plain data, for `--json`."""
        record = self.record
        return {
            "job": record.job,
            "state": self.state,
            "profile": record.profile,
            "output": record.output,
            "sources": [source.model_dump() for source in record.sources],
            "begun_at": record.begun_at.isoformat(),
            "finished_at": None if record.finished_at is None else record.finished_at.isoformat(),
            "last_used_s": self.last_used_s,
            "bytes": self.size_bytes,
            "shared_bytes": self.shared_bytes,
            "chunks": self.num_chunks,
            "chunks_done": self.num_chunks_done,
            "stages": [stage.as_dict() for stage in self.stages],
        }


@dataclass(frozen=True)
class CacheContent:
    """Everything in the cache, counted once: jobs, those used last first, and what no record names."""

    jobs: tuple[CachedJob, ...]
    unknown: tuple[Holding, ...]
    size_bytes: int

    def as_dict(self) -> dict[str, Any]:
        """All of it as plain data, for `--json`."""
        return {
            "bytes": self.size_bytes,
            "jobs": [job.as_dict() for job in self.jobs],
            "unknown": [holding.as_dict() for holding in self.unknown],
        }


def cache_content(store: Store) -> CacheContent:
    """What `store` holds. Nothing is written."""
    found = holdings(store)
    by_work = {holding.work: holding for holding in found if holding.state is not HoldingState.LEFTOVER}
    records, sessions = job_records(store), Sessions(store)
    users = Counter(work for record in records for work in set(works(record)))
    jobs = (_cached_job(store, record, by_work, users, sessions) for record in records)
    return CacheContent(
        jobs=tuple(sorted((job for job in jobs if job.holdings), key=lambda job: -job.last_used_s)),
        unknown=tuple(holding for holding in found if holding.work not in users),
        size_bytes=sum(holding.size_bytes for holding in found),
    )


def works(record: JobRecord) -> Iterable[Work]:
    """Stage and fingerprint of everything the job is made of."""
    return ((stage.name, stage.fingerprint) for stage in record.stages)


def _cached_job(
    store: Store,
    record: JobRecord,
    by_work: Mapping[Work, Holding],
    users: Mapping[Work, int],
    sessions: Sessions,
) -> CachedJob:
    stages = tuple(CachedStage(stage, by_work.get((stage.name, stage.fingerprint))) for stage in record.stages)
    there = [stage.holding for stage in stages if stage.holding is not None]
    plan = _plan(store, record)
    return CachedJob(
        record=record,
        stages=stages,
        shared_bytes=sum(holding.size_bytes for holding in there if users[holding.work] > 1),
        is_running=all(f"{stage}/{fingerprint}" in sessions.used for stage, fingerprint in works(record)),
        num_chunks=None if plan is None else len(plan.chunks),
        num_chunks_done=None if plan is None else _num_chunks_done(store, record, plan),
    )


def _plan(store: Store, record: JobRecord) -> ChunkPlan | None:
    stage = record.stage(KEYFRAMES.name)
    if stage is None:
        return None
    try:
        plan = store.final_path(stage.name, stage.fingerprint) / KEYFRAMES.outputs["plan"]
        return read_plan(plan)
    except (OSError, ValueError):
        return None


def _num_chunks_done(store: Store, record: JobRecord, plan: ChunkPlan) -> int | None:
    stage = record.stage(GENERATE.name)
    if stage is None:
        return None
    if store.final_path(stage.name, stage.fingerprint).is_dir():
        return len(plan.chunks)
    folder = store.partial_path(stage.name, stage.fingerprint) / GENERATE.outputs["chunks"]
    return len(plan.chunks) - len(unfinished(folder, plan.chunks))


def find_job(content: CacheContent, name: str) -> CachedJob:
    """The job that `name` begins, or whose output or source lies there; of several of a file the one used last.

    Raises:
        InputError: there is none, or several begin like that.
    """
    begun = [job for job in content.jobs if len(name) >= _SHORTEST_NAME and job.record.job.startswith(name)]
    if len(begun) > 1:
        raise InputError(f"{name}: {len(begun)} jobs begin like that; give more of the name")
    path = path_text(Path(name))
    files = (job for job in content.jobs if path in (job.record.output, *(file.path for file in job.record.sources)))
    job = begun[0] if begun else next(files, None)
    if job is None:
        raise InputError(
            f"{name}: no job of this name, output or source in the cache; `infinitetalk cache list` shows all"
        )
    return job
