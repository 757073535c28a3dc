"""What people and scripts see of a batch: a live table or plain lines on stderr, the result on stdout."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TextIO

from infinitetalk_cli.batch.jobs import BatchJob, End, Outcome, State
from infinitetalk_cli.cli.render import JSON_SCHEMA, show_table, stderr_console
from infinitetalk_cli.sizes import shown_bytes
from infinitetalk_cli.units import clock

if TYPE_CHECKING:
    from rich.table import Table

    from infinitetalk_cli.batch.forecasts import JobForecast

_PLAIN_LINE_EVERY_S = 30.0
_ENDS_SHOWN = 8
_STYLES = {State.FAILED: "red", State.DONE: "green"}


class BatchReporter:
    """Follows a batch; this base class shows nothing but JSON lines, if they are asked for."""

    def __init__(self, num_jobs: int, json_lines: bool) -> None:
        self.num_jobs, self._json_lines = num_jobs, json_lines
        self._stdout = sys.stdout  # an engine may send what its libraries print there elsewhere
        self.running: dict[int, tuple[BatchJob, str | None]] = {}
        self.positions: dict[int, str] = {}
        self.ends: list[tuple[BatchJob, End]] = []

    def __enter__(self) -> BatchReporter:
        return self

    def __exit__(self, *exc: object) -> None:
        pass

    def began(self, job: BatchJob, where: str | None) -> None:
        """See `Watcher.began`."""
        self.running[job.number] = (job, where)
        self.positions[job.number] = "begins"

    def moved(self, number: int, text: str) -> None:
        """See `Watcher.moved`."""
        self.positions[number] = text

    def note(self, number: int, text: str) -> None:
        """See `Watcher.note`."""

    def held(self, job: BatchJob, end: End) -> None:
        """See `Watcher.held`."""
        self.running.pop(job.number, None)

    def ended(self, job: BatchJob, end: End) -> None:
        """See `Watcher.ended`."""
        self.running.pop(job.number, None)
        self.ends.append((job, end))
        if self._json_lines:
            show_line(Outcome(job, end).as_dict(), self._stdout)

    def waits(self, jobs: Sequence[BatchJob], why: str) -> None:
        """See `Watcher.waits`."""


class PlainBatchReporter(BatchReporter):
    """Lines for logs and pipes: when a job begins and ends, and where it is now and then."""

    def __init__(self, num_jobs: int, json_lines: bool) -> None:
        super().__init__(num_jobs, json_lines)
        self._said_s: dict[int, float] = {}
        self._notes: set[str] = set()
        self._waits_for: set[int] = set()

    def began(self, job: BatchJob, where: str | None) -> None:
        super().began(job, where)
        self._said_s[job.number] = time.monotonic()
        if where is not None:
            self._say(job, f"begins ({where})")

    def moved(self, number: int, text: str) -> None:
        super().moved(number, text)
        if time.monotonic() - self._said_s.get(number, 0.0) >= _PLAIN_LINE_EVERY_S and number in self.running:
            self._said_s[number] = time.monotonic()
            self._say(self.running[number][0], text)

    def note(self, number: int, text: str) -> None:
        if text not in self._notes:  # most are the same for all rows
            self._notes.add(text)
            print(f"note: {text}", file=sys.stderr, flush=True)

    def held(self, job: BatchJob, end: End) -> None:
        super().held(job, end)
        if job.number not in self._waits_for:
            self._waits_for.add(job.number)
            self._say(job, f"later, {end.error}")

    def ended(self, job: BatchJob, end: End) -> None:
        super().ended(job, end)
        self._say(job, described(end))

    def _say(self, job: BatchJob, text: str) -> None:
        print(f"[{len(self.ends)}/{self.num_jobs}] {job.place} {job.name}: {text}", file=sys.stderr, flush=True)


class LiveBatchReporter(BatchReporter):
    """A table on a terminal: what runs now, what ended last, how many are left."""

    def __init__(self, num_jobs: int, json_lines: bool) -> None:
        from rich.live import Live

        super().__init__(num_jobs, json_lines)
        self._console = stderr_console()
        self._began_s = time.monotonic()
        self._notes: set[str] = set()
        self._waiting = ""
        self._live = Live(get_renderable=self._table, console=self._console, refresh_per_second=4, transient=True)

    def __enter__(self) -> BatchReporter:
        self._live.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._live.stop()

    def note(self, number: int, text: str) -> None:
        if text not in self._notes:
            self._notes.add(text)
            self._console.print(f"note: {text}", markup=False)

    def began(self, job: BatchJob, where: str | None) -> None:
        super().began(job, where)
        self._waiting = ""

    def waits(self, jobs: Sequence[BatchJob], why: str) -> None:
        self._waiting = f"waiting for {len(jobs)} that other runs hold"

    def _table(self) -> Table:
        from rich.table import Table
        from rich.text import Text

        ended = [(job, described(end), _STYLES.get(end.state, "dim")) for job, end in self.ends[-_ENDS_SHOWN:]]
        room = max(1, self._console.height - _ENDS_SHOWN - 4)
        running = [
            (job, self.positions.get(job.number, "") + ("" if where is None else f" ({where})"), "bold")
            for job, where in list(self.running.values())[:room]
        ]
        table = Table.grid(padding=(0, 2), pad_edge=False)
        table.title, table.title_justify = Text(self._headline()), "left"
        for job, text, style in (*ended, *running):
            cells = Text(job.place), Text(job.name), Text(text, style=style)
            for cell, width in zip(cells, _cell_widths(self._console.width), strict=True):
                cell.truncate(width, overflow="ellipsis")
            table.add_row(*cells)
        return table

    def _headline(self) -> str:
        failed = sum(end.state is State.FAILED for _, end in self.ends)
        parts = [f"{len(self.ends)} of {self.num_jobs} jobs", clock(time.monotonic() - self._began_s)]
        if failed:
            parts.append(f"{failed} failed")
        return ", ".join((*parts, self._waiting) if self._waiting else parts)


def _cell_widths(width: int) -> tuple[int, int, int]:
    """For place, name and text: without limits a long text would squeeze the others out."""
    place, name = min(20, width // 5), width // 3
    return place, name, max(1, width - place - name - 4)


def make_batch_reporter(num_jobs: int, quiet: bool, json_lines: bool) -> BatchReporter:
    """A live table on a terminal, plain lines elsewhere, nothing when `quiet`."""
    if quiet:
        return BatchReporter(num_jobs, json_lines)
    return (LiveBatchReporter if sys.stderr.isatty() else PlainBatchReporter)(num_jobs, json_lines)


def described(end: End) -> str:
    """An end in a few words."""
    if end.state is State.DONE:
        flagged = f", {end.num_flagged} chunks did not pass the checks" if end.num_flagged else ""
        return f"done in {clock(end.seconds)}{flagged}"
    return f"{end.state.value}: {end.error}" if end.error else end.state.value


def show_line(document: dict[str, Any], file: TextIO | None = None) -> None:
    """Print one document on one line."""
    print(json.dumps({"schema": JSON_SCHEMA, **document}), file=file, flush=True)


def show_outcomes(outcomes: Sequence[Outcome]) -> None:
    """Print how many are done, and a table of those that are not, with why."""
    rows = [
        (each.job.place, each.job.name, str(each.end.exit_code or ""), described(each.end))
        for each in outcomes
        if each.end.state not in (State.DONE, State.DONE_BEFORE)
    ]
    if rows:
        show_table(("where", "job", "code", "what became of it"), rows)
    print(counted(outcomes))


def counted(outcomes: Sequence[Outcome]) -> str:
    """`20 jobs: 17 done, 2 already done, 1 failed`."""
    states = [each.end.state for each in outcomes]
    parts = [f"{states.count(state)} {state.value}" for state in State if state in states]
    jobs = "1 job" if len(outcomes) == 1 else f"{len(outcomes)} jobs"
    return f"{jobs}: {', '.join(parts) or 'nothing to do'}"


def show_forecasts(found: Sequence[JobForecast]) -> None:
    """Print what would be done, row by row, and in all."""
    rows = [(each.job.place, each.job.name, each.state, _shown_work(each)) for each in found]
    show_table(("where", "job", "state", "what would be done"), rows)
    to_do = [each for each in found if each.stages]
    length_s = sum(each.duration_s or 0.0 for each in to_do)
    room = shown_bytes(sum(each.cache_bytes for each in to_do))
    print(f"{len(to_do)} of {len(found)} to do, {clock(length_s)} in all; about {room} more in the cache")


def _shown_work(each: JobForecast) -> str:
    if each.error is not None:
        return each.error
    if not each.stages or each.duration_s is None:
        return ""
    begun = f", {each.num_chunks_done} chunks there" if each.num_chunks_done else ""
    return f"{clock(each.duration_s)}{begun}: {', '.join(each.stages)}"
