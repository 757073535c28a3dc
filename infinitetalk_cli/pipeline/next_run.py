"""What is found wrong with a cached job, and what the next run of the same command would do with it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from infinitetalk_cli.cache.files import SIDECAR_SUFFIX, committed
from infinitetalk_cli.cache.holdings import HoldingState
from infinitetalk_cli.cache.store import DONE_NAME, Store
from infinitetalk_cli.errors import InputError
from infinitetalk_cli.pipeline.cached_jobs import CachedJob, CachedStage
from infinitetalk_cli.pipeline.jobs import JobRecord
from infinitetalk_cli.pipeline.sources import read_source
from infinitetalk_cli.progress import Progress, SilentProgress
from infinitetalk_cli.stages import STAGES
from infinitetalk_cli.stages.generate import GENERATE


def source_states(store: Store, record: JobRecord, progress: Progress | None = None) -> Mapping[str, str]:
    """Path of each source -> `as it was`, `changed` or `gone`."""
    states = {}
    for source in record.sources:
        try:
            now = read_source(Path(source.path), store, progress or SilentProgress())
        except InputError:
            states[source.path] = "gone"
        else:
            states[source.path] = "as it was" if now.sha256 == source.sha256 else "changed"
    return states


def damaged_files(store: Store, job: CachedJob, progress: Progress | None = None) -> Mapping[str, tuple[str, ...]]:
    """Stage -> damaged files, of the stages that have any; everything is read and compared with its checksum."""
    damaged = {}
    for holding in job.holdings:
        if holding.state is HoldingState.FINISHED:
            entry = store.entry(*holding.work)
            names = (DONE_NAME,) if entry is None else store.damaged_files(entry, progress)
        else:
            files = sorted(holding.path.rglob(f"*{SIDECAR_SUFFIX}"))
            finals = [file.with_name(file.name.removesuffix(SIDECAR_SUFFIX)) for file in files]
            wrong = (file for file in finals if not committed(file, always_hash=True))
            names = tuple(file.relative_to(holding.path).as_posix() for file in wrong)
        if names:
            damaged[holding.stage] = names
    return damaged


def next_steps(job: CachedJob, sources: Mapping[str, str], damaged: Mapping[str, Sequence[str]]) -> Mapping[str, str]:
    """Stage -> what the next run of the same command would do with it.

    `sources` are the states of the files, `damaged` the stages with damaged files.
    """
    versions = {stage.name: stage.version for stage in STAGES}
    files = {source.artefact: source.path for source in job.record.sources}
    steps: dict[str, str] = {}
    remade: set[str] = set()
    for stage in job.stages:
        name, recipe = stage.recorded.name, stage.recorded.recipe
        changed = [
            os.path.basename(files[key]) for key in recipe.inputs if sources.get(files.get(key, "")) == "changed"
        ]
        above = [maker for maker in remade if any(_is_from(value, job, maker) for value in recipe.inputs.values())]
        if name not in versions:
            steps[name] = "not used any more"
        elif versions[name] != recipe.version:
            steps[name] = f"make again, the stage is newer ({recipe.version} -> {versions[name]})"
        elif changed:
            steps[name] = f"make again, {changed[0]} changed"
        elif above:
            steps[name] = "make again, what it reads changes"
        elif name in damaged:
            steps[name] = "repair" if stage.recorded.resumable else "make again, damaged"
            continue
        else:
            steps[name] = _kept(stage, job)
            continue
        remade.add(name)
    return steps


def _is_from(origin: str, job: CachedJob, stage: str) -> bool:
    recorded = job.record.stage(stage)
    return recorded is not None and origin.split("/")[0] == recorded.fingerprint


def _kept(stage: CachedStage, job: CachedJob) -> str:
    if stage.holding is None:
        return "make" if job.record.is_unfinished else "make again if it is read"
    if stage.holding.state is HoldingState.FINISHED:
        return "keep"
    if stage.recorded.name == GENERATE.name and job.num_chunks_done is not None:
        return f"go on with chunks, {job.num_chunks_done} of {job.num_chunks} are there"
    return "go on"
