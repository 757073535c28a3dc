"""Several processes on this computer, each with its own networks, that are given jobs one by one.

A worker that dies (killed, out of memory) is replaced, and its job is given out again: it goes on from the cache.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess, parent_process
from typing import Any

from infinitetalk_cli.batch.jobs import BatchJob, Began, End, State, Watcher
from infinitetalk_cli.batch.shelf import Shelf
from infinitetalk_cli.batch.work import JobProgress, do_job
from infinitetalk_cli.errors import ExitCode
from infinitetalk_cli.machine import num_processors

logger = logging.getLogger(__name__)

_PATIENCE_S = 10.0


@dataclass
class _Worker:
    """A process, our end of the pipe to it, and the job it has."""

    name: str
    process: BaseProcess
    pipe: Connection
    job: BatchJob | None = None


class WorkersEngine:
    """`count` processes; a job whose process died is tried `retries` times more. `set_up` runs first in each."""

    def __init__(self, count: int, watcher: Watcher, set_up: Callable[[], None], retries: int) -> None:
        self._watcher, self._set_up, self._retries = watcher, set_up, retries
        os.environ.setdefault("OMP_NUM_THREADS", str(max(1, num_processors() // count)))  # read by the workers' torch
        self._workers = [self._start(index) for index in range(count)]

    def run(self, jobs: Sequence[BatchJob]) -> Iterator[Began | End]:
        """See `Engine.run`."""
        todo, deaths = deque(jobs), dict.fromkeys((job.number for job in jobs), 0)
        while todo or any(worker.job for worker in self._workers):
            for worker in self._workers:
                if worker.job is None and todo:
                    worker.job = todo.popleft()
                    yield Began(worker.job.number, worker.name)
                    self._give(worker, worker.job)
            busy = {worker.pipe: worker for worker in self._workers if worker.job is not None}
            for pipe in wait(list(busy)):
                assert isinstance(pipe, Connection)
                end = self._hear(busy[pipe], todo, deaths)
                if end is not None:
                    yield end

    def stop(self) -> None:
        """See `Engine.stop`."""
        for worker in self._workers:
            worker.process.terminate()
        for worker in self._workers:
            worker.process.join(_PATIENCE_S)
            worker.process.kill()
            worker.pipe.close()

    def _start(self, index: int) -> _Worker:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(theirs, index, self._set_up), daemon=True)
        process.start()
        theirs.close()
        return _Worker(f"worker {index + 1}", process, ours)

    def _give(self, worker: _Worker, job: BatchJob) -> None:
        try:
            worker.pipe.send(job)
        except OSError:
            logger.debug("%s died before it got a job", worker.name)  # its end of the pipe says so, too

    def _hear(self, worker: _Worker, todo: deque[BatchJob], deaths: dict[int, int]) -> End | None:
        """The end of a job, if that is what the worker says; a dead one is replaced."""
        assert worker.job is not None
        try:
            kind, content = worker.pipe.recv()
        except (EOFError, OSError):
            return self._bury(worker, todo, deaths)
        if kind == "end":
            worker.job = None
            return content
        (self._watcher.moved if kind == "moved" else self._watcher.note)(worker.job.number, content)
        return None

    def _bury(self, worker: _Worker, todo: deque[BatchJob], deaths: dict[int, int]) -> End | None:
        job, index = worker.job, self._workers.index(worker)
        assert job is not None
        worker.process.join(_PATIENCE_S)
        how = _described_exit(worker.process.exitcode)
        worker.pipe.close()
        self._workers[index] = self._start(index)
        deaths[job.number] += 1
        if deaths[job.number] <= self._retries:
            self._watcher.note(job.number, f"its worker {how}; it goes on from what it had finished")
            todo.appendleft(job)
            return None
        times = "" if deaths[job.number] == 1 else f" ({deaths[job.number]} times)"
        error = f"its worker {how}{times}; finished chunks are kept, look for what ends processes here (memory?)"
        return End(job.number, State.FAILED, exit_code=ExitCode.RESOURCE, error=error)


def _described_exit(code: int | None) -> str:
    if code is not None and code < 0:
        return f"was killed by {signal.Signals(-code).name}"
    return f"ended by itself with exit code {code}"


def _serve(pipe: Connection, index: int, set_up: Callable[[], None]) -> None:
    """What a worker does: one job after the other, until there are no more, or nobody who gives them."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes of a terminal; the first one decides
    signal.signal(signal.SIGTERM, _leave)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    set_up()
    shelf, lock = Shelf(), threading.Lock()

    def say(kind: str, content: Any) -> None:
        with lock:
            pipe.send((kind, content))

    progress_of = partial(JobProgress, partial(say, "moved"), partial(say, "note"))
    while True:
        try:
            job: BatchJob = pipe.recv()
        except EOFError:
            return
        request = replace(job.request, device=_device(job.request.device, index))
        say("end", do_job(replace(job, request=request), shelf, progress_of()))


def _leave(signum: int, frame: object) -> None:
    sys.exit(128 + signum)


def _end_with_parent() -> None:
    """A job that nobody waits for any more stops where it is."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)


def _device(name: str, index: int) -> str:
    """Workers take the GPUs in turn, unless one was named."""
    if name not in ("auto", "cuda"):
        return name
    import torch

    num_devices = torch.cuda.device_count()
    return f"cuda:{index % num_devices}" if num_devices else name
