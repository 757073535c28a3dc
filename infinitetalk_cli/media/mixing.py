"""Two voices as the one track that is heard: their sum, sample by sample, at full rate and without loss (FLAC)."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import accumulate, chain, zip_longest
from pathlib import Path

import av
import numpy as np

from infinitetalk_cli.errors import InputError
from infinitetalk_cli.media.audio import LOUDEST, contiguous, to_float
from infinitetalk_cli.media.edges import url_of, writing
from infinitetalk_cli.media.info import AudioInfo, MediaInfo
from infinitetalk_cli.media.layouts import encoded_layout, layout_of
from infinitetalk_cli.media.probe import probe_audio, require_audio
from infinitetalk_cli.media.tracks import encoding_stream
from infinitetalk_cli.progress import Progress, SilentProgress
from infinitetalk_cli.units import samples_in

log = logging.getLogger(__name__)

MIX_CODEC = "flac"
_FULL_SCALE = 2**23
"""FLAC holds 24 bits; libavcodec wants them as the upper ones of 32."""

_BLOCK_SAMPLES = 1 << 16


@dataclass(frozen=True)
class MixedTrack:
    """What `mix_voices` wrote; `voices` are the samples `[start, stop)` of each voice.

    `gain` is 1 unless the sum had gone beyond full scale: then the whole track is lowered until its peak fits.
    """

    rate_hz: int
    voices: tuple[tuple[int, int], ...]
    gain: float


def describe_mix(infos: Sequence[MediaInfo], streams: Sequence[AudioInfo], in_turn: bool) -> MediaInfo:
    """What `mix_voices` will write of such voices: the highest rate and the most channels of them.

    Its length is the longest one's or, `in_turn`, the sum, as far as the files tell.
    """
    widest = max(streams, key=lambda stream: stream.channels)
    rate_hz = max(stream.rate_hz for stream in streams)
    layout = av.AudioLayout(encoded_layout(MIX_CODEC, rate_hz, widest))
    lengths = [info.duration_s for info in infos]
    duration_s = None if None in lengths else sum(lengths) if in_turn else max(lengths)
    audio = AudioInfo(
        index=0,
        codec=MIX_CODEC,
        rate_hz=rate_hz,
        channels=layout.nb_channels,
        layout=layout.name,
        language=None,
        title=None,
        is_default=True,
        start_s=Fraction(0),
        duration_s=duration_s,
    )
    return MediaInfo(
        format_name=MIX_CODEC,
        start_s=Fraction(0),
        duration_s=duration_s,
        is_image=False,
        video=None,
        audio=(audio,),
        other=(),
        chapters=(),
        metadata={},
    )


def mix_voices(paths: Sequence[Path], out_path: Path, in_turn: bool, progress: Progress | None = None) -> MixedTrack:
    """Write the sum of the sound of `paths` to `out_path`, or with `in_turn` one after the other.

    What a shorter file lacks is silent. A mono voice is heard equally from both sides of a stereo track, other
    layouts are placed as libswresample does; rates below the highest are raised to it. Memory stays constant.

    Raises:
        InputError: a file has no audio, or samples that are not numbers.
        ResourceError: the disk is full.
    """
    infos = [probe_audio(path) for path in paths]
    streams = [require_audio(path, info) for path, info in zip(paths, infos, strict=True)]
    target = describe_mix(infos, streams, in_turn).audio[0]
    progress = progress or SilentProgress()

    def write(gain: float) -> tuple[float, list[int]]:
        """The peak, and the length of each voice."""
        voices = [_Voice(*source, target) for source in zip(paths, infos, streams, strict=True)]
        blocks = chain.from_iterable(voice.blocks() for voice in voices) if in_turn else _sum(voices)
        progress.start("mixing the voices", None if target.duration_s is None else int(target.duration_s))
        return _write(out_path, blocks, target, gain, progress), [voice.num_samples for voice in voices]

    gain = 1.0
    peak, lengths = write(gain)
    if peak > 1.0:
        log.info("the sum of the voices would peak at %.3f of full scale: the mix is lowered to fit", peak)
        gain = 1.0 / peak
        write(gain)
    stops = list(accumulate(lengths)) if in_turn else lengths
    voices = tuple((stop - length, stop) for stop, length in zip(stops, lengths, strict=True))
    return MixedTrack(target.rate_hz, voices, gain)


class _Voice:
    """The sound of one file at the rate and layout of the mix; counts its samples on their way."""

    def __init__(self, path: Path, info: MediaInfo, stream: AudioInfo, target: AudioInfo) -> None:
        self._path, self._info, self._stream, self._target = path, info, stream, target
        self.num_samples = 0

    def blocks(self) -> Iterator[np.ndarray]:
        """Float32 blocks (channels, n) with exactly as many samples as the file's length is worth."""
        is_like_target = (self._stream.rate_hz, layout_of(self._stream)) == (self._target.rate_hz, self._target.layout)
        for block in self._decoded() if is_like_target else self._converted():
            if not np.abs(block).max(initial=0.0) < LOUDEST:
                raise InputError(
                    f"{self._path}: the audio holds values that are not numbers, or far beyond full scale, near "
                    f"{self.num_samples / self._target.rate_hz:.2f} s; export it again"
                )
            self.num_samples += block.shape[1]
            if block.shape[1]:
                yield block

    def _decoded(self) -> Iterator[np.ndarray]:
        num_channels = av.AudioLayout(layout_of(self._stream)).nb_channels
        for block in contiguous(self._path, self._info, self._stream, refuses_long_holes=True):
            if len(block) != self._stream.channels:
                raise InputError(
                    f"{self._path}: its audio changes its number of channels midway; convert it to wav first"
                )
            yield to_float(block[:num_channels])

    def _converted(self) -> Iterator[np.ndarray]:
        """The resampler ends a few samples early or late; what counts is the exact length."""
        num_decoded = num_given = 0
        pending = np.zeros((self._target.channels, 0), np.float32)
        resampler = av.AudioResampler(format="flt", layout=self._target.layout, rate=self._target.rate_hz)
        for block in chain(self._decoded(), [None]):
            frame = None if block is None else self._frame(block, num_decoded)
            num_decoded += 0 if block is None else block.shape[1]
            pieces = [piece.to_ndarray().reshape(-1, self._target.channels).T for piece in resampler.resample(frame)]
            pending = np.concatenate([pending, *pieces], axis=1)
            num_wanted = samples_in(Fraction(num_decoded, self._stream.rate_hz), self._target.rate_hz) - num_given
            if block is None:
                pending = np.pad(pending, ((0, 0), (0, max(0, num_wanted - pending.shape[1]))))
            ready, pending = pending[:, :num_wanted], pending[:, num_wanted:]
            num_given += ready.shape[1]
            yield ready

    def _frame(self, block: np.ndarray, place: int) -> av.AudioFrame:
        layout = layout_of(self._stream)
        if (layout, self._target.layout) == ("mono", "stereo"):  # libswresample would lower it by 3 dB
            block, layout = block.repeat(2, axis=0), "stereo"
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(block.T).reshape(1, -1), format="flt", layout=layout)
        frame.sample_rate, frame.pts = self._stream.rate_hz, place
        frame.time_base = Fraction(1, self._stream.rate_hz)
        return frame


def _sum(voices: Sequence[_Voice]) -> Iterator[np.ndarray]:
    """Float64 blocks (channels, n); a voice that has ended is silent."""
    for blocks in zip_longest(*(_evenly_cut(voice.blocks()) for voice in voices)):
        spoken = [block for block in blocks if block is not None]
        longest = max(spoken, key=lambda block: block.shape[1])
        mixed = np.zeros(longest.shape, np.float64)
        for block in spoken:
            mixed[:, : block.shape[1]] += block
        yield mixed


def _evenly_cut(blocks: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
    """The same samples in blocks of `_BLOCK_SAMPLES`, the last one shorter."""
    waiting: list[np.ndarray] = []
    for block in blocks:
        waiting.append(block)
        if sum(piece.shape[1] for piece in waiting) >= _BLOCK_SAMPLES:
            joined = np.concatenate(waiting, axis=1)
            while joined.shape[1] >= _BLOCK_SAMPLES:
                yield joined[:, :_BLOCK_SAMPLES]
                joined = joined[:, _BLOCK_SAMPLES:]
            waiting = [joined]
    if waiting and sum(piece.shape[1] for piece in waiting):
        yield np.concatenate(waiting, axis=1)


def _write(path: Path, blocks: Iterator[np.ndarray], target: AudioInfo, gain: float, progress: Progress) -> float:
    """Write `blocks` times `gain` as FLAC; returns the peak before it was cut at full scale."""
    peak, place = 0.0, 0
    with writing(path), av.open(url_of(path), "w", format=MIX_CODEC) as container:
        stream = encoding_stream(container, MIX_CODEC, target, keeps_16_bits=False)
        cutter = av.AudioResampler(format=stream.format, layout=stream.layout, frame_size=stream.frame_size)
        for block in blocks:
            loud = block * gain
            peak = max(peak, float(np.abs(loud).max(initial=0.0)))
            frame = _quantised(loud, target, place)
            place += block.shape[1]
            for piece in cutter.resample(frame):
                container.mux(stream.encode(piece))
            progress.advance(place // target.rate_hz - (place - block.shape[1]) // target.rate_hz)
        for piece in cutter.resample(None) if place else []:
            container.mux(stream.encode(piece))
        container.mux(stream.encode(None))
    return peak


def _quantised(block: np.ndarray, target: AudioInfo, place: int) -> av.AudioFrame:
    levels = np.rint(block * _FULL_SCALE).clip(-_FULL_SCALE, _FULL_SCALE - 1).astype(np.int32) << 8
    packed = np.ascontiguousarray(levels.T).reshape(1, -1)
    frame = av.AudioFrame.from_ndarray(packed, format="s32", layout=target.layout)
    frame.sample_rate, frame.pts, frame.time_base = target.rate_hz, place, Fraction(1, target.rate_hz)
    return frame
