"""Frames of a source by index, streamed: one decoder, seeking where that is shorter, constant memory."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path

import av
import av.container
import numpy as np

from infinitetalk_cli.errors import InputError
from infinitetalk_cli.media.color import RgbConverter, deinterlaced
from infinitetalk_cli.media.edges import open_media
from infinitetalk_cli.media.info import MediaInfo
from infinitetalk_cli.media.probe import require_video
from infinitetalk_cli.media.timeline import SourceTimeline

log = logging.getLogger(__name__)

_SEEK_MARGINS_S = (Fraction(0), Fraction(1), Fraction(5), Fraction(20))
"""How much earlier to seek when a container's index lands behind the keyframe that was asked for."""

_WORTH_SEEKING_FRAMES = 24
"""Decoding on through fewer frames is quicker than emptying the decoder and filling it again."""


class FrameReader:
    """Frames of the video at `path` as upright `(h, w, 3)` uint8 RGB. A context manager.

    `size` (width, height) before the picture is turned upright, None for the stored one.
    """

    def __init__(
        self, path: Path, info: MediaInfo, timeline: SourceTimeline, size: tuple[int, int] | None = None
    ) -> None:
        self._path = path
        self._info = info
        self._video = require_video(path, info)
        self._timeline = timeline
        self._convert = RgbConverter(self._video, size)
        self._stack = ExitStack()
        self._container: av.container.InputContainer | None = None
        self._frames: Iterator[tuple[int, av.VideoFrame]] = iter(())
        self._shown: tuple[int, av.VideoFrame] | None = None
        self._pending: tuple[int, av.VideoFrame] | None = None
        self._pixels: tuple[int, np.ndarray] | None = None
        self._has_warned = False

    def __enter__(self) -> FrameReader:
        self._rewind()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._forget()
        self._stack.close()

    def read(self, indices: Iterable[int]) -> Iterator[np.ndarray]:
        """One `(h, w, 3)` uint8 array per index of `indices`; rising order is fast, any order is right.

        The arrays are read-only and may repeat. Raises `InputError` where the video cannot be decoded.
        """
        for index in indices:
            assert 0 <= index < self._timeline.num_frames
            if self._pixels is None or self._pixels[0] != index:
                pixels = self._convert(self._frame(index))
                pixels.flags.writeable = False
                self._pixels = (index, pixels)
            yield self._pixels[1]

    def _frame(self, index: int) -> av.VideoFrame:
        """The frame on screen at the time of `index`: the last decoded one whose time is not later."""
        self._go_near(index)
        while self._shown is None or self._shown[0] < index:
            if self._pending is None:
                self._pending = next(self._frames, None)
            if self._pending is None or (self._shown is not None and self._pending[0] > index):
                break
            self._shown, self._pending = self._pending, None
        if self._shown is None:
            raise InputError(f"{self._path}: nothing can be decoded at {self._seconds(index):.2f} s; is it damaged?")
        return self._shown[1]

    def _go_near(self, index: int) -> None:
        """Seek when `index` lies behind us, or behind a keyframe far ahead of us."""
        place = -1 if self._shown is None else self._shown[0]
        if not self._timeline.is_seekable:
            if index < place:
                self._rewind()
            return
        # Deinterlacing looks at the frame before, so that one must be decoded too.
        wanted = max(0, index - 1) if self._video.is_interlaced else index
        keyframe = self._timeline.keyframe_before(wanted)
        if index >= place and keyframe - max(place, 0) < _WORTH_SEEKING_FRAMES:
            return
        for margin_s in _SEEK_MARGINS_S:
            self._seek(keyframe, margin_s)
            self._pending = next(self._frames, None)
            if self._pending is not None and self._pending[0] <= wanted:
                return
        self._rewind()

    def _seek(self, keyframe: int, margin_s: Fraction) -> None:
        time_s = self._timeline.time_of(keyframe) + self._info.start_s - margin_s
        self._forget()
        self._container.seek(
            int(time_s // self._video.time_base), stream=self._container.streams[self._video.index], backward=True
        )
        self._frames = self._decode(wait_for_key=True)

    def _rewind(self) -> None:
        """Start again at the very front, which every container can do."""
        self._forget()
        self._stack.close()
        self._container = self._stack.enter_context(open_media(self._path))
        self._container.streams[self._video.index].thread_type = "AUTO"
        self._frames = self._decode(wait_for_key=False)

    def _forget(self) -> None:
        self._frames, self._shown, self._pending = iter(()), None, None

    def _decode(self, wait_for_key: bool) -> Iterator[tuple[int, av.VideoFrame]]:
        """(index, frame) from where the container stands; the index is that of the last time not later."""
        frames = self._decoded_frames(wait_for_key)
        if self._video.is_interlaced:
            frames = deinterlaced(frames, self._video.time_base)
        for count, frame in enumerate(frames):
            if not self._timeline.is_seekable:
                yield min(count, self._timeline.num_frames - 1), frame
            elif frame.pts is not None:
                time_s = frame.pts * (frame.time_base or self._video.time_base) - self._info.start_s
                yield self._timeline.frame_index_at(time_s), frame

    def _decoded_frames(self, wait_for_key: bool) -> Iterator[av.VideoFrame]:
        """Frames in order; packets that fail before the first good one are passed over, later ones raise.

        `wait_for_key` drops what a decoder makes of the rest of a group of pictures whose start it did not see.
        """
        has_begun = False
        for packet in self._container.demux(self._container.streams[self._video.index]):
            try:
                frames = packet.decode()
            except av.error.InvalidDataError as exc:
                if not has_begun:
                    continue
                raise InputError(f"{self._path}: damaged at {self._when(packet)}; copy or download it again") from exc
            for frame in frames:
                self._warn_if_corrupt(frame)
                has_begun = has_begun or not wait_for_key or frame.key_frame
                if has_begun:
                    yield frame

    def _warn_if_corrupt(self, frame: av.VideoFrame) -> None:
        if frame.is_corrupt and not self._has_warned:
            self._has_warned = True
            log.warning("%s: a damaged picture near %.2f s is shown as far as it goes", self._path, frame.time or 0)

    def _when(self, packet: av.Packet) -> str:
        if packet.pts is None:
            return "an unknown time"
        return f"{float(packet.pts * packet.time_base - self._info.start_s):.2f} s"

    def _seconds(self, index: int) -> float:
        return float(self._timeline.time_of(index))
