"""Tracks that go into an output beside the picture: copied or encoded audio, subtitles, each fed in step with it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import av.container
import numpy as np

from infinitetalk_cli.errors import InputError
from infinitetalk_cli.media.audio import LOUDEST, contiguous, cut
from infinitetalk_cli.media.containers import LOSSLESS
from infinitetalk_cli.media.edges import open_media
from infinitetalk_cli.media.info import AudioInfo, MediaInfo
from infinitetalk_cli.media.layouts import encoded_layout, layout_of

_PACKED = {"u1": "u8", "i2": "s16", "i4": "s32", "f4": "flt", "f8": "dbl"}
_ENCODERS = {"opus": "libopus"}
_BLOCK_SAMPLES = 4096

AAC_BITS_PER_CHANNEL = 160_000
"""320 kbit/s for stereo."""
OPUS_BITS_PER_CHANNEL = 96_000


@dataclass(frozen=True)
class AudioCut:
    """The stretch `[start_s, stop_s)` of one audio stream of a file, `stop_s` None for its end."""

    path: Path
    info: MediaInfo
    stream: AudioInfo
    start_s: Fraction = Fraction(0)
    stop_s: Fraction | None = None


Timed = tuple[Fraction, av.Packet]
"""When a packet is due, in seconds of the output, and the packet."""


class Feeder:
    """Hands a track's packets to the muxer as the picture advances, so that nothing piles up."""

    def __init__(self, packets: Iterator[Timed]) -> None:
        self._packets = packets
        self._next = next(packets, None)

    def until(self, time_s: Fraction | None) -> Iterator[av.Packet]:
        """Packets due by `time_s`, all that are left for `None`."""
        while self._next is not None and (time_s is None or self._next[0] <= time_s):
            yield self._next[1]
            self._next = next(self._packets, None)


def add_audio(container: av.container.OutputContainer, codec: str | None, audio: AudioCut) -> Feeder:
    """Add a stream for `audio` to `container`, copied when `codec` is None; returns what feeds it."""
    if codec is None:
        return _add_copied(container, audio)
    stream = encoding_stream(container, codec, audio.stream, keeps_16_bits=_is_16_bit(audio))
    return Feeder(_encoded(stream, audio))


def _add_copied(container: av.container.OutputContainer, audio: AudioCut) -> Feeder:
    with open_media(audio.path) as source:
        stream = container.add_stream_from_template(source.streams[audio.stream.index])
    return Feeder(_copied(stream, audio))


def _copied(stream: av.AudioStream, audio: AudioCut) -> Iterator[Timed]:
    """Packets before `stop_s`, the last one's duration shortened to end there."""
    with open_media(audio.path) as source:
        for packet in source.demux(source.streams[audio.stream.index]):
            when = packet.dts if packet.pts is None else packet.pts
            if packet.size == 0 or when is None:
                continue
            origin = round(audio.info.start_s / packet.time_base)
            stop = None if audio.stop_s is None else round(audio.stop_s / packet.time_base)
            packet.pts = packet.dts = when - origin
            if stop is not None:
                if packet.pts >= stop:
                    return
                if packet.duration:
                    packet.duration = min(packet.duration, stop - packet.pts)
            packet.stream = stream
            yield packet.pts * packet.time_base, packet


def encoding_stream(
    container: av.container.OutputContainer, codec: str, audio: AudioInfo, keeps_16_bits: bool = True
) -> av.AudioStream:
    """Add a stream for sound like `audio` to `container` and open its encoder."""
    name = _ENCODERS.get(codec, codec)
    rate_hz = _encodable_rate(name, audio.rate_hz)
    stream = container.add_stream(name, rate=rate_hz)
    stream.layout = encoded_layout(name, rate_hz, audio)
    channels = stream.layout.nb_channels
    if codec == "aac":
        stream.bit_rate = AAC_BITS_PER_CHANNEL * min(channels, 4)
    elif codec == "opus":
        stream.bit_rate = OPUS_BITS_PER_CHANNEL * channels
    formats = [form.name for form in stream.codec_context.codec.audio_formats or []]
    if codec in LOSSLESS and not keeps_16_bits:
        stream.format = next(name for name in formats if name.startswith("s32"))
    stream.codec_context.open(strict=False)
    return stream


def _encodable_rate(encoder: str, rate_hz: int) -> int:
    """`rate_hz`, or the lowest rate above it that the encoder takes, or its highest."""
    rates = sorted(av.Codec(encoder, "w").audio_rates or [rate_hz])
    return next((rate for rate in rates if rate >= rate_hz), rates[-1])


def _is_16_bit(audio: AudioCut) -> bool:
    with open_media(audio.path) as source:
        return source.streams[audio.stream.index].format.bits <= 16


def _encoded(stream: av.AudioStream, audio: AudioCut) -> Iterator[Timed]:
    """The cut, decoded, resampled only if the encoder wants another rate or layout, and encoded."""
    rate_hz = audio.stream.rate_hz
    start, stop = round(audio.start_s * rate_hz), None if audio.stop_s is None else round(audio.stop_s * rate_hz)
    resampler = av.AudioResampler(
        format=stream.format, layout=stream.layout, rate=stream.rate, frame_size=stream.frame_size or _BLOCK_SAMPLES
    )
    place = 0
    for block in cut(contiguous(audio.path, audio.info, audio.stream), start, stop):
        frame = _frame(audio, block, place)
        place += block.shape[1]
        yield from _timed(stream, resampler.resample(frame))
    yield from _timed(stream, resampler.resample(None) if place else [])
    yield from _timed(stream, [None])


def _frame(audio: AudioCut, block: np.ndarray, place: int) -> av.AudioFrame:
    """`block (channels, n)` as a packed frame; PyAV 18.1 cannot fill planar ones of eight channels."""
    layout = av.AudioLayout(layout_of(audio.stream))
    if len(block) != audio.stream.channels:
        raise InputError(f"{audio.path}: its audio changes its number of channels midway; convert it to wav first")
    packed = np.ascontiguousarray(_sane(block)[: layout.nb_channels].T).reshape(1, -1)
    frame = av.AudioFrame.from_ndarray(packed, format=_PACKED[block.dtype.str[1:]], layout=layout)
    frame.sample_rate, frame.pts = audio.stream.rate_hz, place
    frame.time_base = Fraction(1, audio.stream.rate_hz)
    return frame


def _sane(block: np.ndarray) -> np.ndarray:
    """Silence instead of values that are no samples: an old track kept beside the new one must not end the job."""
    if block.dtype.kind != "f" or np.abs(block).max(initial=0.0) < LOUDEST:
        return block
    return np.where(np.abs(block) < LOUDEST, block, 0).astype(block.dtype)


def _timed(stream: av.AudioStream, frames: list[av.AudioFrame | None]) -> Iterator[Timed]:
    for frame in frames:
        for packet in stream.encode(frame):
            yield packet.pts * packet.time_base, packet
