"""Finished chunks on disk: one lossless file each, holding the frames that the chunk adds."""

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


def num_committed(folder: Path, num_chunks: int) -> int:
    """How many chunks from the first on are finished and undamaged."""
    return next((i for i in range(num_chunks) if not committed(chunk_file(folder, i))), num_chunks)


def read_kept_frames(folder: Path, plan: ChunkPlan, span: FrameSpan) -> Iterator[np.ndarray]:
    """Finished frames `(h, w, 3)` uint8 of the model's timeline, from as many chunk files as they lie in."""
    from infinitetalk_cli.media.lossless import read_frames

    for chunk in plan.chunks:
        start, stop = max(span.start, chunk.new_start), min(span.stop, chunk.new_stop)
        if start < stop:
            file = chunk_file(folder, chunk.index)
            yield from read_frames(file, start - chunk.new_start, stop - chunk.new_start)
