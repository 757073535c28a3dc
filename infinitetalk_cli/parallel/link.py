"""What the processes of a run tell each other besides tensors: orders, progress, that one is gone.

A small store that all of them reach (torch's TCPStore, the one through which torch.distributed meets). Nothing here
waits within the store, so a process whose peers are gone is never stuck in it.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any

from torch.distributed import PrefixStore, TCPStore

from infinitetalk_cli.errors import ExitCode, PeerError
from infinitetalk_cli.parallel.place import Place

logger = logging.getLogger(__name__)

MEETING_S = 300.0
"""How long processes wait for each other when they start: machines of a cluster do not begin at one moment."""

LOOK_EVERY_S = 0.2


@dataclass(frozen=True)
class Failure:
    """Why a run ends: what one process said last, or what others found out about it."""

    rank: int
    exit_code: int
    message: str


class PeerFailed(PeerError):
    """Another process failed: its message, with its exit code."""

    def __init__(self, failure: Failure) -> None:
        self.failure, self.exit_code = failure, ExitCode(failure.exit_code)
        super().__init__(failure.message)


class Link:
    """The connection of one process to all others. One thread at a time; `another` is for a second one.

    Raises:
        PeerError: the others cannot be reached.
    """

    def __init__(self, place: Place) -> None:
        self.place = place
        self._store = self._connect(serves=place.is_main and not place.launcher_serves)

    def _connect(self, serves: bool) -> PrefixStore:
        place = self.place
        try:
            self._tcp = TCPStore(place.address, place.port, None, serves, timedelta(seconds=MEETING_S), False)
        except RuntimeError as exc:
            raise PeerError(
                f"{place.name} on {socket.gethostname()} cannot reach {place.address}:{place.port}, where all meet "
                f"({place.why}; {str(exc).splitlines()[0]}); is the address right, and the port open?"
            ) from exc
        return PrefixStore(f"infinitetalk/{place.attempt}", self._tcp)

    def another(self) -> Link:
        """A connection of its own, for a thread."""
        twin = Link.__new__(Link)
        twin.place = self.place
        twin._store = twin._connect(serves=False)
        return twin

    @property
    def for_groups(self) -> PrefixStore:
        """Where torch.distributed may meet."""
        return PrefixStore("groups", self._store)

    def post(self, key: str, value: object) -> None:
        """Make `value` (plain data) known under `key`."""
        self._ask(lambda: self._store.set(key, json.dumps(value)))

    def see(self, key: str) -> Any:
        """What was posted under `key`; None if nothing was yet."""
        return self._ask(lambda: json.loads(self._store.get(key)) if self._store.check([key]) else None)

    def count(self, key: str, more: int = 0) -> int:
        """Add `more` to a number that begins with 0; returns what it is then. No two processes get in between."""
        return int(self._ask(lambda: self._store.add(key, more)))

    def wait(self, key: str, limit_s: float | None = None) -> Any:
        """What is posted under `key`, as soon as it is; None after `limit_s`."""
        deadline = None if limit_s is None else time.monotonic() + limit_s
        while (value := self.see(key)) is None:
            if deadline is not None and time.monotonic() > deadline:
                return None
            time.sleep(LOOK_EVERY_S)
        return value

    def introduce(self) -> None:
        """Tell the others where we are."""
        self.post(f"who/{self.place.rank}", {"host": socket.gethostname(), "pid": os.getpid()})

    def fail(self, failure: Failure) -> None:
        """The run ends because of this; what was said first counts."""
        if self.count("failures", 1) == 1:
            self.post("failure", asdict(failure))

    def failure(self) -> Failure | None:
        """Why the run ends, if it does."""
        found = self.see("failure")
        return None if found is None else Failure(**found)

    def leave(self) -> None:
        """We are done, and our end is no failure."""
        self.post(f"left/{self.place.rank}", True)

    def has_left(self, rank: int) -> bool:
        """Whether that process ended as it should."""
        return self.see(f"left/{rank}") is not None

    def _ask(self, question: Callable[[], Any]) -> Any:
        try:
            return question()
        except RuntimeError as exc:  # torch's DistError
            raise PeerError(
                f"the connection between the processes broke ({str(exc).splitlines()[0]}); "
                "run the same command again to go on"
            ) from exc
