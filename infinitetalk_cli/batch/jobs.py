"""A job of a batch, what can become of it, and who hears of that."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from infinitetalk_cli.pipeline.request import DubRequest


@dataclass(frozen=True)
class BatchJob:
    """One row of the list: its number, where it stands (`row 4`), and what it asks for; all paths are absolute."""

    number: int
    place: str
    request: DubRequest

    @property
    def name(self) -> str:
        """For people: the file that comes out, or goes in."""
        return (self.request.output or self.request.video).name


class State(StrEnum):
    """What became of a job."""

    DONE = "done"
    DONE_BEFORE = "already done"
    FAILED = "failed"
    HELD = "held by another run"
    STOPPED = "stopped"
    NOT_RUN = "not run"


@dataclass(frozen=True)
class End:
    """How one attempt at a job ended. `error` and `exit_code` are those that a single `dub` would end with.

    `seconds` is the time it took, `host` the computer that did it.
    """

    number: int
    state: State
    output: Path | None = None
    seconds: float = 0.0
    exit_code: int = 0
    error: str | None = None
    report: Path | None = None
    num_flagged: int = 0
    host: str | None = None


@dataclass(frozen=True)
class Began:
    """Somebody works on job `number` now; `where` tells workers apart."""

    number: int
    where: str | None = None


class Watcher(Protocol):
    """Hears what happens to the jobs, in the process that the user started."""

    def began(self, job: BatchJob, where: str | None) -> None:
        """Somebody works on `job`."""

    def moved(self, number: int, text: str) -> None:
        """Where job `number` is now: `generate 40 %, chunk 3/7`."""

    def note(self, number: int, text: str) -> None:
        """Something about job `number` that the user should read once."""

    def held(self, job: BatchJob, end: End) -> None:
        """Another run works on `job`; it is tried again later."""

    def ended(self, job: BatchJob, end: End) -> None:
        """`job` is done, or failed, or is left to the run that holds it."""

    def waits(self, jobs: Sequence[BatchJob], why: str) -> None:
        """Nothing else is left than `jobs`, which other runs hold."""


class Engine(Protocol):
    """Runs jobs somewhere."""

    def run(self, jobs: Sequence[BatchJob]) -> Iterator[Began | End]:
        """Beginnings, as far as they are known, and each job's end; one that another run holds is HELD at once."""

    def stop(self) -> None:
        """Let go of everything; jobs in work stop where they are, to be resumed."""


@dataclass(frozen=True)
class Outcome:
    """A job and what became of it in the end."""

    job: BatchJob
    end: End

    def as_dict(self) -> dict[str, Any]:
        """The outcome as plain data, for `--json` and `--json-lines`."""
        request, end = self.job.request, self.end
        return {
            "row": self.job.number,
            "video": str(request.video),
            "audio": [str(path) for path in request.audio],
            "status": end.state.value,
            "output": None if end.output is None else str(end.output),
            "seconds": round(end.seconds, 3),
            "exit_code": end.exit_code,
            "error": end.error,
            "report": None if end.report is None else str(end.report),
            "flagged_chunks": end.num_flagged,
            "host": end.host,
        }
