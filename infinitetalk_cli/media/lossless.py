"""Chunk files: frames kept exactly, so that a resumed job continues from the very same pixels.

H.264 without loss, in RGB, in Matroska: of what libavcodec offers, it keeps generated frames in the least room (the
numbers are in docs/cache.md). A chunk is read from its beginning, so its frames may build on each other.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction
from itertools import islice
from pathlib import Path

import av
import numpy as np

from infinitetalk_cli.errors import InputError
from infinitetalk_cli.media.edges import open_media, url_of, writing

_ENCODER = "libx264rgb"
_OPTIONS = {"qp": "0", "preset": "veryfast", "bf": "0", "g": "9999", "x264-params": "mbtree=0"}
_THREADS = 4
"""Fixed, because it changes the bytes (and no pixel)."""


def write_frames(path: Path, frames: Iterable[np.ndarray], rate: Fraction) -> int:
    """Write `(h, w, 3)` uint8 RGB frames so that `read_frames` gives back the same bytes; returns their number.

    Equal frames give equal files.
    """
    num_frames, stream = 0, None
    with writing(path), av.open(url_of(path), "w", format="matroska") as container:
        container.flags |= av.container.Flags.bitexact.value
        for pixels in frames:
            if stream is None:
                stream = container.add_stream(_ENCODER, rate=rate, options=_OPTIONS)
                stream.height, stream.width = pixels.shape[:2]
                stream.pix_fmt, stream.thread_count = "rgb24", _THREADS
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
            frame.pts, frame.time_base = num_frames, 1 / rate
            container.mux(stream.encode(frame))
            num_frames += 1
        if stream is not None:
            container.mux(stream.encode())
    return num_frames


def read_frames(path: Path, start: int = 0, stop: int | None = None) -> Iterator[np.ndarray]:
    """Frames `[start, stop)` of a file of `write_frames`, `(h, w, 3)` uint8; `InputError` if some are missing."""
    index = 0
    with open_media(path) as container:
        stream = container.streams.video[0]
        stream.codec_context.options = {"err_detect": "explode"}
        for frame in islice(container.decode(stream), stop):
            if frame.is_corrupt:
                raise InputError(f"{path}: frame {index} is damaged; delete the file and run again")
            if index >= start:
                yield frame.to_ndarray(format="rgb24")
            index += 1
    if stop is not None and index < stop:
        raise InputError(f"{path}: holds {index} frames, not {stop}; delete the file and run again")
