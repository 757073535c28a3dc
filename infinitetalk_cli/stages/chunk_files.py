"""Finished chunks on disk: one lossless file each, holding the frames that the chunk adds, and a record beside it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from infinitetalk_cli.cache.files import committed
from infinitetalk_cli.stages.keyframes import ChunkPlan
from infinitetalk_cli.stages.planned_chunk import PlannedChunk
from infinitetalk_cli.units import FrameSpan

_PATTERN = f"chunk-{'[0-9]' * 6}.mkv"


def chunk_file(folder: Path, index: int) -> Path:
    """Where the new frames of chunk `index` are kept."""
    return folder / f"chunk-{index:06d}.mkv"


def record_file(folder: Path, index: int) -> Path:
    """Where it is told how chunk `index` came about."""
    return chunk_file(folder, index).with_suffix(".json")


def unfinished(folder: Path, chunks: Sequence[PlannedChunk], *, always_hash: bool = False) -> list[PlannedChunk]:
    """Those of `chunks` that are still to be made: in every stream the first that is not there, and all after it.

    A chunk is there when it is finished and undamaged, with its record; see `cache.files`. No stream depends on
    another, so what is missing in one makes nothing of the others worthless.
    """
    begun: set[int] = set()
    left = []
    for chunk in chunks:
        if chunk.scene in begun or not _is_committed(folder, chunk.index, always_hash):
            begun.add(chunk.scene)
            left.append(chunk)
    return left


def num_committed(folder: Path) -> int:
    """How many chunks lie there finished, for whoever does not know the plan."""
    return sum(_is_committed(folder, int(path.stem.removeprefix("chunk-")), False) for path in folder.glob(_PATTERN))


def _is_committed(folder: Path, index: int, always_hash: bool) -> bool:
    record, chunk = record_file(folder, index), chunk_file(folder, index)
    return committed(record, always_hash=True) and committed(chunk, always_hash=always_hash)


def read_kept_frames(folder: Path, plan: ChunkPlan, span: FrameSpan) -> Iterator[np.ndarray]:
    """Finished frames `(h, w, 3)` uint8 of the model's timeline, from as many chunk files as they lie in."""
    from infinitetalk_cli.media.lossless import read_frames

    for chunk in plan.chunks:
        start, stop = max(span.start, chunk.new_start), min(span.stop, chunk.new_stop)
        if start < stop:
            file = chunk_file(folder, chunk.index)
            yield from read_frames(file, start - chunk.new_start, stop - chunk.new_start)
