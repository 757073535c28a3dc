"""`infinitetalk cache`: what was kept of earlier jobs, and removing it."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from infinitetalk_cli.cli.options import CACHE_SIZE_VARIABLE, CacheDir, Json, Quiet, cache_root
from infinitetalk_cli.cli.render import make_reporter, show_json, show_table
from infinitetalk_cli.sizes import parse_age, parse_bytes, shown_age, shown_bytes

if TYPE_CHECKING:
    from infinitetalk_cli.cache.housekeeping import PruneReport, PruneRules
    from infinitetalk_cli.cache.store import Store
    from infinitetalk_cli.pipeline.cached_jobs import CacheContent, CachedJob

_KEPT = "weights, and the receipts by which delivered results are recognised"
_NAME_LENGTH = 8
_MAX_SIZE = f"--max-size (or {CACHE_SIZE_VARIABLE})"

app = typer.Typer(
    no_args_is_help=True, help="Show and clean what is kept of jobs. Delivered results are not part of it."
)

DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")]


@app.callback()
def _cache() -> None:
    """Show and clean what is kept of jobs. Delivered results are not part of it."""


@app.command("list")
def list_(cache_dir: CacheDir = None, as_json: Json = False) -> None:
    """List the jobs in the cache: what they were made from, what can be resumed, size, when they were last used."""
    from infinitetalk_cli.pipeline.cached_jobs import cache_content

    store = _store(cache_dir)
    content = cache_content(store)
    if as_json:
        show_json({"status": "done", "folder": str(store.root), **content.as_dict()})
        return
    if content.jobs:
        show_table(("job", "made from", "profile", "state", "size", "used"), [_job_row(job) for job in content.jobs])
    for line in _total_lines(content, str(store.root)):
        typer.echo(line)


@app.command()
def show(
    job: Annotated[str, typer.Argument(help="Its name in the list or how that begins, its output, or its source.")],
    verify: Annotated[bool, typer.Option("--verify", help="Read all of it and compare it with its checksums.")] = False,
    cache_dir: CacheDir = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Show one job: its files, its stages, the settings that count, and what its next run would do."""
    from infinitetalk_cli.pipeline.cached_jobs import cache_content, find_job
    from infinitetalk_cli.pipeline.next_run import damaged_files, next_steps, source_states

    store = _store(cache_dir)
    found = find_job(cache_content(store), job)
    with make_reporter(quiet) as reporter:
        sources = source_states(store, found.record, reporter)
        damaged = damaged_files(store, found, reporter) if verify else {}
    steps = next_steps(found, sources, damaged)
    if as_json:
        document = found.as_dict()
        for stage in document["stages"]:
            stage |= {"next": steps[stage["name"]], "damaged": list(damaged.get(stage["name"], ()))}
        document["sources"] = [source | {"state": sources[source["path"]]} for source in document["sources"]]
        show_json({"status": "done", "verified": verify, **document})
        return
    _show_job(found, sources, steps)
    for stage, names in damaged.items():
        typer.echo(f"damaged in {stage}: {', '.join(names)}")
    if verify and not damaged:
        typer.echo("everything is as it was written")


@app.command()
def prune(
    max_size: Annotated[
        str | None,
        typer.Option(
            envvar=CACHE_SIZE_VARIABLE,
            metavar="SIZE",
            help="Remove what was used least recently until this much is left: 50GB, 800MB.",
            show_default=False,
        ),
    ] = None,
    older_than: Annotated[
        str | None,
        typer.Option(metavar="AGE", help="Remove what was last used longer ago: 12h, 7d, 2w.", show_default=False),
    ] = None,
    unfinished: Annotated[
        bool, typer.Option("--unfinished", help="Also what interrupted jobs would go on from.")
    ] = False,
    dry_run: DryRun = False,
    cache_dir: CacheDir = None,
    as_json: Json = False,
) -> None:
    """Remove what was used least recently; never what a running job works on or has used.

    With both limits, either is reason enough. What interrupted jobs go on from stays, unless --unfinished.
    """
    from infinitetalk_cli.cache.housekeeping import PruneRules
    from infinitetalk_cli.pipeline.pruning import prune_jobs

    if max_size is None and older_than is None:
        raise typer.BadParameter("say what may go: --max-size 50GB, --older-than 7d, or both (`cache clear` takes all)")
    rules = PruneRules(
        max_bytes=None if max_size is None else _parsed(parse_bytes, max_size, _MAX_SIZE),
        older_than_s=None if older_than is None else _parsed(parse_age, older_than, "--older-than"),
        unfinished=unfinished,
    )
    store = _store(cache_dir)
    _show_pruned(store, rules, prune_jobs(store, rules, dry_run=dry_run), dry_run=dry_run, as_json=as_json)


@app.command()
def clear(
    yes: Annotated[bool, typer.Option("-y", "--yes", help="Do not ask.")] = False,
    dry_run: DryRun = False,
    cache_dir: CacheDir = None,
    as_json: Json = False,
) -> None:
    """Remove all that is kept of jobs, also what interrupted ones would go on from; running jobs keep theirs.

    Weights in the cache folder stay, and the receipts by which delivered results are recognised.
    """
    from infinitetalk_cli.cache.housekeeping import PruneRules
    from infinitetalk_cli.pipeline.pruning import clear_cache, prune_jobs

    store = _store(cache_dir)
    rules = PruneRules(unfinished=True)
    if not (yes or dry_run):
        planned = prune_jobs(store, rules, dry_run=True)
        if not sys.stdin.isatty():
            raise typer.BadParameter("nobody can be asked here: add --yes")
        if not _agrees(f"remove {_counted(planned)} from {store.root}?"):
            show_json({"status": "kept", "folder": str(store.root)}) if as_json else typer.echo("nothing was removed")
            return
    report = prune_jobs(store, rules, dry_run=True) if dry_run else clear_cache(store)
    _show_pruned(store, rules, report, dry_run=dry_run, as_json=as_json)


def _agrees(question: str) -> bool:
    """Whether the answer is yes; the end of the input is none."""
    try:
        return typer.confirm(question, err=True)
    except typer.Abort:
        typer.echo(err=True)
        return False


def _store(cache_dir: Any) -> Store:
    from infinitetalk_cli.cache.store import Store

    return Store(cache_root(cache_dir))


def _parsed(parse: Callable[[str], Any], text: str, option: str) -> Any:
    try:
        return parse(text)
    except ValueError as exc:
        raise typer.BadParameter(f"{option}: {exc}") from exc


def _job_row(job: CachedJob) -> tuple[str, ...]:
    return (
        job.record.job[:_NAME_LENGTH],
        " + ".join(job.record.source_names),
        job.record.profile,
        _job_state(job),
        shown_bytes(job.size_bytes),
        shown_age(time.time() - job.last_used_s),
    )


def _job_state(job: CachedJob) -> str:
    if job.num_chunks is None or job.num_chunks_done is None or job.state == "done":
        return job.state
    return f"{job.state} {job.num_chunks_done}/{job.num_chunks}"  # chunks


def _total_lines(content: CacheContent, folder: str) -> list[str]:
    lines = []
    if content.unknown:
        size = sum(holding.size_bytes for holding in content.unknown)
        lines.append(f"{len(content.unknown)} entries of no known job: {shown_bytes(size)}")
    if any(job.shared_bytes for job in content.jobs):
        lines.append("what jobs share counts in the size of each, and here once:")
    return [*lines, f"{shown_bytes(content.size_bytes)} in {folder}"]


def _show_job(job: CachedJob, sources: dict[str, str], steps: dict[str, str]) -> None:
    record = job.record
    finished = "not finished" if record.finished_at is None else f"finished {_date(record.finished_at.timestamp())}"
    typer.echo(f"job {record.job}: {_job_state(job)}")
    typer.echo(f"output: {record.output}")
    typer.echo(f"profile: {record.profile}")
    shared = f", {shown_bytes(job.shared_bytes)} of it shared with other jobs" if job.shared_bytes else ""
    typer.echo(f"size: {shown_bytes(job.size_bytes)}{shared}")
    typer.echo(f"begun {_date(record.begun_at.timestamp())}, {finished}")
    for path in dict.fromkeys(source.path for source in record.sources):
        typer.echo(f"made from: {path} ({sources[path]})")
    rows = []
    for stage in job.stages:
        held = stage.holding
        size, used = ("", "") if held is None else (shown_bytes(held.size_bytes), _date(held.last_used_s))
        rows.append((stage.recorded.name, stage.state, size, used, steps[stage.recorded.name]))
    show_table(("stage", "state", "size", "last used", "next run"), rows)
    typer.echo("settings that count:")
    for stage in job.stages:
        settings = ", ".join(_settings(stage.recorded.recipe.settings)) or "none"
        typer.echo(f"  {stage.recorded.name}: {settings}")


def _settings(settings: dict[str, Any]) -> list[str]:
    from infinitetalk_cli.pipeline.reasons import flat_settings, shown_value

    return [f"{key} {shown_value(value)}" for key, value in flat_settings(settings)]


def _date(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))


def _show_pruned(store: Store, rules: PruneRules, report: PruneReport, *, dry_run: bool, as_json: bool) -> None:
    if as_json:
        show_json({"status": "planned" if dry_run else "done", "folder": str(store.root), **report.as_dict()})
        return
    if dry_run and report.removed:
        show_table(
            ("stage", "entry", "state", "size", "used"),
            [
                (held.stage, held.fingerprint[:_NAME_LENGTH], str(held.state), shown_bytes(held.size_bytes),
                 shown_age(time.time() - held.last_used_s))
                for held in report.removed
            ],
        )  # fmt: skip
    typer.echo(f"{'would remove' if dry_run else 'removed'} {_counted(report)}; {shown_bytes(report.left_bytes)} left")
    if report.in_use:
        size = sum(holding.size_bytes for holding in report.in_use)
        typer.echo(f"in use by running jobs, and kept: {len(report.in_use)} entries, {shown_bytes(size)}")
    if report.resumable_bytes:
        typer.echo(f"kept for interrupted jobs: {shown_bytes(report.resumable_bytes)} (--unfinished removes that too)")
    if rules.max_bytes is None and rules.older_than_s is None:
        typer.echo(f"not part of it: {_KEPT}, in {store.root}")


def _counted(report: PruneReport) -> str:
    stages = Counter(holding.stage for holding in report.removed)
    num = len(report.removed)
    of = f" ({', '.join(f'{count} {stage}' for stage, count in sorted(stages.items()))})" if num else ""
    return f"{num} {'entry' if num == 1 else 'entries'}{of}, {shown_bytes(report.freed_bytes)}"
