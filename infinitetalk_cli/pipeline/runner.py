"""Runs the stages of a job: look up, check what is read, lock, run, check the sources, commit, report.

A look at an entry costs next to nothing and does not see every damage. So just before a stage reads an entry all of its
content is compared with its checksums; a damaged one is made again, within the same run.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Protocol

from infinitetalk_cli import __version__
from infinitetalk_cli.cache.store import Entry, Store
from infinitetalk_cli.config.job import Job
from infinitetalk_cli.machine import return_freed_memory, sparing_what_is_loaded
from infinitetalk_cli.pipeline.plan import PlannedStage, StageState, needed_steps
from infinitetalk_cli.pipeline.sources import SourceFile, check_unchanged
from infinitetalk_cli.progress import Progress
from infinitetalk_cli.stages.sharing import Crew
from infinitetalk_cli.stages.stage import Models, StageContext


class PipelineProgress(Progress, Protocol):
    """Progress that also hears which stage it belongs to."""

    def stage(self, name: str, number: int, count: int, state: str) -> None:
        """Stage `number` of `count` is now in `state`."""


@dataclass(frozen=True)
class StageReport:
    """What became of one stage in this run; `reused` in full, or `resumed` from an earlier run's chunks.

    A stage that nobody had to read counts as reused, too, even if its entry is gone.
    """

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


class _Order:
    """The stages of a run: the place of each, and which of them makes an artefact."""

    def __init__(self, planned: Sequence[PlannedStage]) -> None:
        self.makers = {name: step for step in planned for name in step.stage.outputs}
        self._places = {step.fingerprint: number for number, step in enumerate(planned, start=1)}

    def place(self, step: PlannedStage) -> tuple[int, int]:
        """Its number, and how many there are."""
        return self._places[step.fingerprint], len(self._places)

    def makers_of(self, artefacts: Iterable[str]) -> list[PlannedStage]:
        """The stages that make `artefacts`, each once; the user's files are made by none."""
        steps = (self.makers[name] for name in artefacts if name in self.makers)
        return list({step.fingerprint: step for step in steps}.values())


def input_paths(
    step: PlannedStage, planned: Sequence[PlannedStage], sources: Mapping[str, SourceFile], store: Store
) -> dict[str, Path]:
    """Where what `step` reads lies, or will lie: files of the user's, and results of other `planned` stages."""
    return _paths(step.recipe.inputs, _Order(planned).makers, sources, store)


def _paths(
    artefacts: Iterable[str], makers: Mapping[str, PlannedStage], sources: Mapping[str, SourceFile], store: Store
) -> dict[str, Path]:
    paths = {}
    for name in artefacts:
        maker = makers.get(name)
        if maker is None:
            paths[name] = sources[name].path
        else:
            paths[name] = store.final_path(maker.stage.name, maker.fingerprint) / maker.stage.outputs[name]
    return paths


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
    crew: Crew | None = None

    _reports: dict[str, StageReport] = field(default_factory=dict, init=False)

    def run(self, planned: Sequence[PlannedStage], wanted: Iterable[str] | None = None) -> RunReport:
        """Run what is not done yet, in order, as far as it is needed for the artefacts `wanted`; None: for all.

        A stage that is not done is left out if nothing that has to be made reads it.
        """
        with sparing_what_is_loaded():
            return self._run(planned, wanted)

    def _run(self, planned: Sequence[PlannedStage], wanted: Iterable[str] | None) -> RunReport:
        order = _Order(planned)
        wanted = set(order.makers if wanted is None else wanted)
        needed = self._needed(planned, wanted)
        for step in planned:
            if step.fingerprint in needed:
                self._make_sound(step.recipe.inputs, order)
                self._make(step, order)
            else:
                done = self._finished(step) is not None
                self.progress.stage(step.stage.name, *order.place(step), "done before" if done else "not needed")
                self._report(step, reused=True)
        self._make_sound(wanted, order)
        artefacts = _paths((*self.sources, *order.makers), order.makers, self.sources, self.store)
        return RunReport(tuple(self._reports[step.stage.name] for step in planned), artefacts)

    def _needed(self, planned: Sequence[PlannedStage], wanted: Iterable[str]) -> set[str]:
        """Fingerprints of the stages that have to run so that `wanted` is there."""
        for step in planned:
            self.store.claim(step.stage.name, step.fingerprint)
        steps = needed_steps(planned, wanted, lambda step: self._finished(step) is not None)
        return {step.fingerprint for step in steps}

    def _make_sound(self, artefacts: Iterable[str], order: _Order) -> None:
        """Compare the entries of `artefacts` with their checksums; what is damaged or gone is made again."""
        for step in order.makers_of(artefacts):
            entry = self.store.lookup(step.stage.name, step.fingerprint)
            if entry is None or not self.store.verify(entry, self.progress):
                self._make_sound(step.recipe.inputs, order)
                self._make(step, order, is_damaged=True)

    def _make(self, step: PlannedStage, order: _Order, is_damaged: bool = False) -> None:
        """Make the entry of `step`, unless another run has finished it while we waited for the lock."""
        began_s = time.monotonic()
        resumed = self.use_cache and (step.state is StageState.PARTIAL or (is_damaged and step.stage.resumable))
        self.progress.stage(step.stage.name, *order.place(step), "resuming" if resumed else "running")
        wait_s = None if self.wait_for_lock else 0.0
        with self.store.lock(step.stage.name, step.fingerprint, wait_s=wait_s, on_wait=self.progress.note):
            entry = self._finished(step)
            if entry is not None and is_damaged and not self.store.verify(entry):
                entry = None
            if entry is None:
                inputs = _paths(step.recipe.inputs, order.makers, self.sources, self.store)
                self._run_stage(step, inputs)
        seconds = round(time.monotonic() - began_s, 3)
        self._report(step, reused=entry is not None, resumed=resumed, seconds=seconds)

    def _report(self, step: PlannedStage, *, reused: bool, resumed: bool = False, seconds: float = 0.0) -> None:
        report = StageReport(step.stage.name, step.fingerprint, reused, resumed and not reused, seconds)
        self._reports[step.stage.name] = report

    def _finished(self, step: PlannedStage) -> Entry | None:
        return self.store.lookup(step.stage.name, step.fingerprint) if self.use_cache else None

    def _run_stage(self, step: PlannedStage, inputs: Mapping[str, Path]) -> None:
        began_s = time.monotonic()
        stage, settings = step.stage, step.stage.settings(self.job)
        out_dir = self.store.begin(stage.name, step.fingerprint, resumable=stage.resumable and self.use_cache)
        check_inputs = partial(check_unchanged, [self.sources[name] for name in inputs if name in self.sources])
        context = StageContext(self.progress, self.models, check_inputs, self.crew)
        stage.run(inputs, settings, out_dir, context)
        return_freed_memory()
        check_inputs()
        self.store.commit(
            stage.name,
            step.fingerprint,
            settings=settings.model_dump(mode="json"),
            versions={"infinitetalk": __version__, "stage": str(stage.version)},
            timings_s={"run": round(time.monotonic() - began_s, 3)},
        )
