"""Chunk files: frames kept exactly, so that a resumed job continues from the very same pixels (FFV1 in Matroska)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from infinitetalk_cli.errors import InputError
from infinitetalk_cli.media.edges import open_media, url_of, writing

_FFV1_OPTIONS = {"level": "3", "slices": "4", "g": "1"}


def write_frames(path: Path, frames: Iterable[np.ndarray], rate: Fraction) -> int:
    """Write `(h, w, 3)` uint8 RGB frames so that `read_frames` gives back the same bytes; returns their number."""
    num_frames, stream = 0, None
    with writing(path), av.open(url_of(path), "w", format="matroska") as container:
        container.flags |= av.container.Flags.bitexact.value
        for pixels in frames:
            if stream is None:
                stream = container.add_stream("ffv1", rate=rate, options=_FFV1_OPTIONS)
                stream.height, stream.width = pixels.shape[:2]
                stream.pix_fmt, stream.thread_count = "bgr0", 0
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24").reformat(format="bgr0")
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
        for packet in container.demux(stream):
            if packet.size == 0 or (stop is not None and index >= stop):
                break
            if index >= start:
                for frame in packet.decode():
                    if frame.is_corrupt:
                        raise InputError(f"{path}: frame {index} is damaged; delete the file and run again")
                    yield frame.to_ndarray(format="rgb24")
            index += 1
    if stop is not None and index < stop:
        raise InputError(f"{path}: holds {index} frames, not {stop}; delete the file and run again")
