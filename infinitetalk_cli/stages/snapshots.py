"""Snapshots of the chunk in work: a kill costs seconds, also where a chunk takes many minutes.

A snapshot only ever saves time. One that is missing, damaged or of something else is not used, and one that cannot be
written is done without.
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from infinitetalk_cli.cache.files import make_folder, sync_file, sync_folder, temporary_for

if TYPE_CHECKING:
    from torch import Tensor

    from infinitetalk_cli.models.sampler_state import SamplerState

logger = logging.getLogger(__name__)

INTERVAL_S = 30.0
"""Work that may be lost; there is at most one snapshot in that time."""

PATIENCE = 100
"""A snapshot has to wait so many times as long as it takes: all of them together take less than 1 % of the time."""

ASSUMED_BYTES_PER_S = 100e6
"""Taken for the speed of the disk until the first snapshot has told it."""

_FILE_NAME = "chunk.safetensors"


class Snapshots:
    """The snapshot in `folder` (made when it is needed): of one chunk and attempt at a time, the last one written.

    Where the folder is shared with other processes, each chunk's has a name of its own. What is kept under either name
    is found. `interval_s` None: `INTERVAL_S`. `clock` gives seconds.
    """

    def __init__(
        self,
        folder: Path,
        interval_s: float | None = None,
        clock: Callable[[], float] = time.monotonic,
        *,
        is_shared: bool = False,
    ) -> None:
        self.path = folder / _FILE_NAME
        self.clock = clock
        self._is_shared = is_shared
        self._sources = {self.path}
        self._interval_s = INTERVAL_S if interval_s is None else interval_s
        self._last_end_s = self._chunk_began_s = clock()
        self._last_cost_s, self._bytes_per_s = 0.0, ASSUMED_BYTES_PER_S
        self._has_failed = False

    def of(self, chunk: int, attempt: int) -> ChunkSnapshots:
        """The keeper for attempt `attempt` at chunk `chunk`, which begins now."""
        self._chunk_began_s = self.clock()
        by_chunk = self.path.with_name(f"chunk-{chunk:06d}{self.path.suffix}")
        if self._is_shared:
            self.path = by_chunk
        self._sources = {self.path, by_chunk}
        return ChunkSnapshots(self, chunk, attempt)

    @property
    def places(self) -> tuple[Path, ...]:
        """Where a snapshot of the chunk in work may lie, the likeliest first."""
        return tuple(dict.fromkeys((self.path, *sorted(self._sources), self.path.with_name(_FILE_NAME))))

    def clear(self) -> None:
        """What the snapshot was of is finished: remove it. A file that cannot be removed is ignored later on."""
        try:
            for path in self._sources:
                temporary_for(path).unlink(missing_ok=True)
                path.unlink(missing_ok=True)
            if not self._is_shared and self.path.parent.is_dir():
                self.path.parent.rmdir()
        except OSError as exc:
            logger.debug("%s: cannot be removed (%s)", self.path, exc)

    def clear_all(self) -> None:
        """Nothing is in work any more: remove whatever lies in the folder, of this run or an earlier one."""
        shutil.rmtree(self.path.parent, ignore_errors=True)

    def is_due(self, num_bytes: int) -> bool:
        """Whether a snapshot of `num_bytes` is worth its time by now."""
        now_s = self.clock()
        cost_s = max(self._last_cost_s, num_bytes / self._bytes_per_s)
        unsaved_s = now_s - max(self._last_end_s, self._chunk_began_s)
        return unsaved_s >= self._interval_s and now_s - self._last_end_s >= PATIENCE * cost_s

    def took(self, seconds: float, num_bytes: int) -> None:
        """The last snapshot has just been written, or not."""
        self._last_end_s, self._last_cost_s = self.clock(), seconds
        self._bytes_per_s = num_bytes / max(seconds, 1e-9)

    def failed(self, exc: Exception) -> None:
        """Tell once that there are no snapshots; the next one is tried in its time, the disk may have room by then."""
        level = logging.DEBUG if self._has_failed else logging.WARNING
        self._has_failed = True
        logger.log(
            level, "%s: no snapshot could be written (%s); the work goes on, but a kill costs the chunk", self.path, exc
        )


class ChunkSnapshots:
    """Keeps the sampler of one attempt at a chunk (`models.sampler_state.StateKeeper`)."""

    def __init__(self, snapshots: Snapshots, chunk: int, attempt: int) -> None:
        self._snapshots, self._path, self._places = snapshots, snapshots.path, snapshots.places
        self._owner = {"chunk": str(chunk), "attempt": str(attempt)}
        self._name = f"chunk {chunk + 1}, attempt {attempt + 1}"

    def kept(self, key: Callable[[], str]) -> SamplerState | None:
        """The state in the snapshot, if it is whole and of this attempt at this chunk; what is not is logged."""
        states = (self._kept_in(path, key) for path in self._places if path.exists())
        return next((state for state in states if state is not None), None)

    def _kept_in(self, path: Path, key: Callable[[], str]) -> SamplerState | None:
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(path, framework="pt") as file:
                stated = file.metadata() or {}
                if any(stated[name] != value for name, value in self._owner.items()) or stated["key"] != key():
                    logger.info("%s: a snapshot of something else, not of %s; it is not used", path, self._name)
                    return None
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no mapping
            state = _checked_state(stated, tensors)
        except (OSError, SafetensorError, LookupError, ValueError) as exc:
            logger.warning("%s: a damaged snapshot (%s); %s begins anew", path, exc, self._name)
            return None
        logger.info("%s: goes on after step %d, from a snapshot", self._name, state.num_done)
        return state

    def offer(self, key: Callable[[], str], state: SamplerState) -> None:
        """Write `state` if it is time; whatever the disk says, the work goes on."""
        num_bytes = state.num_bytes
        if not self._snapshots.is_due(num_bytes):
            return
        from safetensors import SafetensorError

        state.wait()
        began_s = self._snapshots.clock()
        try:
            self._write(key, state)
        except (OSError, SafetensorError) as exc:
            self._snapshots.failed(exc)
        seconds = self._snapshots.clock() - began_s
        self._snapshots.took(seconds, num_bytes)
        logger.debug("%s: snapshot after step %d, %d bytes, %.3f s", self._name, state.num_done, num_bytes, seconds)

    def _write(self, key: Callable[[], str], state: SamplerState) -> None:
        from safetensors.torch import save_file

        tensors = {name: tensor.cpu().contiguous() for name, tensor in state.tensors().items()}
        metadata = {**self._owner, "key": key(), "num_done": str(state.num_done)}
        metadata["sha256"] = _digest(metadata, tensors)
        temporary = temporary_for(self._path)
        make_folder(self._path.parent)
        try:
            save_file(tensors, temporary, metadata)
            sync_file(temporary)
            temporary.replace(self._path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        sync_folder(self._path.parent)


def _checked_state(stated: Mapping[str, str], tensors: Mapping[str, Tensor]) -> SamplerState:
    """The state in a snapshot of `tensors`; `ValueError` if one bit is not as it was `stated`."""
    from infinitetalk_cli.models.sampler_state import SamplerState

    if stated["sha256"] != _digest({name: value for name, value in stated.items() if name != "sha256"}, tensors):
        raise ValueError("its content has changed")
    return SamplerState.from_tensors(int(stated["num_done"]), tensors)


def _digest(stated: Mapping[str, str], tensors: Mapping[str, Tensor]) -> str:
    from infinitetalk_cli.models.sampler_state import hash_tensor

    digest = hashlib.sha256(json.dumps(stated, sort_keys=True).encode())
    for name in sorted(tensors):
        digest.update(name.encode())
        hash_tensor(digest, tensors[name])
    return digest.hexdigest()
