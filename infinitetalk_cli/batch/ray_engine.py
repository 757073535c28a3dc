"""Jobs as tasks of a Ray cluster: Ray finds the node and the GPU, and begins a job again whose node was lost.

Every task checks first that its node sees this cache, and that its locks are respected there.
"""

from __future__ import annotations

import logging
import os
import secrets
import signal
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, redirect_stdout
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from infinitetalk_cli import __version__
from infinitetalk_cli.batch.jobs import BatchJob, Began, End, State, Watcher
from infinitetalk_cli.batch.ray_task import Conditions, do_remotely
from infinitetalk_cli.cache.lock import hold_lock
from infinitetalk_cli.errors import DependencyError, ExitCode, InputError

if TYPE_CHECKING:
    from collections.abc import Callable

logger = logging.getLogger(__name__)

EXTRA = "--engine ray needs Ray; run: pip install 'infinitetalk[ray]'"
_LOOK_EVERY_S = 1.0
_CONNECT_S = 20.0
_LOCAL_STORE_BYTES = 80 * 1024 * 1024
"""Ray's shared memory on a cluster of our own: jobs pass nothing through it but their descriptions."""


class RayEngine:
    """One task per job; `gpus_per_job` None: one where the cluster has any.

    `address` None: RAY_ADDRESS, else a cluster on this computer that lives as long as the batch.

    Raises:
        DependencyError: Ray is not installed, or no cluster answers.
        InputError: no node has that many GPUs or cores.
    """

    def __init__(
        self,
        address: str | None,
        gpus_per_job: float | None,
        cpus_per_job: float,
        retries: int,
        cache_root: Path,
        watcher: Watcher,
        set_up: Callable[[], None],
    ) -> None:
        self._ray = _ray()
        self._watcher, self._held = watcher, ExitStack()
        self._held.enter_context(redirect_stdout(sys.stderr))  # Ray prints there that a worker died; it is no result
        try:
            self._set_up(address, gpus_per_job, cpus_per_job, retries, cache_root, set_up)
        except BaseException:
            self._held.close()
            raise

    def _set_up(
        self,
        address: str | None,
        gpus_per_job: float | None,
        cpus_per_job: float,
        retries: int,
        cache_root: Path,
        set_up: Callable[[], None],
    ) -> None:
        self._begin(address or os.environ.get("RAY_ADDRESS") or "local")
        nodes = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
        if gpus_per_job is None:
            gpus_per_job = 1.0 if any(node.get("GPU", 0) for node in nodes) else 0.0
        self._require(nodes, gpus_per_job, cpus_per_job)
        probe = cache_root / "locks" / f"batch-{secrets.token_hex(8)}.lock"
        self._held.enter_context(hold_lock(probe, "this very batch"))
        self._conditions = Conditions(__version__, probe, set_up)
        self._task = self._ray.remote(
            num_gpus=gpus_per_job,
            num_cpus=cpus_per_job,
            max_retries=retries,
            max_calls=1 if gpus_per_job else 0,  # a process that lives on would keep the GPU's memory from other tasks
        )(do_remotely)
        self._held.callback(partial(_remove, probe))

    def run(self, jobs: Sequence[BatchJob]) -> Iterator[Began | End]:
        """See `Engine.run`; when a task begins is not known."""
        pending = {self._task.options(name=job.name).remote(job, self._conditions): job for job in jobs}
        while pending:
            ready, _ = self._ray.wait(list(pending), num_returns=1, timeout=_LOOK_EVERY_S)
            for task in ready:
                yield self._end(pending.pop(task), task)

    def stop(self) -> None:
        """See `Engine.stop`: the cluster ends the tasks of a batch that leaves it."""
        self._ray.shutdown()
        self._held.close()

    def _begin(self, address: str) -> None:
        """Join the cluster at `address`; signals stay ours."""
        own: dict[str, Any] = {"object_store_memory": _LOCAL_STORE_BYTES, "include_dashboard": False}
        handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ.setdefault("RAY_worker_niceness", "0")  # as a single `dub` runs
        try:
            _require_somebody(address)
            self._ray.init(
                address=address, log_to_driver=False, logging_level=logging.ERROR, **(own if address == "local" else {})
            )
        except Exception as exc:  # a start that takes too long is a bare `Exception`
            first = (str(exc).strip().splitlines() or [repr(exc)])[0]
            raise DependencyError(
                f"--engine ray: no cluster can be used at {address} ({first}); begin one with `ray start --head`, "
                "or leave --address out to use this computer alone"
            ) from exc
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)

    def _require(self, nodes: Sequence[dict[str, float]], gpus: float, cpus: float) -> None:
        """Tasks that fit on no node would wait for ever; a cluster that grows by itself may have none at first."""
        if any(node.get("GPU", 0) >= gpus and node.get("CPU", 0) >= cpus for node in nodes):
            return
        most = max((node.get("GPU", 0) for node in nodes), default=0)
        cores = max((node.get("CPU", 0) for node in nodes), default=0)
        self._ray.shutdown()
        raise InputError(
            f"no node of the cluster has {gpus:g} GPUs and {cpus:g} cores (most: {most:g} GPUs, {cores:g} cores); "
            "give other numbers with --gpus-per-job and --cpus-per-job"
        )

    def _end(self, job: BatchJob, task: Any) -> End:
        try:
            return self._ray.get(task)
        except self._ray.exceptions.RayError as exc:
            logger.debug("%s failed on the cluster", job.place, exc_info=exc)
            return End(job.number, State.FAILED, exit_code=ExitCode.RESOURCE, error=_described(exc))


def _described(exc: Exception) -> str:
    lines = [line.strip() for line in str(exc).splitlines() if line.strip()]
    text = lines[-1] if "Traceback" in str(exc) else lines[0] if lines else repr(exc)
    return f"Ray gave it up after its retries ({type(exc).__name__}: {text}); finished chunks are kept"


def _require_somebody(address: str) -> None:
    """Raise `OSError` at once if nobody listens at HOST:PORT: Ray itself tries for minutes."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if colon and port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_S).close()


def _ray() -> Any:
    try:
        import ray
        import ray.exceptions
    except ImportError as exc:
        raise DependencyError(EXTRA) from exc
    return ray


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)
