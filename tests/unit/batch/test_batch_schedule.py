"""The order of a batch: everything once, what others hold again at the end, and what a stop leaves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from infinitetalk_cli.batch import schedule
from infinitetalk_cli.batch.jobs import BatchJob, Began, End, State
from infinitetalk_cli.batch.schedule import Record, run_batch
from infinitetalk_cli.pipeline.request import DubRequest


class ScriptedEngine:
    """Ends each job as its script says, one state for each time that the job is run."""

    def __init__(self, script: dict[int, list[State]]) -> None:
        self.script, self.asked, self.is_stopped = script, [], False

    def run(self, jobs: Sequence[BatchJob]) -> Iterator[Began | End]:
        for job in jobs:
            self.asked.append(job.number)
            yield Began(job.number)
            state = self.script[job.number].pop(0)
            if state is State.STOPPED:
                raise KeyboardInterrupt
            yield End(job.number, state, exit_code=4 if state is State.FAILED else 0)

    def stop(self) -> None:
        self.is_stopped = True


class Listener:
    """Remembers what it heard."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, int]] = []

    def began(self, job, where) -> None:
        self.heard.append(("began", job.number))

    def held(self, job, end) -> None:
        self.heard.append(("held", job.number))

    def ended(self, job, end) -> None:
        self.heard.append(("ended", job.number))

    def waits(self, jobs, why) -> None:
        self.heard.append(("waits", len(jobs)))


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses that would have been made."""
    pauses: list[float] = []
    monkeypatch.setattr(schedule.time, "sleep", pauses.append)
    return pauses


def run(script: dict[int, list[State]], **options: bool) -> tuple[ScriptedEngine, list[State], Listener]:
    jobs = [
        BatchJob(number, f"row {number}", DubRequest(Path(f"{number}.mp4"), (Path("a.wav"),), Path("cache")))
        for number in script
    ]
    engine, record, listener = ScriptedEngine(script), Record(jobs), Listener()
    try:
        run_batch(record, engine, listener, **options)
    except KeyboardInterrupt:
        listener.heard.append(("stopped", 0))
    assert engine.is_stopped
    return engine, [outcome.end.state for outcome in record.outcomes()], listener


def test_a_failure_stops_nothing():
    engine, states, _ = run({1: [State.DONE], 2: [State.FAILED], 3: [State.DONE_BEFORE]})
    assert engine.asked == [1, 2, 3] and states == [State.DONE, State.FAILED, State.DONE_BEFORE]


def test_fail_fast_leaves_the_rest():
    engine, states, _ = run({1: [State.DONE], 2: [State.FAILED], 3: [State.DONE]}, fail_fast=True)
    assert engine.asked == [1, 2] and states == [State.DONE, State.FAILED, State.NOT_RUN]


def test_what_others_hold_comes_again_at_the_end(no_pauses: list[float]):
    held = State.HELD
    engine, states, listener = run({1: [held, held, held, State.DONE], 2: [State.DONE], 3: [held, State.DONE_BEFORE]})
    assert engine.asked == [1, 2, 3, 1, 3, 1, 1]
    assert states == [State.DONE, State.DONE, State.DONE_BEFORE]
    assert no_pauses == [1.0, 1.0, 2.0], "longer only where nothing at all got on"
    assert ("waits", 2) in listener.heard


def test_without_waiting_they_are_left_to_the_others():
    engine, states, _ = run({1: [State.HELD], 2: [State.DONE]}, waits=False)
    assert engine.asked == [1, 2] and states == [State.HELD, State.DONE]


def test_a_stop_tells_begun_from_not_begun():
    _, states, listener = run({1: [State.DONE], 2: [State.STOPPED], 3: [State.DONE]})
    assert states == [State.DONE, State.STOPPED, State.NOT_RUN] and listener.heard[-1] == ("stopped", 0)
