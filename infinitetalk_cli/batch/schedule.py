"""Runs a list of jobs: all of them once, and those that others held again at the end."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from infinitetalk_cli.batch.jobs import BatchJob, Began, End, Engine, Outcome, State, Watcher

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 1.0, 30.0


@dataclass
class Record:
    """What is known of a batch at any moment, also when it is stopped in the middle."""

    jobs: Sequence[BatchJob]
    ends: dict[int, End] = field(default_factory=dict)
    begun: set[int] = field(default_factory=set)

    def outcomes(self) -> list[Outcome]:
        """Every job with what became of it, in the list's order."""
        return [Outcome(job, self.ends.get(job.number) or self._unfinished(job)) for job in self.jobs]

    def _unfinished(self, job: BatchJob) -> End:
        return End(job.number, State.STOPPED if job.number in self.begun else State.NOT_RUN)


def run_batch(record: Record, engine: Engine, watcher: Watcher, *, fail_fast: bool = False, waits: bool = True) -> None:
    """Run the jobs of `record` and enter there what becomes of them.

    A job that another run holds is tried again when all others have had their turn, and again until it is free; with
    `waits` off it is left to that run. With `fail_fast` the first failure stops the rest.
    """
    todo, pause_s = list(record.jobs), _FIRST_PAUSE_S
    try:
        while todo:
            held = _round(record, todo, engine, watcher, fail_fast)
            if held is None:
                return
            if held and not waits:
                for job in todo:
                    if job.number in held:
                        record.ends[job.number] = held[job.number]
                        watcher.ended(job, held[job.number])
                return
            pause_s = _FIRST_PAUSE_S if len(held) < len(todo) else min(2 * pause_s, _LONGEST_PAUSE_S)
            todo = [job for job in todo if job.number in held]
            if todo:
                watcher.waits(todo, next(iter(held.values())).error or "")
                time.sleep(pause_s)
    finally:
        engine.stop()


def _round(
    record: Record, jobs: Sequence[BatchJob], engine: Engine, watcher: Watcher, fail_fast: bool
) -> dict[int, End] | None:
    """Every one of `jobs` once; returns those that others hold, None if the rest is not to be run."""
    by_number, held = {job.number: job for job in jobs}, {}
    for event in engine.run(jobs):
        job = by_number[event.number]
        if isinstance(event, Began):
            record.begun.add(job.number)
            watcher.began(job, event.where)
        elif event.state is State.HELD:
            record.begun.discard(job.number)
            held[job.number] = event
            watcher.held(job, event)
        else:
            record.ends[job.number] = event
            watcher.ended(job, event)
            if fail_fast and event.state is State.FAILED:
                return None
    return held
