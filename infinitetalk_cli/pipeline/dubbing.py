"""A prepared job: run what is missing of it, and hand the result over."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

from infinitetalk_cli.errors import OutputError, ResourceError
from infinitetalk_cli.models.load import LoadedModels
from infinitetalk_cli.pipeline.disk import plan_disk, require_disk
from infinitetalk_cli.pipeline.fitting import plan_of, require_room
from infinitetalk_cli.pipeline.jobs import JobRecord, begin_job, finish_job, job_records, last_run
from infinitetalk_cli.pipeline.pace import remember_pace
from infinitetalk_cli.pipeline.pruning import keep_to_size
from infinitetalk_cli.pipeline.reasons import reasons
from infinitetalk_cli.pipeline.remaining import is_finished, stages_to_do, wanted_artefacts
from infinitetalk_cli.pipeline.report import files, run_report
from infinitetalk_cli.pipeline.request import Prepared
from infinitetalk_cli.pipeline.runner import PipelineProgress, Runner, RunReport, StageReport
from infinitetalk_cli.stages.audio_embedding import read_track
from infinitetalk_cli.stages.generate import GENERATE
from infinitetalk_cli.stages.keyframes import read_plan
from infinitetalk_cli.stages.sharing import Crew
from infinitetalk_cli.stages.stage import Models

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class DubResult:
    """What a finished `dub` tells the user; frames and duration are None when nothing had to be done."""

    output: Path
    already_done: bool
    profile: str
    seconds: float
    num_frames: int | None = None
    duration_s: Fraction | None = None
    stages: tuple[StageReport, ...] = ()
    report: Path | None = None
    """The sheet beside the output, if there is one."""
    num_flagged: int = 0
    """Chunks of which no attempt passed the checks."""

    @property
    def resumed(self) -> bool:
        """Whether part of the work was done by earlier runs, so that `seconds` says nothing of the speed."""
        return any(stage.reused or stage.resumed for stage in self.stages)

    def as_dict(self) -> dict[str, Any]:
        """The result as plain data, for `--json`."""
        return {
            "status": "already done" if self.already_done else "done",
            "output": str(self.output),
            "profile": self.profile,
            "model_frames": self.num_frames,
            "duration_s": None if self.duration_s is None else float(self.duration_s),
            "seconds": round(self.seconds, 3),
            "report": None if self.report is None else str(self.report),
            "flagged_chunks": self.num_flagged,
            "stages": [asdict(stage) for stage in self.stages],
        }


def load_models(prepared: Prepared) -> LoadedModels:
    """The networks of one job, loaded when they are first asked for."""
    profile = prepared.job.profile
    return LoadedModels(prepared.weights.files, prepared.request.device, profile.compute, profile.memory)


TeamUp = Callable[[LoadedModels], tuple[Models, Crew]]
"""Makes one process's networks those of a team, and says who else works on the job."""


def dub(
    prepared: Prepared,
    progress: PipelineProgress,
    models_of: Callable[[Prepared], LoadedModels] = load_models,
    team_up: TeamUp | None = None,
) -> DubResult:
    """Run what is missing of the job and hand the result over; `models_of` may keep networks from job to job.

    With `team_up` other processes help.

    Raises:
        InfiniteTalkError: what went wrong; everything finished before stays in the cache.
    """
    began_s = time.monotonic()
    job, store, request, destination = prepared.job, prepared.store, prepared.request, prepared.destination
    profile = job.profile
    prepared.check_destination()
    wait_s = None if request.wait_for_lock else 0.0
    if is_finished(prepared):  # nothing is written then, so a cache that can only be read will do
        return _already_done(prepared, time.monotonic() - began_s)
    store.require_writable()
    with store.session(), destination.lock(wait_s=wait_s, on_wait=progress.note):
        if is_finished(prepared):  # by the run that we waited for
            return _already_done(prepared, time.monotonic() - began_s)
        models = models_of(prepared)
        _check_memory(prepared, progress, models.host_bytes)
        _check_disk(prepared, progress)
        record = _begin(prepared)
        team, crew = (models, None) if team_up is None else team_up(models)
        runner = Runner(job, prepared.sources, store, team, progress, request.use_cache, request.wait_for_lock, crew)
        run = runner.run(prepared.stages, wanted_artefacts(prepared))
        prepared.check_destination()  # the night was long
        delivered = _deliver_report(prepared, run, time.monotonic() - began_s, progress)
        destination.deliver(run.artefacts["dubbed"])
        finish_job(store, record)
        track = read_track(run.artefacts["track"])
        _remember_pace(prepared, run)
    if request.cache_bytes is not None:
        keep_to_size(store, request.cache_bytes, progress)
    seconds = time.monotonic() - began_s
    return DubResult(
        destination.output, False, profile.name, seconds, track.num_frames, track.duration_s, run.stages, *delivered
    )


def _already_done(prepared: Prepared, seconds: float) -> DubResult:
    output = prepared.destination.output
    result = DubResult(output, True, prepared.job.profile.name, seconds)
    found = files.own_summary(output)
    return result if found is None else replace(result, report=found[0], num_flagged=found[1])


def _deliver_report(
    prepared: Prepared, run: RunReport, seconds: float, progress: PipelineProgress
) -> tuple[Path | None, int]:
    """The sheet beside the output, if one was written, and how many chunks are flagged.

    It goes first: a run that is killed before the result is in its place does both again. That it cannot be written
    is no reason to keep the result back.
    """
    if not set(run_report.ARTEFACTS) <= set(wanted_artefacts(prepared)):
        return None, 0
    made = run_report.make_report(prepared, run, seconds)
    try:
        path = files.write_report(made, prepared.destination.output, progress, force=prepared.request.force)
    except (OutputError, ResourceError) as exc:
        progress.note(f"no report is written: {exc}")
        path = None
    return path, made.num_flagged


def _begin(prepared: Prepared) -> JobRecord:
    """Keep a record of the job, and in the log why its stages are made."""
    store = prepared.store
    last = last_run(job_records(store), prepared.key, prepared.sources)
    to_do = stages_to_do(prepared)
    for stage, causes in reasons(prepared.stages, last, store).items():
        if stage not in to_do:
            continue
        logger.info("%s is made%s", stage, f": {'; '.join(causes)}" if causes else "")
    return begin_job(
        store,
        job=prepared.destination.fingerprint,
        key=prepared.key,
        output=prepared.destination.output,
        base=prepared.choice.base,
        asked=prepared.choice.profile,
        compute=prepared.job.profile.compute,
        sources=prepared.sources,
        stages=prepared.stages,
    )


def _check_disk(prepared: Prepared, progress: PipelineProgress) -> None:
    """Raise `ResourceError` before the work starts if the disk has no room for it; say so if it will be close."""
    plan = None if prepared.request.ignore_disk else plan_disk(prepared)
    note = None if plan is None else require_disk(plan)
    if note is not None:
        progress.note(note)


def _check_memory(prepared: Prepared, progress: PipelineProgress, kept_bytes: int) -> None:
    """Raise `ResourceError` before the work starts if what is left of it will not fit; say so if it will be close.

    `kept_bytes` of main memory hold networks of the job already.
    """
    plan = None if prepared.request.ignore_memory else plan_of(prepared, kept_bytes)
    note = None if plan is None else require_room(plan, prepared.job.profile)
    if note is not None:
        progress.note(note)


def _remember_pace(prepared: Prepared, report: RunReport) -> None:
    num_chunks = len(read_plan(report.artefacts["plan"]).chunks)
    for stage in report.stages:
        if stage.name == GENERATE.name and num_chunks and not (stage.reused or stage.resumed):
            remember_pace(prepared, prepared.picture_size, num_chunks, stage.seconds)
