"""Audio of any file as contiguous samples from its presentation start, and as mono speech for the models."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO

import av
import av.container
import numpy as np

from infinitetalk_cli.errors import InputError, writing_to
from infinitetalk_cli.media.edges import UNDECODABLE, open_media
from infinitetalk_cli.media.info import AudioInfo, MediaInfo
from infinitetalk_cli.media.probe import probe_audio, require_audio
from infinitetalk_cli.progress import Progress, SilentProgress
from infinitetalk_cli.units import SPEECH_RATE_HZ, clock, samples_in

log = logging.getLogger(__name__)

_GAP_S = Fraction(1, 20)
"""A jump of time stamps that is a hole in the recording; less is rounding."""

_LONGEST_HOLE_S = Fraction(3600)
"""A hole in new speech that no recording has: its time stamps are damaged."""

_START_GAP_S = Fraction(1, 1000)
"""Delay of the first sample that is worth silence; containers round to a millisecond."""

_PROMISE_SLACK_S = Fraction(1, 5)
_UNKNOWN_RIFF_BYTES = 0x7FFF_0000
"""Programs that write to a pipe put the largest number they know where the size belongs."""
_KEEPS_PROMISES = {"mov,mp4,m4a,3gp,3g2,mj2", "wav", "flac", "matroska,webm", "aiff", "w64"}
"""Formats whose header holds the true length; that of an mp3 or an ogg is an estimate."""

LOUDEST = 2.0**20
"""What is further beyond full scale (1.0) is no sample of a sound; encoders stumble over it as over infinity."""

_FULL_SCALE = {"u1": 2.0**7, "i2": 2.0**15, "i4": 2.0**31, "i8": 2.0**63}
_SILENCE = {"u1": 128}
_PLANAR = {"u8p": "u1", "s16p": "i2", "s32p": "i4", "s64p": "i8", "fltp": "f4", "dblp": "f8"}


@dataclass(frozen=True)
class AudioTrack:
    """Mono speech written by `decode_mono`: `num_samples` at `rate_hz`, from `source_num_samples` of the source."""

    rate_hz: int
    num_samples: int
    source_rate_hz: int
    source_num_samples: int
    peak: float

    @property
    def duration_s(self) -> Fraction:
        """Exact length of what was decoded, counted at the source's rate."""
        return Fraction(self.source_num_samples, self.source_rate_hz)


def decode_mono(
    path: Path,
    out_path: Path,
    rate_hz: int = SPEECH_RATE_HZ,
    start_s: Fraction = Fraction(0),
    stop_s: Fraction | None = None,
    progress: Progress | None = None,
) -> AudioTrack:
    """Write the mean of all channels over `[start_s, stop_s)` to `out_path`: raw little-endian float32 at `rate_hz`.

    Memory stays constant. `InputError` if there is no audio, none in that stretch, or samples that are not numbers.
    """
    info = probe_audio(path)
    stream = require_audio(path, info)
    progress = progress or SilentProgress()
    progress.start("decoding audio", None if info.duration_s is None else int(info.duration_s))
    counter = _Counter(path, stream.rate_hz, progress)
    start, stop = round(start_s * stream.rate_hz), None if stop_s is None else round(stop_s * stream.rate_hz)
    with writing_to(out_path), out_path.open("wb") as out:
        blocks = counter.measured(mono_blocks(path, info, stream))
        pieces = counter.counted(cut(blocks, start, stop))
        num_written = 0
        for piece in _resampled(pieces, stream.rate_hz, rate_hz):
            num_written += len(piece)
            out.write(piece.astype("<f4").tobytes())
        if counter.num_samples == 0:
            raise _nothing_there(path, Fraction(counter.num_decoded, stream.rate_hz), start_s)
        # The resampler ends a few samples early or late; the exact length is the one that was counted.
        num_samples = samples_in(Fraction(counter.num_samples, stream.rate_hz), rate_hz)
        out.write(bytes(4 * max(0, num_samples - num_written)))
        out.truncate(4 * num_samples)
    return AudioTrack(rate_hz, num_samples, stream.rate_hz, counter.num_samples, counter.peak)


def _nothing_there(path: Path, length_s: Fraction, start_s: Fraction) -> InputError:
    if length_s == 0:
        return InputError(f"{path}: has no audio; its length is 0 s")
    return InputError(
        f"{path}: has no audio in the chosen stretch: it is {float(length_s):.2f} s long, "
        f"the stretch begins at {float(start_s):g} s"
    )


class _Counter:
    """Counts samples on their way, watches their peak, refuses what is not a number."""

    def __init__(self, path: Path, rate_hz: int, progress: Progress) -> None:
        self.num_decoded = 0
        self.num_samples = 0
        self.peak = 0.0
        self._path, self._rate_hz, self._progress = path, rate_hz, progress

    def measured(self, blocks: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
        """All that is decoded, before it is cut."""
        for block in blocks:
            self.num_decoded += len(block)
            yield block

    def counted(self, blocks: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
        for block in blocks:
            peak = float(np.abs(block).max(initial=0.0))
            if not peak < LOUDEST:
                raise InputError(
                    f"{self._path}: the audio holds values that are not numbers, or far beyond full scale, near "
                    f"{self.num_samples / self._rate_hz:.2f} s; export it again"
                )
            before = self.num_samples // self._rate_hz
            self.num_samples += len(block)
            self.peak = max(self.peak, peak)
            self._progress.advance(self.num_samples // self._rate_hz - before)
            yield block


def mono_blocks(path: Path, info: MediaInfo, stream: AudioInfo) -> Iterator[np.ndarray]:
    """Float32 blocks `(n,)`, the mean of all channels, from the file's presentation start without holes."""
    for block in contiguous(path, info, stream, refuses_long_holes=True):
        yield to_float(block).mean(axis=0, dtype=np.float32)


def contiguous(
    path: Path, info: MediaInfo, stream: AudioInfo, refuses_long_holes: bool = False
) -> Iterator[np.ndarray]:
    """Decoded blocks `(channels, n)` in the codec's own sample type; holes in the recording become silence.

    The first sample stands at the file's presentation start. Encoder delay is removed by the decoder, and padding
    at the end by the duration, where the container is known to state it. `InputError` if the file ends earlier
    than it promises or cannot be decoded, or has a hole that no recording has and `refuses_long_holes`.
    """
    place, stop = 0, _stated_stop(path, info, stream)
    with open_media(path) as container:
        for frame in _decoded(path, container, container.streams[stream.index]):
            if frame.sample_rate != stream.rate_hz:
                raise InputError(f"{path}: its audio changes its sample rate midway; convert it to wav first")
            block = _planar(frame)
            hole = _hole(frame, place, info, stream)
            if refuses_long_holes and hole > _LONGEST_HOLE_S * stream.rate_hz:
                raise InputError(
                    f"{path}: its sound has a hole of {clock(Fraction(hole, stream.rate_hz))} at "
                    f"{place / stream.rate_hz:.2f} s; its time stamps are damaged, convert it to wav first"
                )
            yield from _silence(block, hole, stream.rate_hz)
            if stop is not None and "mov" in info.format_name:
                block = block[:, : max(0, stop - place - hole)]
            if block.shape[1]:
                yield block
            place += hole + frame.samples
    if stop is not None and stop - place > _PROMISE_SLACK_S * stream.rate_hz:
        raise InputError(
            f"{path}: the audio is cut short: it promises {stop / stream.rate_hz:.2f} s and only "
            f"{place / stream.rate_hz:.2f} s can be read; copy or download it again"
        )


def is_copyable(path: Path, stream: AudioInfo) -> bool:
    """Whether every packet of the stream decodes and has a later time than the one before; decodes all of it."""
    last = None
    with open_media(path) as container:
        for packet in container.demux(container.streams[stream.index]):
            try:
                packet.decode()
            except UNDECODABLE:
                return False
            when = packet.dts if packet.pts is None else packet.pts
            if packet.size and (when is None or (last is not None and when <= last)):
                return False
            last = when
    return True


def _decoded(path: Path, container: av.container.InputContainer, stream: av.AudioStream) -> Iterator[av.AudioFrame]:
    """Frames that decode; the gaps that others leave are filled by their neighbours' time stamps."""
    num_bad = 0
    for packet in container.demux(stream):
        try:
            yield from packet.decode()
        except UNDECODABLE:
            num_bad += 1
    if num_bad:
        log.warning("%s: %d damaged stretches of its audio are replaced by silence", path, num_bad)


def _stated_stop(path: Path, info: MediaInfo, stream: AudioInfo) -> int | None:
    """Where the stream ends by its container's word, in samples from the presentation start."""
    if info.format_name == "wav":
        with path.open("rb") as file:
            return _stated_wav_stop(file, info, stream)
    if stream.duration_s is None or info.format_name not in _KEEPS_PROMISES:
        return None
    return round((stream.start_s + stream.duration_s) * stream.rate_hz)


def _stated_wav_stop(file: BinaryIO, info: MediaInfo, stream: AudioInfo) -> int | None:
    """libavformat lets the size of a RIFF file overrule its header, so that is read here."""
    header = file.read(12)
    promised_bytes = int.from_bytes(header[4:8], "little") + 8
    if header[:4] != b"RIFF" or promised_bytes >= _UNKNOWN_RIFF_BYTES or not info.duration_s:
        return None
    read_bytes = file.seek(0, os.SEEK_END)
    return round(info.duration_s * stream.rate_hz * max(1, Fraction(promised_bytes, read_bytes)))


def _hole(frame: av.AudioFrame, place: int, info: MediaInfo, stream: AudioInfo) -> int:
    """Missing samples before `frame` when `place` samples have come so far."""
    if frame.pts is None:
        return 0
    lag_s = frame.pts * frame.time_base - info.start_s - Fraction(place, stream.rate_hz)
    return round(lag_s * stream.rate_hz) if lag_s >= (_GAP_S if place else _START_GAP_S) else 0


def _silence(like: np.ndarray, num_samples: int, piece_samples: int) -> Iterator[np.ndarray]:
    """Silent blocks of the kind of `like`, in pieces: a broken time stamp may ask for hours."""
    for start in range(0, num_samples, piece_samples):
        shape = (len(like), min(piece_samples, num_samples - start))
        yield np.full(shape, _SILENCE.get(like.dtype.str[1:], 0), like.dtype)


def _planar(frame: av.AudioFrame) -> np.ndarray:
    """`(channels, n)` in the frame's own sample type."""
    num_channels = frame.layout.nb_channels
    if not frame.format.is_planar:
        return frame.to_ndarray().reshape(-1, num_channels).T
    # From eight channels on, PyAV 18.1 also lists planes that do not exist, and its `to_ndarray` reads them.
    planes = frame.planes[:num_channels]
    return np.stack([np.frombuffer(plane, _PLANAR[frame.format.name], frame.samples) for plane in planes])


def to_float(block: np.ndarray) -> np.ndarray:
    """Float32 in [-1, 1] from any sample type."""
    kind = block.dtype.str[1:]
    if kind not in _FULL_SCALE:
        return block.astype(np.float32)
    return ((block.astype(np.float64) - _SILENCE.get(kind, 0)) / _FULL_SCALE[kind]).astype(np.float32)


def cut(blocks: Iterator[np.ndarray], start: int, stop: int | None) -> Iterator[np.ndarray]:
    """Samples `[start, stop)` of `blocks`, which hold samples along their last axis."""
    place = 0
    for block in blocks:
        num_samples = block.shape[-1]
        first, last = max(0, start - place), num_samples if stop is None else min(num_samples, stop - place)
        if first < last:
            yield block[..., first:last]
        place += num_samples
        if stop is not None and place >= stop:
            return


def _resampled(blocks: Iterator[np.ndarray], from_hz: int, to_hz: int) -> Iterator[np.ndarray]:
    if from_hz == to_hz:
        yield from blocks
        return
    resampler, place = av.AudioResampler(format="flt", layout="mono", rate=to_hz), 0
    for block in blocks:
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(block)[None], format="flt", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = from_hz, place, Fraction(1, from_hz)
        place += len(block)
        yield from (piece.to_ndarray()[0] for piece in resampler.resample(frame))
    yield from (piece.to_ndarray()[0] for piece in resampler.resample(None))
