"""What a batch would do: every job is prepared, and nothing is computed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from infinitetalk_cli.batch.jobs import BatchJob
from infinitetalk_cli.errors import InfiniteTalkError
from infinitetalk_cli.pipeline.disk import plan_disk
from infinitetalk_cli.pipeline.extent import length, num_chunks_begun
from infinitetalk_cli.pipeline.preparing import prepare
from infinitetalk_cli.pipeline.remaining import is_finished, stages_to_do
from infinitetalk_cli.pipeline.runner import PipelineProgress
from infinitetalk_cli.stages.generate import GENERATE


@dataclass(frozen=True)
class JobForecast:
    """What one job would do. Of a job that cannot even be prepared only `error` and its code are known."""

    job: BatchJob
    stages: tuple[str, ...] = ()
    """Those that would be made; none if the result is there."""
    output: str | None = None
    profile: str | None = None
    duration_s: float | None = None
    num_chunks_done: int = 0
    """What an interrupted run has left; how many there are in all depends on cuts that nobody has looked for yet."""
    cache_bytes: int = 0
    error: str | None = None
    exit_code: int = 0

    @property
    def state(self) -> str:
        """`already done`, `to do`, `resumable` or `cannot run`."""
        if self.error is not None:
            return "cannot run"
        if not self.stages:
            return "already done"
        return "resumable" if self.num_chunks_done else "to do"

    def as_dict(self) -> dict[str, Any]:
        """The forecast as plain data, for `--json` and `--json-lines`."""
        request = self.job.request
        return {
            "row": self.job.number,
            "video": str(request.video),
            "audio": [str(path) for path in request.audio],
            "status": self.state,
            "output": self.output,
            "profile": self.profile,
            "duration_s": self.duration_s,
            "stages": list(self.stages),
            "chunks_done": self.num_chunks_done,
            "cache_bytes": self.cache_bytes,
            "exit_code": self.exit_code,
            "error": self.error,
        }


def forecasts(jobs: Sequence[BatchJob], progress: PipelineProgress) -> Iterator[JobForecast]:
    """One after the other. No film is decoded for it, so a list of a thousand takes a minute or two."""
    for job in jobs:
        try:
            yield _forecast(job, progress)
        except InfiniteTalkError as exc:
            yield JobForecast(job, error=str(exc), exit_code=exc.exit_code)


def _forecast(job: BatchJob, progress: PipelineProgress) -> JobForecast:
    prepared = prepare(job.request, progress)
    prepared.check_destination(make_folders=False)
    output, profile = str(prepared.destination.output), prepared.job.profile.name
    if is_finished(prepared):
        return JobForecast(job, output=output, profile=profile)
    to_do = tuple(stages_to_do(prepared))
    return JobForecast(
        job,
        stages=to_do or ("delivery",),
        output=output,
        profile=profile,
        duration_s=float(length(prepared)[0]),
        num_chunks_done=num_chunks_begun(prepared) if GENERATE.name in to_do else 0,
        cache_bytes=plan_disk(prepared).cache_bytes,
    )
