"""One job after the other, in this very process."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

from infinitetalk_cli.batch.jobs import BatchJob, Began, End, Watcher
from infinitetalk_cli.batch.shelf import Shelf
from infinitetalk_cli.batch.work import JobProgress, do_job


class HereEngine:
    """Runs the jobs itself; the networks are loaded once for all that have the same."""

    def __init__(self, watcher: Watcher) -> None:
        self._watcher, self.shelf = watcher, Shelf()

    def run(self, jobs: Sequence[BatchJob]) -> Iterator[Began | End]:
        """See `Engine.run`."""
        for job in jobs:
            yield Began(job.number)
            progress = JobProgress(partial(self._watcher.moved, job.number), partial(self._watcher.note, job.number))
            yield do_job(job, self.shelf, progress)

    def stop(self) -> None:
        """See `Engine.stop`."""
        self.shelf.clear()
