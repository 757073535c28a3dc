"""The computer itself: its processor and how much memory programs may have. No torch."""

from __future__ import annotations

import ctypes
import gc
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

_CGROUPS = Path("/sys/fs/cgroup")


class _Group(NamedTuple):
    """Where a kind of control group states its memory's limit, its use, and what of that it could drop."""

    limit: str
    used: str
    statistics: str
    droppable: str


_GROUPS = (
    _Group("memory.max", "memory.current", "memory.stat", "inactive_file"),
    _Group("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "memory/memory.stat", "total_inactive_file"),
)
"""Version 2, then version 1."""


@dataclass(frozen=True)
class HostMemory:
    """Main memory: all that programs may have together, and what is left of it now."""

    total_bytes: int
    available_bytes: int


def host_memory() -> HostMemory:
    """Memory of this computer, or of the container we run in where that is less."""
    import psutil

    memory = psutil.virtual_memory()
    total, available = memory.total, memory.available
    for limit, used in _container_limits(_CGROUPS):
        total = min(total, limit)
        available = min(available, max(limit - used, 0))
    return HostMemory(total, available)


def _container_limits(root: Path) -> Iterator[tuple[int, int]]:
    """(limit, used) in bytes of every control group that states them; files kept in memory do not count as used."""
    for group in _GROUPS:
        try:
            limit, used = (int((root / name).read_text()) for name in (group.limit, group.used))
            statistics = dict(line.split() for line in (root / group.statistics).read_text().splitlines())
            yield limit, used - int(statistics.get(group.droppable, 0))
        except (OSError, ValueError):  # no such file, or "max": no limit
            continue


def return_freed_memory() -> None:
    """Hand back what the C library (glibc) keeps of freed memory; long inputs leave more of it than short ones."""
    gc.collect()
    with suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)


@contextmanager
def sparing_what_is_loaded() -> Iterator[None]:
    """In the body, `gc` looks only at what is made there: a look at all of torch takes a quarter of a second each time.

    What is no longer referred to is freed as always; only cycles that were there before have to wait till the end.
    """
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def processor_name() -> str:
    """What the processor calls itself, as far as the system tells."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def num_processors() -> int:
    """Processor cores that this program may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
