"""`infinitetalk batch`: read a list of jobs, run it, say what became of each."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NoReturn

import typer

from infinitetalk_cli.cli.batch_jobs import NOT_FOR_ALL
from infinitetalk_cli.cli.dub_options import dub_request
from infinitetalk_cli.cli.evaluate_split import end_incomplete
from infinitetalk_cli.cli.options import Json, Quiet, Verbose, cache_root
from infinitetalk_cli.cli.render import Reporter, make_reporter, show_error, show_json
from infinitetalk_cli.cli.signatures import with_given_options_of
from infinitetalk_cli.errors import BatchError, ExitCode, LockedError, Stopped

if TYPE_CHECKING:
    from infinitetalk_cli.batch.jobs import BatchJob, Engine, Outcome
    from infinitetalk_cli.batch.schedule import Record
    from infinitetalk_cli.cli.batch_show import BatchReporter

_JOBS, _WHERE = "Many jobs", "Where they run"
_SHARD = re.compile(r"([0-9]+)/([0-9]+)")


def _option(*names: str, panel: str, help: str, **kwargs: Any) -> Any:
    return typer.Option(*names, help=help, rich_help_panel=panel, **kwargs)


@with_given_options_of(dub_request, without=NOT_FOR_ALL)
def batch(
    given: dict[str, Any],
    jobs: Annotated[
        Path | None,
        typer.Argument(help="CSV or YAML file: video, audio, output and other options of dub, one row per job."),
    ] = None,
    pair_dir: Annotated[
        Path | None, _option("--pair-dir", panel=_JOBS, help="Instead of JOBS: a folder of videos and voices.")
    ] = None,
    audio_suffix: Annotated[
        str | None, _option("--audio-suffix", panel=_JOBS, help="With --pair-dir: .fr.wav pairs a.mp4 with a.fr.wav.")
    ] = None,
    output_dir: Annotated[
        Path | None,
        _option(
            "-o",
            "--output-dir",
            panel=_JOBS,
            help="Folder for results that no row names.",
            show_default="beside the videos",
        ),
    ] = None,
    shard: Annotated[
        str | None, _option("--shard", panel=_JOBS, metavar="I/N", help="Only every Nth job, beginning with the Ith.")
    ] = None,
    fail_fast: Annotated[bool, _option("--fail-fast", panel=_JOBS, help="Stop at the first failure.")] = False,
    no_wait: Annotated[
        bool, _option("--no-wait", panel=_JOBS, help="Leave jobs that other runs hold to them; exit 9 if that is all.")
    ] = False,
    engine: Annotated[
        Literal["local", "ray"], _option("--engine", panel=_WHERE, help="This computer, or a Ray cluster (extra: ray).")
    ] = "local",
    workers: Annotated[
        int, _option("--workers", panel=_WHERE, min=1, max=256, help="Local processes; each takes a GPU in turn.")
    ] = 1,
    address: Annotated[
        str | None,
        _option(
            "--address", panel=_WHERE, help="Of the Ray cluster.", show_default="RAY_ADDRESS, else a new local one"
        ),
    ] = None,
    gpus_per_job: Annotated[
        float | None,
        _option(
            "--gpus-per-job", panel=_WHERE, min=0, help="GPUs that Ray gives a job.", show_default="1 if there are"
        ),
    ] = None,
    cpus_per_job: Annotated[
        float, _option("--cpus-per-job", panel=_WHERE, min=0, help="Processor cores that Ray gives a job.")
    ] = 1,
    retries: Annotated[
        int, _option("--retries", panel=_WHERE, min=0, help="How often a job goes on after its process or node died.")
    ] = 3,
    dry_run: Annotated[bool, _option("--dry-run", panel=_JOBS, help="Show what would be done and stop.")] = False,
    as_json: Json = False,
    json_lines: Annotated[
        bool, typer.Option("--json-lines", help="Print one JSON document per job as it ends.")
    ] = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Dub many videos; the model is loaded once.

    A job that fails does not stop the others. Run it again and only what is missing is done. Several runs of one list
    share the work. Options of `dub` count for all rows that do not say otherwise.
    """
    from infinitetalk_cli.cli.log import open_log

    _check_options(jobs, pair_dir, audio_suffix, engine, workers, address, gpus_per_job, as_json, json_lines)
    root = cache_root(given.get("cache_dir"))
    given["cache_dir"] = root
    set_up = partial(open_log, root, "batch", verbose=verbose, quiet=True)
    open_log(root, "batch", verbose=verbose, quiet=quiet)
    with make_reporter(quiet) as early:
        todo = _sharded(_read(jobs, pair_dir, audio_suffix, output_dir, given, early), shard)
        _look_at_locks(root, shard, early)
    if dry_run:
        _forecast(todo, quiet, as_json, json_lines)
        return
    from infinitetalk_cli.batch.schedule import Record, run_batch
    from infinitetalk_cli.cli.batch_show import make_batch_reporter

    record = Record(todo)
    stopped: Stopped | None = None
    with make_batch_reporter(len(todo), quiet, json_lines) as reporter:
        try:
            runs = _engine(engine, workers, address, gpus_per_job, cpus_per_job, retries, todo, root, reporter, set_up)
            run_batch(record, runs, reporter, fail_fast=fail_fast, waits=not no_wait)
        except Stopped as exc:
            stopped = exc
    _end(record, stopped, as_json=as_json, json_lines=json_lines)


def _check_options(
    jobs: Path | None, pair_dir: Path | None, audio_suffix: str | None, engine: str, workers: int, address: str | None,
    gpus_per_job: float | None, as_json: bool, json_lines: bool,
) -> None:  # fmt: skip
    if (jobs is None) == (pair_dir is None):
        raise typer.BadParameter("give either JOBS, a CSV or YAML file, or --pair-dir DIR with --audio-suffix .fr.wav")
    if (pair_dir is None) != (audio_suffix is None):
        raise typer.BadParameter("--pair-dir DIR and --audio-suffix .fr.wav belong together")
    if audio_suffix is not None and (not audio_suffix.rpartition(".")[2] or "/" in audio_suffix):
        raise typer.BadParameter(f"--audio-suffix {audio_suffix!r}: wants the end of file names, such as .fr.wav")
    if as_json and json_lines:
        raise typer.BadParameter("--json prints one document, --json-lines one per job; choose one")
    if engine == "ray" and workers != 1:
        raise typer.BadParameter("--workers has no effect with --engine ray, which has its own")
    for name, value in (("--address", address), ("--gpus-per-job", gpus_per_job)):
        if engine != "ray" and value is not None:
            raise typer.BadParameter(f"{name} has no effect without --engine ray")


def _read(
    jobs: Path | None, pair_dir: Path | None, audio_suffix: str | None, output_dir: Path | None,
    given: Mapping[str, Any], reporter: Reporter,
) -> list[BatchJob]:  # fmt: skip
    from infinitetalk_cli.batch.pairs import find_pairs
    from infinitetalk_cli.batch.rows import read_table
    from infinitetalk_cli.cli.batch_jobs import columns, read_jobs, repeated_columns

    if jobs is not None:
        table = read_table(jobs, columns(), repeated_columns())
        return read_jobs(table, jobs.parent, given, output_dir)
    assert pair_dir is not None and audio_suffix is not None
    pairs = find_pairs(pair_dir, audio_suffix, output_dir, given.get("container"))
    for path in pairs.lone_videos:
        reporter.note(f"{path}: has no voice (*{audio_suffix}), it is left out")
    for path in pairs.lone_voices:
        reporter.note(f"{path}: has no video, it is left out")
    return read_jobs(pairs.table, pair_dir, given, output_dir)


def _sharded(jobs: list[BatchJob], shard: str | None) -> list[BatchJob]:
    if shard is None:
        return jobs
    match = _SHARD.fullmatch(shard)
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        raise typer.BadParameter(f"--shard {shard}: wants I/N, such as 1/4 ... 4/4 for four machines")
    return jobs[int(match[1]) - 1 :: int(match[2])]


def _look_at_locks(root: Path, shard: str | None, reporter: Reporter) -> None:
    """Refuse a cache in which locks do nothing; say so where they may not reach the other tasks of a Slurm array."""
    from infinitetalk_cli.cache.reach import Reach, locks_in, require_locks

    require_locks(root / "locks")
    locks = locks_in(root)
    if shard is None and "SLURM_ARRAY_TASK_ID" in os.environ and locks.reach is not Reach.EVERYBODY:
        reporter.note(
            f"{root}: locks on {locks.file_system} reach {locks.reach}; tasks of an array on several nodes could do "
            "the same work, give each its own with --shard I/N"
        )


def _engine(
    engine: str, workers: int, address: str | None, gpus_per_job: float | None, cpus_per_job: float, retries: int,
    jobs: Sequence[BatchJob], root: Path, reporter: BatchReporter, set_up: partial[None],
) -> Engine:  # fmt: skip
    if engine == "ray":
        from infinitetalk_cli.batch.ray_engine import RayEngine

        return RayEngine(address, gpus_per_job, cpus_per_job, retries, root, reporter, set_up)
    if min(workers, len(jobs)) > 1:
        from infinitetalk_cli.batch.workers import WorkersEngine

        return WorkersEngine(min(workers, len(jobs)), reporter, set_up, retries)
    from infinitetalk_cli.batch.here import HereEngine

    return HereEngine(reporter)


def _end(record: Record, stopped: Stopped | None, *, as_json: bool, json_lines: bool) -> None:
    """Show what became of the jobs, and end with the exit code that says it."""
    from infinitetalk_cli.cli.batch_show import counted, show_line, show_outcomes

    if stopped is not None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    outcomes = record.outcomes()
    code = _exit_code(outcomes, stopped)
    if as_json:
        show_json({
            "status": "done" if code == ExitCode.DONE else "stopped" if stopped is not None else "incomplete",
            "exit_code": int(code),
            "summary": counted(outcomes),
            "jobs": [outcome.as_dict() for outcome in outcomes],
        })  # fmt: skip
    elif json_lines:
        for outcome in outcomes:
            if outcome.job.number not in record.ends:
                show_line(outcome.as_dict())
    else:
        show_outcomes(outcomes)
    says_all = as_json or json_lines
    if stopped is not None:
        _end_stopped(stopped, code)
    if code == ExitCode.LOCKED:
        end_incomplete(LockedError(f"{counted(outcomes)}; run the same command again for the rest"), says_all)
    if code == ExitCode.BATCH:
        end_incomplete(BatchError(f"{counted(outcomes)}; run the same command again for the rest"), says_all)


def _exit_code(outcomes: Sequence[Outcome], stopped: Stopped | None) -> ExitCode:
    from infinitetalk_cli.batch.jobs import State

    states = {outcome.end.state for outcome in outcomes}
    if stopped is not None:
        return stopped.exit_code
    if states & {State.FAILED, State.STOPPED, State.NOT_RUN}:
        return ExitCode.BATCH
    return ExitCode.LOCKED if State.HELD in states else ExitCode.DONE


def _end_stopped(stopped: Stopped, code: ExitCode) -> NoReturn:
    show_error(f"stopped by {stopped}; run the same command again to go on", code, as_json=False)
    raise SystemExit(int(code))


def _forecast(jobs: Sequence[BatchJob], quiet: bool, as_json: bool, json_lines: bool) -> None:
    from infinitetalk_cli.batch.forecasts import forecasts
    from infinitetalk_cli.cli.batch_show import show_forecasts, show_line

    found, seen = [], set()

    class Once(Reporter):
        """Most notes are the same for all rows."""

        def note(self, text: str) -> None:
            if text not in seen:
                seen.add(text)
                reporter.note(text)

    with make_reporter(quiet) as reporter:
        for each in forecasts(jobs, Once()):
            found.append(each)
            if json_lines:
                show_line(each.as_dict())
    failed = [each for each in found if each.error is not None]
    code = ExitCode.BATCH if failed else ExitCode.DONE
    if as_json:
        show_json({"status": "incomplete" if failed else "done", "exit_code": int(code),
                   "jobs": [each.as_dict() for each in found]})  # fmt: skip
    elif not json_lines:
        show_forecasts(found)
    if failed:
        end_incomplete(BatchError(f"{len(failed)} of {len(found)} jobs cannot run"), as_json or json_lines)
