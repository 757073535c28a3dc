"""Runs the stages of a job: look up, lock, run, check the sources, commit, report."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

from infinitetalk_cli import __version__
from infinitetalk_cli.cache.store import Entry, Store
from infinitetalk_cli.config.job import Job
from infinitetalk_cli.pipeline.plan import PlannedStage, StageState
from infinitetalk_cli.pipeline.sources import SourceFile, check_unchanged
from infinitetalk_cli.progress import Progress
from infinitetalk_cli.stages.stage import Models, StageContext


class PipelineProgress(Progress, Protocol):
    """Progress that also hears which stage it belongs to."""

    def stage(self, name: str, number: int, count: int, state: str) -> None:
        """Stage `number` of `count` is now in `state`."""


@dataclass(frozen=True)
class StageReport:
    """What became of one stage in this run; `reused` in full, or `resumed` from an earlier run's chunks."""

    name: str
    fingerprint: str
    reused: bool
    resumed: bool
    seconds: float


@dataclass(frozen=True)
class RunReport:
    """What became of a job: its stages, and the folder of each artefact they made."""

    stages: tuple[StageReport, ...]
    artefacts: dict[str, Path]


@dataclass(frozen=True)
class Runner:
    """Runs the stages of one job from what is in `store`; `use_cache` off does everything again.

    `models` may be None for stages that run no network.

    Raises:
        LockedError: another run holds a stage and `wait_for_lock` is off.
        InfiniteTalkError: whatever a stage raises; everything finished before it stays in the cache.
    """

    job: Job
    sources: Mapping[str, SourceFile]
    store: Store
    models: Models | None
    progress: PipelineProgress
    use_cache: bool = True
    wait_for_lock: bool = True

    def run(self, planned: Sequence[PlannedStage]) -> RunReport:
        """Run what is not done yet, in order."""
        artefacts = {name: source.path for name, source in self.sources.items()}
        reports = []
        for number, step in enumerate(planned, start=1):
            began_s = time.monotonic()
            entry = self._finished(step)
            reused, resumed = entry is not None, False
            if entry is None:
                resumed = step.state is StageState.PARTIAL and self.use_cache
                self.progress.stage(step.stage.name, number, len(planned), "resuming" if resumed else "running")
                entry, reused = self._make(step, artefacts)
            else:
                self.progress.stage(step.stage.name, number, len(planned), "done before")
            artefacts |= {name: entry.path / file for name, file in step.stage.outputs.items()}
            seconds = round(time.monotonic() - began_s, 3)
            reports.append(StageReport(step.stage.name, step.fingerprint, reused, resumed, seconds))
        return RunReport(tuple(reports), artefacts)

    def _finished(self, step: PlannedStage) -> Entry | None:
        return self.store.lookup(step.stage.name, step.fingerprint) if self.use_cache else None

    def _make(self, step: PlannedStage, artefacts: Mapping[str, Path]) -> tuple[Entry, bool]:
        """The entry, and whether another run finished it while we waited for the lock."""
        wait_s = None if self.wait_for_lock else 0.0
        with self.store.lock(step.stage.name, step.fingerprint, wait_s=wait_s, on_wait=self.progress.note):
            entry = self._finished(step)
            return (entry, True) if entry is not None else (self._run_stage(step, artefacts), False)

    def _run_stage(self, step: PlannedStage, artefacts: Mapping[str, Path]) -> Entry:
        began_s = time.monotonic()
        stage, settings = step.stage, step.stage.settings(self.job)
        out_dir = self.store.begin(stage.name, step.fingerprint, resumable=stage.resumable and self.use_cache)
        names = (*stage.inputs, *(name for name in stage.optional_inputs if name in artefacts))
        check_inputs = partial(check_unchanged, [self.sources[name] for name in names if name in self.sources])
        context = StageContext(progress=self.progress, models=self.models, check_inputs=check_inputs)
        stage.run({name: artefacts[name] for name in names}, settings, out_dir, context)
        check_inputs()
        return self.store.commit(
            stage.name,
            step.fingerprint,
            settings=settings.model_dump(mode="json"),
            versions={"infinitetalk": __version__, "stage": str(stage.version)},
            timings_s={"run": round(time.monotonic() - began_s, 3)},
        )
