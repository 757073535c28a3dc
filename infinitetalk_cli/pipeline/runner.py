"""Runs the stages of a job: look up, lock, run, commit, report."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from infinitetalk_cli import __version__
from infinitetalk_cli.cache.store import Entry, Store
from infinitetalk_cli.config.job import Job
from infinitetalk_cli.pipeline.plan import PlannedStage, StageState, source_files
from infinitetalk_cli.progress import Progress
from infinitetalk_cli.stages.stage import Models, StageContext


class PipelineProgress(Progress, Protocol):
    """Progress that also hears which stage it belongs to."""

    def stage(self, name: str, number: int, count: int, state: str) -> None:
        """Stage `number` of `count` is now in `state`."""


@dataclass(frozen=True)
class StageReport:
    """What became of one stage in this run."""

    name: str
    fingerprint: str
    reused: bool
    seconds: float


@dataclass(frozen=True)
class RunReport:
    """What became of a job: its stages, and the folder of each artefact they made."""

    stages: tuple[StageReport, ...]
    artefacts: dict[str, Path]


def run_stages(
    planned: Sequence[PlannedStage],
    job: Job,
    store: Store,
    models: Models,
    progress: PipelineProgress,
    *,
    use_cache: bool = True,
    wait_for_lock: bool = True,
) -> RunReport:
    """Run what is not done yet; finished stages are taken from the cache.

    Raises:
        LockedError: another run holds a stage and `wait_for_lock` is off.
        InfiniteTalkError: whatever a stage raises; everything finished before it stays in the cache.
    """
    artefacts = source_files(job)
    reports = []
    for number, step in enumerate(planned, start=1):
        began_s = time.monotonic()
        entry = store.lookup(step.stage.name, step.fingerprint) if use_cache else None
        reused = entry is not None
        if entry is None:
            progress.stage(step.stage.name, number, len(planned), _opening(step, use_cache))
            wait_s = None if wait_for_lock else 0.0
            with store.lock(step.stage.name, step.fingerprint, wait_s=wait_s, on_wait=progress.note):
                entry = store.lookup(step.stage.name, step.fingerprint) if use_cache else None
                reused = entry is not None
                if entry is None:
                    entry = _run_stage(step, job, artefacts, store, models, progress, use_cache)
        else:
            progress.stage(step.stage.name, number, len(planned), "done before")
        artefacts |= {name: entry.path / file for name, file in step.stage.outputs.items()}
        seconds = time.monotonic() - began_s
        reports.append(StageReport(step.stage.name, step.fingerprint, reused, seconds))
    return RunReport(tuple(reports), artefacts)


def _run_stage(
    step: PlannedStage,
    job: Job,
    artefacts: dict[str, Path],
    store: Store,
    models: Models,
    progress: Progress,
    use_cache: bool,
) -> Entry:
    began_s = time.monotonic()
    settings = step.stage.settings(job)
    out_dir = store.begin(step.stage.name, step.fingerprint, resumable=step.stage.resumable and use_cache)
    inputs = {name: artefacts[name] for name in step.stage.inputs}
    step.stage.run(inputs, settings, out_dir, StageContext(progress=progress, models=models))
    return store.commit(
        step.stage.name,
        step.fingerprint,
        settings=settings.model_dump(mode="json"),
        versions={"infinitetalk": __version__, "stage": str(step.stage.version)},
        timings_s={"run": round(time.monotonic() - began_s, 3)},
    )


def _opening(step: PlannedStage, use_cache: bool) -> str:
    return "resuming" if step.state is StageState.PARTIAL and use_cache else "running"
