"""Finished chunks on disk: one lossless file each, holding the frames that the chunk adds, and a record beside it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from infinitetalk_cli.cache.files import committed
from infinitetalk_cli.stages.keyframes import ChunkPlan
from infinitetalk_cli.units import FrameSpan


def chunk_file(folder: Path, index: int) -> Path:
    """Where the new frames of chunk `index` are kept."""
    return folder / f"chunk-{index:06d}.mkv"


def record_file(folder: Path, index: int) -> Path:
    """Where it is told how chunk `index` came about."""
    return chunk_file(folder, index).with_suffix(".json")


def num_committed(folder: Path, num_chunks: int, *, always_hash: bool = False) -> int:
    """How many chunks from the first on are finished and undamaged, each with its record; see `cache.files`."""
    return next((i for i in range(num_chunks) if not _is_committed(folder, i, always_hash)), num_chunks)


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
