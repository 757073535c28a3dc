"""Batches that are ready when the device is."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from infinitetalk_cli.train.settings import Phase

_NUM_THREADS = 4


class BatchFeed:
    """What `make` makes of each step and its phase; up to `ahead` steps are prepared by threads meanwhile."""

    def __init__(self, make: Callable[[int, Phase], list[Any]], ahead: int) -> None:
        self._make, self._ahead = make, ahead
        self._pool = ThreadPoolExecutor(max_workers=_NUM_THREADS) if ahead else None
        self._waiting: deque[tuple[int, Phase, Future]] = deque()

    def batches(self, step: int, phase: Phase) -> list[Any]:
        """This process's parts of `step`."""
        if self._pool is None:
            return self._make(step, phase)
        if self._waiting and self._waiting[0][:2] != (step, phase):
            self._forget()  # another phase began
        first = step + len(self._waiting)
        for number in range(first, step + self._ahead):
            self._waiting.append((number, phase, self._pool.submit(self._make, number, phase)))
        return self._waiting.popleft()[2].result()

    def close(self) -> None:
        """Drop what is not needed any more."""
        self._forget()

    def _forget(self) -> None:
        for _, _, future in self._waiting:
            future.cancel()
        self._waiting.clear()
