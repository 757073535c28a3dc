"""What a node of a cluster does with a job; Ray looks the function up by its name there."""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from infinitetalk_cli import __version__
from infinitetalk_cli.batch.jobs import BatchJob, End, State
from infinitetalk_cli.batch.shelf import Shelf
from infinitetalk_cli.batch.work import JobProgress, do_job
from infinitetalk_cli.errors import DependencyError, InfiniteTalkError, OutputError

_shelves: list[Shelf] = []
"""One, as soon as this process has had a job: Ray gives a process several, where they need no GPU."""


@dataclass(frozen=True)
class Conditions:
    """What a node has to agree with: the version, and a lock in the shared cache that the batch holds all the time."""

    version: str
    probe: Path
    set_up: Callable[[], None]


def do_remotely(job: BatchJob, conditions: Conditions) -> End:
    """`do_job` on this node, with the networks of the last job if this process has had one."""
    try:
        _require(conditions)
    except InfiniteTalkError as exc:
        host = socket.gethostname()
        return End(job.number, State.FAILED, error=str(exc), exit_code=exc.exit_code, host=host)
    return do_job(job, _prepared_process(conditions.set_up), JobProgress(_ignore, _ignore))


def _require(conditions: Conditions) -> None:
    """Refuse a node on which the work would be lost, done twice, or done by another program."""
    host = socket.gethostname()
    if conditions.version != __version__:
        raise DependencyError(
            f"{host} has infinitetalk {__version__}, the batch is of {conditions.version}; install the same everywhere"
        )
    if not conditions.probe.is_file():
        raise OutputError(
            f"{host} does not see the cache {conditions.probe.parents[1]}; name a folder that all nodes share "
            "with --cache-dir"
        )
    lock = FileLock(conditions.probe)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return
    lock.release()
    raise OutputError(
        f"{host} does not respect locks in {conditions.probe.parents[1]}, so two nodes could do the same work; "
        "mount it with locks that reach the server, see docs/batch.md"
    )


def _prepared_process(set_up: Callable[[], None]) -> Shelf:
    """The shelf of this process, which is set up when it gets its first job."""
    if not _shelves:
        set_up()
        _shelves.append(Shelf())
    return _shelves[0]


def _ignore(text: str) -> None:
    """Progress stays on the node, in its log."""
