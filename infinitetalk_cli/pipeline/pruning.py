"""Removing jobs from the cache: what interrupted ones go on from is spared, and records go with what they tell of."""

from __future__ import annotations

from collections.abc import Iterable

from infinitetalk_cli.cache.holdings import holdings
from infinitetalk_cli.cache.housekeeping import PruneReport, PruneRules, Sessions, Work, prune, remove_files, sweep
from infinitetalk_cli.cache.store import Store
from infinitetalk_cli.errors import OutputError, ResourceError
from infinitetalk_cli.pipeline.cached_jobs import works
from infinitetalk_cli.pipeline.jobs import JobRecord, forget_job, job_records
from infinitetalk_cli.progress import Progress
from infinitetalk_cli.sizes import shown_bytes


def resumable_work(store: Store, records: Iterable[JobRecord]) -> set[Work]:
    """What interrupted jobs go on from: all stages of those that have chunks, be it all of them and no result yet."""
    kept: set[Work] = set()
    for record in records:
        begun = any(stage.resumable and _is_there(store, (stage.name, stage.fingerprint)) for stage in record.stages)
        if record.is_unfinished and begun:
            kept |= set(works(record))
    return kept


def prune_jobs(store: Store, rules: PruneRules, *, dry_run: bool = False) -> PruneReport:
    """`prune`, sparing what interrupted jobs go on from; records of jobs of which nothing is left go too."""
    records = job_records(store)
    if not dry_run and store.root.is_dir():
        store.require_writable("nothing was removed")
        sweep(store)
    report = prune(store, rules, resumable_work(store, records), dry_run=dry_run)
    if not dry_run and report.removed:
        left, running_since_s = {holding.work for holding in holdings(store)}, Sessions(store).since_s
        for record in records:
            if left.isdisjoint(works(record)) and record.begun_at.timestamp() < running_since_s:
                forget_job(store, record)
    return report


def clear_cache(store: Store) -> PruneReport:
    """Remove everything that is kept of jobs, unfinished ones too, but for what running jobs need.

    Hashes of source files, measured times and logs go as well; they are made again. Weights stay, and the receipts of
    delivered results, by which a run knows its own earlier result and may replace it.
    """
    running_since_s = Sessions(store).since_s
    report = prune_jobs(store, PruneRules(unfinished=True))
    for folder in (store.hashes_dir, store.root / "pace", store.root / "logs"):
        remove_files(folder, before_s=running_since_s)
    for record in job_records(store):
        if record.begun_at.timestamp() < running_since_s and not any(_is_there(store, work) for work in works(record)):
            forget_job(store, record)
    return report


def _is_there(store: Store, work: Work) -> bool:
    return store.final_path(*work).exists() or store.partial_path(*work).exists()


def keep_to_size(store: Store, max_bytes: int, progress: Progress) -> None:
    """After a job: remove what was used least recently until the cache has no more than `max_bytes`, and say so.

    The job is done by then, so a folder that cannot be removed is only told of.
    """
    try:
        report = prune_jobs(store, PruneRules(max_bytes=max_bytes))
    except (OutputError, ResourceError) as exc:
        progress.note(f"the cache is not kept to {shown_bytes(max_bytes)}: {exc}")
        return
    if report.removed:
        progress.note(
            f"removed {shown_bytes(report.freed_bytes)} from the cache to keep it to {shown_bytes(max_bytes)}"
        )
    if report.left_bytes > max_bytes:
        progress.note(
            f"the cache has {shown_bytes(report.left_bytes)}, more than {shown_bytes(max_bytes)}: the rest is in use "
            "or unfinished; `infinitetalk cache list` shows it, `cache prune --unfinished` removes that too"
        )
