"""One run at a time for one piece of work, with a name for whoever holds it.

The lock is the operating system's, on an open file: it vanishes with its process, however that ends. The
holder file beside it is only for messages.
"""

from __future__ import annotations

import getpass
import json
import logging
import os
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from filelock import FileLock, Timeout

from infinitetalk_cli.errors import LockedError, writing_to

logger = logging.getLogger(__name__)

POLL_S = 0.5


@contextmanager
def hold_lock(
    path: Path,
    what: str,
    *,
    wait_s: float | None = 0.0,
    on_wait: Callable[[str], None] | None = None,
) -> Iterator[None]:
    """Hold the lock file `path` for the body; `LockedError` naming the holder of `what` after `wait_s`.

    `wait_s` 0 does not wait, None waits for as long as it takes. `on_wait` hears one sentence before waiting.
    """
    holder_path = path.with_suffix(".holder.json")
    with writing_to(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    if not _try(lock, 0.0):
        if wait_s == 0.0:
            raise LockedError(f"{what} is being made by {describe_holder(path)}; wait for it or stop it")
        if on_wait is not None:
            on_wait(f"waiting for {what}, which is being made by {describe_holder(path)}")
        if not _try(lock, -1.0 if wait_s is None else wait_s):
            raise LockedError(
                f"{what} is still being made by {describe_holder(path)} after {wait_s:g} s; wait for it or stop it"
            )
    try:
        _announce(holder_path)
        yield
    finally:
        try:
            holder_path.unlink(missing_ok=True)
        except OSError:
            logger.debug("could not remove %s", holder_path)
        lock.release()


def describe_holder(path: Path) -> str:
    """Who holds the lock file `path`, as far as known: process, machine, since when, doing what."""
    try:
        holder = json.loads(path.with_suffix(".holder.json").read_text(encoding="utf-8"))
        where = "" if holder["host"] == socket.gethostname() else f" on {holder['host']}"
        work = f"user {holder['user']}, since {holder['since']}: {holder['command']}"
        return f"process {holder['pid']}{where} ({work})"
    except (OSError, ValueError, KeyError, TypeError):
        return "another run"


def _try(lock: FileLock, timeout_s: float) -> bool:
    with writing_to(Path(lock.lock_file)):
        try:
            lock.acquire(timeout=timeout_s, poll_interval=POLL_S)
        except Timeout:  # is an OSError, too
            return False
    return True


def _announce(holder_path: Path) -> None:
    """Leave our name; a disk too full for it must not stop the work."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError):  # an account without a name, as in a container
        user = "unknown"
    holder = {
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "user": user,
        "since": datetime.now().astimezone().isoformat(timespec="seconds"),
        "command": " ".join(sys.argv)[:500],
    }
    try:
        holder_path.write_text(json.dumps(holder), encoding="utf-8")
    except OSError:
        logger.debug("could not write %s", holder_path)
