"""What people and scripts see: progress on stderr, the result on stdout."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from rich.console import Console

from infinitetalk_cli.errors import ExitCode
from infinitetalk_cli.sizes import shown_bytes
from infinitetalk_cli.units import clock, frame_time

if TYPE_CHECKING:
    from infinitetalk_cli.pipeline.disk import DiskPlan
    from infinitetalk_cli.pipeline.dubbing import DubResult
    from infinitetalk_cli.pipeline.fitting import MemoryPlan
    from infinitetalk_cli.pipeline.forecast import Forecast

JSON_SCHEMA = 1
_PLAIN_LINE_EVERY_S = 10.0
_CUTS_SHOWN = 12


def stderr_console() -> Console:
    """A console for everything that is not the result."""
    return Console(stderr=True, highlight=False, soft_wrap=True)


def show_error(message: str, code: ExitCode, as_json: bool) -> int:
    """Say `message` in one sentence on stderr (and as a document on stdout with `--json`); returns `code`."""
    print(f"error: {message}", file=sys.stderr)
    if code == ExitCode.BUG:
        from infinitetalk_cli.cli.log import log_file

        print(f"the full log is {log_file() or 'not kept'}", file=sys.stderr)
    if as_json:
        show_json({"status": "error", "exit_code": int(code), "error": message})
    return code


def show_json(document: Mapping[str, Any]) -> None:
    """Print the one JSON document of a command."""
    print(json.dumps({"schema": JSON_SCHEMA, **document}, indent=1))


class Reporter:
    """Progress for a job of several stages; this base class shows nothing (`--quiet`)."""

    def __enter__(self) -> Reporter:
        return self

    def __exit__(self, *exc: object) -> None:
        pass

    def stage(self, name: str, number: int, count: int, state: str) -> None:
        """Stage `number` of `count` is `done before`, `running` or `waiting`."""

    def start(self, what: str, total: int | None = None, done: int = 0) -> None:
        """See `Progress.start`."""

    def advance(self, steps: int = 1) -> None:
        """See `Progress.advance`."""

    def detail(self, text: str) -> None:
        """See `Progress.detail`."""

    def note(self, text: str) -> None:
        """See `Progress.note`."""


class PlainReporter(Reporter):
    """Lines for logs and pipes: one when a stage begins, then one every ten seconds."""

    def __init__(self) -> None:
        self._what, self._detail = "", ""
        self._total: int | None = None
        self._done = self._done_before = 0
        self._started_s = self._said_s = time.monotonic()

    def stage(self, name: str, number: int, count: int, state: str) -> None:
        self._say(f"[{number}/{count}] {name}: {state}")

    def start(self, what: str, total: int | None = None, done: int = 0) -> None:
        self._what, self._total, self._detail = what, total, ""
        self._done = self._done_before = done
        self._started_s = self._said_s = time.monotonic()

    def advance(self, steps: int = 1) -> None:
        self._done += steps
        if time.monotonic() - self._said_s >= _PLAIN_LINE_EVERY_S:
            self._say_progress()

    def detail(self, text: str) -> None:
        self._detail = text

    def note(self, text: str) -> None:
        self._say(f"note: {text}")

    def _say_progress(self) -> None:
        self._said_s = time.monotonic()
        parts = [f"  {self._what}"]
        if self._total:
            elapsed_s = self._said_s - self._started_s
            left_s = elapsed_s * (self._total - self._done) / max(self._done - self._done_before, 1)
            parts.append(f"{100 * self._done // self._total} %, {clock(left_s)} left")
        if self._detail:
            parts.append(self._detail)
        self._say(", ".join(parts))

    def _say(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)


class RichReporter(Reporter):
    """Live bars on a terminal."""

    def __init__(self) -> None:
        from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

        self._console = stderr_console()
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            TextColumn("{task.percentage:>3.0f} %"),
            TimeRemainingColumn(compact=True),
            TextColumn("{task.fields[detail]}", style="dim"),
            console=self._console,
            transient=True,
        )
        self._task: Any = None

    def __enter__(self) -> Reporter:
        self._progress.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._progress.stop()

    def stage(self, name: str, number: int, count: int, state: str) -> None:
        self._clear()
        self._console.print(f"[{number}/{count}] {name}: {state}", markup=False)

    def start(self, what: str, total: int | None = None, done: int = 0) -> None:
        self._clear()
        self._task = self._progress.add_task(what, total=total, completed=done, detail="")

    def advance(self, steps: int = 1) -> None:
        if self._task is not None:
            self._progress.advance(self._task, steps)

    def detail(self, text: str) -> None:
        if self._task is not None:
            self._progress.update(self._task, detail=text)

    def note(self, text: str) -> None:
        self._console.print(f"note: {text}", markup=False)

    def _clear(self) -> None:
        if self._task is not None:
            self._progress.remove_task(self._task)
            self._task = None


def make_reporter(quiet: bool) -> Reporter:
    """Bars on a terminal, plain lines elsewhere, nothing when `quiet`."""
    if quiet:
        return Reporter()
    return RichReporter() if sys.stderr.isatty() else PlainReporter()


def show_table(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    """Print a table on stdout."""
    from rich.markup import escape
    from rich.table import Table

    table = Table(*header, box=None, pad_edge=False, header_style="bold")
    table.columns[0].no_wrap, table.columns[0].min_width = True, max((len(row[0]) for row in rows), default=0)
    for row in rows:
        table.add_row(*map(escape, row))
    Console(highlight=False).print(table)


def show_dubbed(result: DubResult, *, quiet: bool) -> None:
    """Print where the result is; on stderr how long it took."""
    if not quiet:
        if result.already_done:
            print(f"already finished: {result.output} (use --no-cache to do it again)", file=sys.stderr)
        else:
            assert result.duration_s is not None
            pace = "" if result.resumed else f" ({float(result.duration_s) / result.seconds:.1f} x real time)"
            print(f"dubbed {clock(result.duration_s)} in {clock(result.seconds)}{pace}", file=sys.stderr)
        if result.num_flagged:
            chunks = "1 chunk" if result.num_flagged == 1 else f"{result.num_flagged} chunks"
            where = "" if result.report is None else f": see {result.report}"
            print(f"{chunks} did not pass the checks{where}", file=sys.stderr)
    print(result.output)


def show_dry_run(forecast: Forecast) -> None:
    """Print the plan of a job."""
    _show_stages(forecast)
    about = "about " if forecast.is_estimate else ""
    print(f"profile: {forecast.profile}")
    print(f"output: {forecast.output}")
    print(f"length: {about}{clock(forecast.duration_s)}, {forecast.num_frames} model frames at 25 fps")
    done, left = forecast.num_chunks_done, forecast.num_chunks_left
    unneeded = "" if done + left else ", none needed"
    print(f"chunks: {forecast.num_chunks} of {forecast.chunk_frames} frames, {done} done{unneeded}")
    for line in (*_scene_lines(forecast), *_camera_lines(forecast)):
        print(line)
    print(f"picture: generated at {forecast.width}x{forecast.height}, written at {forecast.output_size}")
    for line in _disk_lines(forecast.disk):
        print(line)
    if forecast.layout is not None:
        print(f"shared by {forecast.layout.text}")
    if forecast.generate_s:
        print(f"time: about {clock(forecast.generate_s)} to generate, as measured on this machine before")
    if forecast.memory is not None:
        show_memory(forecast.memory)


def _show_stages(forecast: Forecast) -> None:
    """Stages and their states; why they are made, if the same files were dubbed before."""
    if any(stage.reasons for stage in forecast.stages):
        rows = [(stage.name, stage.state, "; ".join(stage.reasons)) for stage in forecast.stages]
        show_table(("stage", "state", "because"), rows)
    else:
        show_table(("stage", "state"), [(stage.name, stage.state) for stage in forecast.stages])


def _disk_lines(disk: DiskPlan) -> Iterator[str]:
    """What will be written where, and whether there is room."""
    parts = [f"{part.stage} {shown_bytes(part.num_bytes)}" for part in disk.parts]
    yield f"disk: {shown_bytes(disk.cache_bytes)} more in the cache" + (f" ({', '.join(parts)})" if parts else "")
    free = f"{shown_bytes(disk.cache_free_bytes)} free"
    if not disk.is_one_disk:
        free += f" in the cache, {shown_bytes(disk.output_free_bytes)} at the output"
    yield f"      {shown_bytes(disk.output_bytes)} more at the output; {free}: {_FIT[disk.state]}"


_FIT = {"fits": "enough", "close": "close", "too much": "does not fit"}


def show_memory(plan: MemoryPlan) -> None:
    """Print what a job needs of memory, phase by phase, and whether that will do."""
    on_device = () if plan.needed.on_cpu else (plan.room.device.name,)
    rows = []
    for phase in plan.needed.phases:
        device = () if plan.needed.on_cpu else (f"{phase.device_bytes / 1e9:.1f} GB",)
        rows.append((phase.name, *device, f"{phase.host_bytes / 1e9:.1f} GB"))
    free = () if plan.needed.on_cpu else (f"{plan.room.device.free_bytes / 1e9:.1f} GB",)
    rows.append(("free now", *free, f"{plan.room.host.available_bytes / 1e9:.1f} GB"))
    print(f"memory, as forecast: {_FIT[plan.state]}")
    show_table(("while it does", *on_device, "main memory"), rows)
    if plan.alternatives:
        print(f"would fit: {', '.join(plan.alternatives)}")


def _camera_lines(forecast: Forecast) -> Iterator[str]:
    """Which scenes are locked to the source's camera and why, if its motion decides."""
    seen = [(scene, scene.camera) for scene in forecast.scenes if scene.camera is not None]
    if not seen:
        return
    num_locked = sum(camera.locked for _, camera in seen)
    threshold = f"{seen[0][1].threshold_px_s:g} px/s"
    yield f"camera lock: {num_locked} of {len(seen)} scenes, those in which the camera moves at {threshold} or more"
    for scene, camera in seen[:_CUTS_SHOWN]:
        motion = camera.kind if camera.kind == "unseen" else f"{camera.kind}, {camera.speed_px_s:g} px/s"
        when = f" around {clock(camera.at_s)}" if camera.locked else ""
        methods = (("sdedit", camera.sdedit_strength), ("uni3c", camera.uni3c_strength))
        strengths = "".join(f", {name} {strength:g}" for name, strength in methods if strength is not None)
        yield f"  {clock(scene.start_s)} {'locked' if camera.locked else 'free'}: {motion}{when}{strengths}"
    if len(seen) > _CUTS_SHOWN:
        yield f"  and {len(seen) - _CUTS_SHOWN} more (--json lists all)"


def _scene_lines(forecast: Forecast) -> Iterator[str]:
    """Where the cuts are, and what stays as it is; nothing for a film of one scene that is generated throughout."""
    if len(forecast.scenes) > 1:
        cuts = [clock(scene.start_s) + ("" if scene.begins in ("cut", "listed") else f" ({scene.begins})")
                for scene in forecast.scenes[1:]]  # fmt: skip
        more = f" and {len(cuts) - _CUTS_SHOWN} more (--json lists all)" if len(cuts) > _CUTS_SHOWN else ""
        shown = ", ".join(cuts[:_CUTS_SHOWN])
        per_scene = ", ".join(str(scene.num_chunks) for scene in forecast.scenes[: _CUTS_SHOWN + 1])
        yield f"scenes: {len(forecast.scenes)}, new ones at {shown}{more}; chunks in each: {per_scene}" + (
            ", ..." if more else ""
        )
    if forecast.num_kept_frames:
        yield (
            f"kept: {clock(frame_time(forecast.num_kept_frames))} without speech stay the source's own; "
            f"saves {forecast.share_saved:.0%} of the work"
        )
