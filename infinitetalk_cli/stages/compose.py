"""The result's pictures at its own rate: generated frames, the source's own where nobody speaks, one into the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
from PIL import Image

from infinitetalk_cli.models.stretches import Stretch
from infinitetalk_cli.stages.chunk_files import read_kept_frames
from infinitetalk_cli.stages.keyframes import ChunkPlan
from infinitetalk_cli.units import MODEL_RATE, FrameSpan, frame_at, frame_time

SourceAt = Callable[[Fraction], np.ndarray]
"""The source's frame `(h, w, 3)` uint8 that is on screen so many seconds into the result; asked in rising order."""


def composed(
    chunks: Path, plan: ChunkPlan, num_frames: int, rate: Fraction, source_at: SourceAt
) -> Iterator[np.ndarray]:
    """`num_frames` frames `(h, w, 3)` uint8 at `rate`; those of the source, and mixed ones, have the source's size.

    Generated frames are shown as in `at_rate`; a frame of the source is the one on screen at the very time, so at the
    source's own rate none is lost or doubled.
    """
    generated = at_rate(_generated(chunks, plan), num_frames, rate)
    streams = [Stretch(**stream.model_dump()) for stream in plan.streams]
    for index, pixels in enumerate(generated):
        time_s = frame_time(index, rate)
        while streams and streams[0].stop <= frame_at(time_s):
            streams.pop(0)
        share = _share(streams, time_s)
        if pixels is None or share == 0:
            yield source_at(time_s)
        elif share == 1:
            yield pixels
        else:
            yield blend(source_at(time_s), pixels, share)


def at_rate(frames: Iterator[np.ndarray | None], num_frames: int, rate: Fraction) -> Iterator[np.ndarray | None]:
    """Model frames shown at `rate`: each output frame is the one on screen at its time."""
    shown_index, shown = 0, next(frames)
    for index in range(num_frames):
        wanted = frame_at(frame_time(index, rate))
        while shown_index < wanted and (following := next(frames, _END)) is not _END:
            shown_index, shown = shown_index + 1, following
        yield shown


def blend(source: np.ndarray, generated: np.ndarray, share: float) -> np.ndarray:
    """`generated` at the size of `source`, by `share` over it; `(h, w, 3)` uint8."""
    height, width = source.shape[:2]
    above = Image.fromarray(generated).resize((width, height), Image.Resampling.BICUBIC)
    return np.asarray(Image.blend(Image.fromarray(source), above, share))


_END = np.empty(0)


def _generated(chunks: Path, plan: ChunkPlan) -> Iterator[np.ndarray | None]:
    """The finished frame of every model frame, None where the source's own is kept."""
    place = 0
    for stream in plan.streams:
        yield from (None for _ in range(place, stream.start))
        yield from read_kept_frames(chunks, plan, FrameSpan(stream.start, stream.stop))
        place = stream.stop
    yield from (None for _ in range(place, plan.num_frames))


def _share(streams: list[Stretch], time_s: Fraction) -> float:
    place = time_s * MODEL_RATE
    if not streams or place < streams[0].start:
        return 0.0
    return streams[0].share(float(place))
