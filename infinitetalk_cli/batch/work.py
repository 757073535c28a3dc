"""One job of a batch, from preparing to handing over; whatever goes wrong with it becomes its end."""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from infinitetalk_cli.batch.jobs import BatchJob, End, State
from infinitetalk_cli.errors import ExitCode, InfiniteTalkError, LockedError, ResourceError
from infinitetalk_cli.pipeline import dubbing
from infinitetalk_cli.pipeline.preparing import prepare

if TYPE_CHECKING:
    from infinitetalk_cli.batch.shelf import Shelf
    from infinitetalk_cli.pipeline.runner import PipelineProgress

logger = logging.getLogger(__name__)

_SAY_EVERY_S = 0.5


def do_job(job: BatchJob, shelf: Shelf, progress: PipelineProgress) -> End:
    """Make what is missing of `job`; only what stops the whole program is raised."""
    began_s = time.monotonic()

    def end(state: State, error: str | None = None, code: int = 0) -> End:
        return End(
            job.number, state, error=error, exit_code=code, seconds=time.monotonic() - began_s,
            host=socket.gethostname(),
        )  # fmt: skip

    try:
        return _done(job, dubbing.dub(prepare(job.request, progress), progress, shelf.models_of))
    except LockedError as exc:
        return end(State.HELD, str(exc), ExitCode.LOCKED)
    except ResourceError as exc:  # what is loaded may be what is in the way of the next one
        _log(job, exc)
        shelf.clear()
        return end(State.FAILED, str(exc), ExitCode.RESOURCE)
    except InfiniteTalkError as exc:
        _log(job, exc)
        return end(State.FAILED, str(exc), exc.exit_code)
    except MemoryError as exc:
        _log(job, exc)
        shelf.clear()
        return end(State.FAILED, "out of memory; finished chunks are kept, run it again", ExitCode.RESOURCE)
    except Exception as exc:
        _log(job, exc)
        text = f"this is a bug in infinitetalk, please report it: {exc!r} (the log has more)"
        return end(State.FAILED, text, ExitCode.BUG)


def _done(job: BatchJob, result: dubbing.DubResult) -> End:
    return End(
        job.number,
        State.DONE_BEFORE if result.already_done else State.DONE,
        output=result.output,
        seconds=result.seconds,
        report=result.report,
        num_flagged=result.num_flagged,
        host=socket.gethostname(),
    )


def _log(job: BatchJob, exc: BaseException) -> None:
    logger.debug("%s failed", job.place, exc_info=exc)


class JobProgress:
    """Turns the progress of one job into a line now and then, for tables that show many."""

    def __init__(self, moved: Callable[[str], None], note: Callable[[str], None]) -> None:
        self._moved, self._note = moved, note
        self._stage = self._detail = ""
        self._total: int | None = None
        self._done = 0
        self._said_s = 0.0

    def stage(self, name: str, number: int, count: int, state: str) -> None:
        """See `PipelineProgress.stage`."""
        if state in ("running", "resuming"):
            self._stage, self._detail, self._total = name, "", None
            self._say()

    def start(self, what: str, total: int | None = None, done: int = 0) -> None:
        """See `Progress.start`."""
        self._total, self._done, self._detail = total, done, ""

    def advance(self, steps: int = 1) -> None:
        """See `Progress.advance`."""
        self._done += steps
        if time.monotonic() - self._said_s > _SAY_EVERY_S:
            self._say()

    def detail(self, text: str) -> None:
        """See `Progress.detail`."""
        self._detail = text

    def note(self, text: str) -> None:
        """See `Progress.note`."""
        self._note(text)

    def _say(self) -> None:
        self._said_s = time.monotonic()
        share = f" {100 * self._done // self._total} %" if self._total else ""
        self._moved(f"{self._stage}{share}" + (f", {self._detail}" if self._detail else ""))
