"""Notices within a second that another process of the run is gone, and ends this one.

A process may be deep in a computation, or wait for one that will never answer. So a thread looks, and interrupts the
main thread by a signal; where that does not come through, the process ends all the same.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import psutil

from infinitetalk_cli.errors import ExitCode, InfiniteTalkError, PeerError
from infinitetalk_cli.parallel.link import MEETING_S, Failure, Link, PeerFailed

logger = logging.getLogger(__name__)

LOOK_EVERY_S = 0.5
BEAT_EVERY_S = 5.0
SILENCE_S = 60.0
"""A process on another machine that says nothing for so long counts as gone; on this one its number is looked up."""

GRACE_S = 10.0
"""What the main thread has to end in order, before the process is ended without it."""

CAUSE_S = 3.0
"""How long the reason is waited for, once a connection broke."""

OnStuck = Callable[[Failure], None]
"""Called in the thread just before it ends the process."""


class Watch(threading.Thread):
    """Looks after the other processes until it is told to `stop`."""

    def __init__(self, link: Link, on_stuck: OnStuck | None) -> None:
        super().__init__(name="watch", daemon=True)
        self._link, self._on_stuck = link, on_stuck
        self._place, self._host, self._parent = link.place, socket.gethostname(), os.getppid()
        self._lock, self._stopped = threading.RLock(), threading.Event()  # a signal may arrive within `look`
        self._known: dict[int, tuple[str, int]] = {}
        self._beats: dict[int, tuple[int, float]] = {}
        self._beat_s, self._began_s = 0.0, time.monotonic()
        self._found: Failure | None = None

    def run(self) -> None:
        """See the class."""
        while not self._stopped.wait(LOOK_EVERY_S):
            failure = self.look()
            if failure is not None and not self._stopped.is_set():
                logger.info("the run ends: %s", failure.message)
                signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)
                if not self._stopped.wait(GRACE_S):
                    logger.warning("ended by force: the main thread did not answer")
                    if self._on_stuck is not None:
                        self._on_stuck(failure)
                    os._exit(failure.exit_code)
                return

    def stop(self) -> None:
        """The run is over."""
        self._stopped.set()

    def look(self) -> Failure | None:
        """Why the run ends, if it does; what is found is told to the others."""
        with self._lock:
            if self._found is None:
                try:
                    self._found = self._link.failure() or self._look_around()
                except PeerError as exc:
                    self._found = self._orphaned() or Failure(0, ExitCode.PEER, str(exc))
            return self._found

    def _orphaned(self) -> Failure | None:
        """Whether the launcher is gone: nobody would end us any more."""
        if os.getppid() == self._parent:
            return None
        return Failure(self._place.rank, ExitCode.PEER, f"the launcher of {self._place.name} was killed; {_AGAIN}")

    def _look_around(self) -> Failure | None:
        found = self._orphaned()
        others = [rank for rank in range(self._place.num_processes) if rank != self._place.rank]
        for rank in others if self._place.is_main else [0]:
            if found is None and not self._link.has_left(rank):
                found = self._look_at(rank)
        now_s = time.monotonic()
        if now_s - self._beat_s >= BEAT_EVERY_S:
            self._beat_s = now_s
            self._link.count(f"beats/{self._place.rank}", 1)
        if found is not None:
            self._link.fail(found)
        return found

    def _look_at(self, rank: int) -> Failure | None:
        """Whether process `rank` is there, by its number on this machine, by its beats elsewhere."""
        if rank not in self._known:
            who = self._link.see(f"who/{rank}")
            if who is None and time.monotonic() - self._began_s > MEETING_S:
                name = f"process {rank + 1} of {self._place.num_processes}"
                text = f"{name} did not come within {MEETING_S:.0f} s ({self._place.why}); {_AGAIN}"
                return Failure(rank, ExitCode.PEER, text)
            if who is None:
                return None
            self._known[rank] = (who["host"], who["pid"])
        host, pid = self._known[rank]
        name = f"process {rank + 1} of {self._place.num_processes} ({pid} on {host})"
        if host == self._host:
            if _runs(pid) or self._link.has_left(rank) or self._link.failure() is not None:
                return None
            return Failure(rank, ExitCode.PEER, f"{name} was killed or crashed; {_AGAIN}")
        beats, now_s = self._link.count(f"beats/{rank}"), time.monotonic()
        before = self._beats.get(rank)
        if before is None or before[0] != beats:
            self._beats[rank] = (beats, now_s)
        elif now_s - before[1] > SILENCE_S:
            return Failure(rank, ExitCode.PEER, f"nothing was heard of {name} for {SILENCE_S:.0f} s; {_AGAIN}")
        return None


_AGAIN = "finished chunks are kept, run the same command again, with as many processes as you like"


@contextmanager
def watched(link: Link, on_stuck: OnStuck | None = None) -> Iterator[Watch]:
    """The body ends with `PeerFailed` when another process fails, and the others end when it does.

    Signals during the body are answered by what they mean: launchers send SIGTERM to all when one process died.
    """
    watch = Watch(link.another(), on_stuck)
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def answer(signum: int, frame: FrameType | None) -> None:
        failure = watch.look()
        if failure is not None:
            raise PeerFailed(failure)
        handler = before[signal.Signals(signum)]
        if callable(handler):
            handler(signum, frame)

    link.introduce()
    for number in before:
        signal.signal(number, answer)
    watch.start()
    try:
        yield watch
        link.leave()
    except BaseException as exc:
        watch.stop()
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the launcher sends it when others end before us
        if isinstance(exc, PeerError) and (cause := _cause(watch)) is not None:
            raise PeerFailed(cause) from exc
        _tell(link, exc)
        raise
    watch.stop()
    for number, handler in before.items():
        signal.signal(number, handler)


def _cause(watch: Watch) -> Failure | None:
    """Why others are gone, where only that is known: whoever failed says so, and who was killed is found missing."""
    deadline = time.monotonic() + CAUSE_S
    while (cause := watch.look()) is None and time.monotonic() < deadline:
        time.sleep(0.1)
    return cause


def _tell(link: Link, exc: BaseException) -> None:
    """Let the others know why we end; that they cannot be told any more changes nothing."""
    if isinstance(exc, PeerFailed):
        return
    where = "" if link.place.is_main else f"{link.place.name} on {socket.gethostname()}: "
    code = getattr(exc, "exit_code", None)
    if isinstance(exc, InfiniteTalkError):
        message = f"{where}{exc}"
    elif code in (ExitCode.INTERRUPTED, ExitCode.TERMINATED):
        message = f"stopped by {exc}; run the same command again to go on"
    else:
        code, message = ExitCode.BUG, f"{where}this is a bug in infinitetalk, please report it: {exc!r}"
    try:
        link.fail(Failure(link.place.rank, int(code), message))
    except PeerError as error:
        logger.debug("nobody hears of it: %s", error)


def _runs(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False
