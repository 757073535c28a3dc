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
from infinitetalk_cli.media.edges import UNDECODABLE, open_media, reading
from infinitetalk_cli.media.info import MediaInfo
from infinitetalk_cli.media.probe import require_video
from infinitetalk_cli.media.timeline import SourceTimeline

log = logging.getLogger(__name__)

_SEEK_MARGINS_S = (Fraction(0), Fraction(1), Fraction(5), Fraction(20))
"""How much earlier to seek when a container's index lands behind the keyframe that was asked for."""

_WORTH_SEEKING_FRAMES = 24
"""Decoding on through fewer frames is quicker than emptying the decoder and filling it again."""

_LONGEST_STAND_IN_S = Fraction(20)
"""For how long a neighbour stands in for pictures that do not decode: one bad keyframe spoils all up to the next."""


class FrameReader:
    """Frames of the video at `path` as upright `(h, w, 3)` uint8 RGB. A context manager.

    `size` (width, height) before the picture is turned upright, None for the stored one. Where pictures are damaged,
    the last good one before them stands in, and the log says so.
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
        self._begin_anew = True
        self._run_start = 0
        """The keyframe from which frames were decoded to where we are, 0 for the very front."""
        self._has_warned = False

    def __enter__(self) -> FrameReader:
        self._rewind()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._forget()
        self._stack.close()

    def read(self, indices: Iterable[int]) -> Iterator[np.ndarray]:
        """One `(h, w, 3)` uint8 array per index of `indices`; rising order is fast, any order is right.

        The arrays are read-only and may repeat. They do not depend on what was read before, not even where the video
        is damaged. Raises `InputError` where the video cannot be decoded.
        """
        self._begin_anew = True
        for index in indices:
            yield self.at(index)

    def at(self, index: int) -> np.ndarray:
        """One frame as from `read`, decoding on from the last one where that is quicker: for long rising walks."""
        assert 0 <= index < self._timeline.num_frames
        if self._begin_anew or self._pixels is None or self._pixels[0] != index:
            with reading(self._path):
                pixels = self._convert(self._frame(index))
            pixels.flags.writeable = False
            self._pixels = (index, pixels)
        return self._pixels[1]

    def group_of(self, index: int) -> int:
        """The frame from which a walk that begins at `index` is decoded.

        Frames of one group come out alike on every rising walk that begins in it, also where the video is damaged.
        """
        if not self._timeline.is_seekable:
            return 0
        return _start_from(self._timeline.keyframe_before(self._first_needed(index)))

    def _first_needed(self, index: int) -> int:
        """Deinterlacing looks at the frame before, so that one must be decoded too."""
        return max(0, index - 1) if self._video.is_interlaced else index

    def _frame(self, index: int) -> av.VideoFrame:
        """The frame on screen at the time of `index`: the last decoded one whose time is not later."""
        self._go_near(index)
        while self._shown is None or self._shown[0] < index:
            if self._pending is None:
                self._pending = next(self._frames, None)
            if self._pending is None or (self._shown is not None and self._pending[0] > index):
                break
            self._shown, self._pending = self._pending, None
        if self._shown is None or self._missing_s(index, self._shown[0]) > _LONGEST_STAND_IN_S:
            self._begin_anew = True
            raise InputError(
                f"{self._path}: no picture can be decoded around {self._seconds(index):.2f} s; it is damaged, "
                "copy or download it again"
            )
        return self._shown[1]

    def _missing_s(self, wanted: int, shown: int) -> Fraction:
        """For how long the pictures are missing that should have been seen between the two."""
        first, last = (shown + 1, wanted) if shown < wanted else (wanted, shown)
        return self._timeline.time_of(last) - self._timeline.time_of(first)

    def _go_near(self, index: int) -> None:
        """Seek when `index` lies behind us, or behind a keyframe far ahead of us, or where a walk has to begin."""
        place = -1 if self._shown is None else self._shown[0]
        begins, self._begin_anew = self._begin_anew, False
        if not self._timeline.is_seekable:
            if index < place:
                self._rewind()
            return
        wanted = self._first_needed(index)
        keyframe = self._timeline.keyframe_before(wanted)
        start = _start_from(keyframe)
        is_short = start == self._run_start if begins else keyframe - max(place, 0) < _WORTH_SEEKING_FRAMES
        if index >= place and is_short:
            return
        if start == 0:
            self._rewind()
            return
        self._run_start = start
        for margin_s in _SEEK_MARGINS_S:
            self._seek(keyframe, margin_s)
            self._pending = next(self._frames, None)
            if self._pending is not None and self._pending[0] <= wanted:
                return
        self._rewind()
        self._run_start = start

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
        self._run_start = 0

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
        """Frames in order; packets that do not decode are passed over.

        `wait_for_key` drops what a decoder makes of the rest of a group of pictures whose start it did not see.
        """
        has_begun = False
        for packet in self._container.demux(self._container.streams[self._video.index]):
            try:
                frames = packet.decode()
            except UNDECODABLE:
                if has_begun:
                    self._warn(self._when(packet))
                continue
            for frame in frames:
                has_begun = has_begun or not wait_for_key or frame.key_frame
                if not has_begun:
                    continue
                if frame.is_corrupt:
                    self._warn(f"{frame.time or 0:.2f} s")
                yield frame

    def _warn(self, when: str) -> None:
        if not self._has_warned:
            self._has_warned = True
            log.warning("%s: damaged at %s; its pictures there are shown as far as they go", self._path, when)

    def _when(self, packet: av.Packet) -> str:
        if packet.pts is None:
            return "an unknown time"
        return f"{float(packet.pts * packet.time_base - self._info.start_s):.2f} s"

    def _seconds(self, index: int) -> float:
        return float(self._timeline.time_of(index))


def _start_from(keyframe: int) -> int:
    """Where decoding starts to get to frames behind `keyframe`: at the very front if that is near."""
    return keyframe if keyframe >= _WORTH_SEEKING_FRAMES else 0
