"""Media whose headers make no sense, or only little: written byte by byte, because no encoder would make them."""

from __future__ import annotations

import math
import struct
import zipfile
import zlib
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import synthetic
from synthetic import Clip, ClipAudio

Make = Callable[[Path], Path]


def png(width: int, height: int, samples: bytes | None = None) -> bytes:
    """A PNG that claims a size; `samples` None gives all that it needs (black)."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = zlib.compress(bytes((3 * width + 1) * height)) if samples is None else samples
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def wav(rate_hz: int, channels: int, data: bytes, *, is_float: bool = False, claimed_bytes: int | None = None) -> bytes:
    """A WAV file with any numbers in its header."""
    size = (4 if is_float else 2) * channels
    form = struct.pack(
        "<HHIIHH", 3 if is_float else 1, channels, rate_hz, min(rate_hz * size, 2**32 - 1), size, 32 if is_float else 16
    )
    length = len(data) if claimed_bytes is None else claimed_bytes
    body = b"WAVEfmt " + struct.pack("<I", len(form)) + form + b"data" + struct.pack("<I", length) + data
    return b"RIFF" + struct.pack("<I", min(len(body), 2**32 - 1)) + body


def frames_at(
    path: Path, ticks: list[int], unit: Fraction, codec: str = "mpeg4", size: tuple[int, int] = (96, 64)
) -> Path:
    """A clip whose packets carry any times, in order of `ticks` times `unit` seconds; each is a keyframe."""
    encoded = []
    context = av.CodecContext.create(codec, "w")
    context.width, context.height = size
    context.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    context.time_base = Fraction(1, 25)
    context.gop_size = 1
    for number in range(len(ticks)):
        frame = av.VideoFrame.from_ndarray(synthetic.draw(number, *size), format="rgb24").reformat(
            format=context.pix_fmt
        )
        frame.pts, frame.time_base = number, Fraction(1, 25)
        encoded += context.encode(frame)
    encoded += context.encode(None)
    with av.open(f"file:{path}", "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = *size, context.pix_fmt
        stream.time_base = unit
        container.start_encoding()
        for packet, when in zip(encoded, ticks, strict=True):
            packet.stream, packet.time_base = stream, unit
            packet.pts = packet.dts = when
            packet.duration = 1
            container.mux_one(packet)
    return path


def sound_with_hole(path: Path, hole_s: int) -> Path:
    """Half a second of sound, then nothing for `hole_s`, then half a second."""
    data = (synthetic.tone(0.5, 16_000) * 20_000).astype("<i2").tobytes()
    with av.open(f"file:{path}", "w") as container:
        stream = container.add_stream("pcm_s16le", rate=16_000)
        stream.layout = "mono"
        for start_s in (Fraction(0), hole_s + Fraction(1, 2)):
            packet = av.Packet(data)
            packet.stream, packet.time_base = stream, Fraction(1, 1000)
            packet.pts = packet.dts = round(start_s * 1000)
            packet.duration = 500
            container.mux_one(packet)
    return path


def patched(path: Path, name: bytes, offset: int, new: bytes) -> Path:
    """`path` with `new` written `offset` bytes behind the first `name`."""
    data = bytearray(path.read_bytes())
    place = data.index(name) + len(name) + offset
    data[place : place + len(new)] = new
    path.write_bytes(data)
    return path


def _clip(folder: Path, name: str, **changes: object) -> Path:
    return synthetic.make_clip(folder / name, Clip(**{"num_frames": 25, **changes}))


def _written(folder: Path, name: str, data: bytes | str) -> Path:
    path = folder / name
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


def _archive(folder: Path) -> Path:
    with zipfile.ZipFile(folder / "archive.mp4", "w") as archive:
        archive.writestr("clip.mp4", b"nothing much" * 1000)
    return folder / "archive.mp4"


def _playlist(name: str, text: str) -> Make:
    """A list beside the files that it names: they exist, so whoever follows it finds something."""

    def make(folder: Path) -> Path:
        _clip(folder, "other.ts")
        _clip(folder, "other.mp4")
        return _written(folder, name, text)

    return make


def _cover_only(folder: Path) -> Path:
    return synthetic.make_audio(folder / "song.m4a", synthetic.tone(0.5), cover=True)


def _small(name: str, size: tuple[int, int]) -> Make:
    return lambda folder: _clip(folder, name, size=size, codec="png", pix_fmt="rgb24", num_frames=5)


_HLS = "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:2\n#EXTINF:1.2,\n{}\n#EXT-X-ENDLIST\n"
_YEARS_10 = 10 * 365 * 24 * 3600

VIDEOS: dict[str, tuple[Make, int, str]] = {
    "empty": (lambda folder: _written(folder, "empty.mp4", b""), 4, "empty"),
    "one_byte": (lambda folder: _written(folder, "one.mp4", b"\0"), 4, "not a media file"),
    "archive": (_archive, 4, "not a media file"),
    "no_index": (lambda folder: synthetic.truncate(
        _clip(folder, "a.mp4"), 0.9, folder / "no_moov.mp4"), 4, "cut short"),
    "hls": (_playlist("list.m3u8", _HLS.format("other.ts")), 4, "a list of others"),
    "hls_network": (_playlist("net.m3u8", _HLS.format("http://192.0.2.1/a.ts")), 4, "a list of others"),
    "hls_named_mp4": (_playlist("list.mp4", _HLS.format("other.ts")), 4, "a list of others"),
    "concat": (_playlist("both.mp4", "ffconcat version 1.0\nfile other.mp4\n"), 4, "a list of others"),
    "sdp": (_playlist("s.sdp", "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nm=video 5004 RTP/AVP 96\n"), 4, "a list of others"),
    "dash": (_playlist("d.mpd", "<?xml version='1.0'?><MPD xmlns='urn:mpeg:dash:schema:mpd:2011'/>"), 4, "not a media"),
    "svg_with_link": (lambda folder: _written(folder, "x.svg", "<svg><image href='face.png'/></svg>"), 4, "codec"),
    "bomb": (lambda folder: _written(folder, "bomb.png", png(30_000, 30_000, b"")), 4, "67 million pixels"),
    "large_picture": (lambda folder: _written(folder, "large.png", png(9_000, 9_000, b"")), 4, "67 million pixels"),
    "wide_picture": (lambda folder: _written(folder, "wide.png", png(20_000, 2)), 7, "20000x2"),
    "65500_px": (lambda folder: _written(folder, "wide.png", png(65_500, 4)), 7, "65500x4"),
    "1x1": (_small("dot.mov", (1, 1)), 0, ""),
    "1x40": (_small("line.mov", (1, 40)), 0, ""),
    "16x16": (_small("small.mov", (16, 16)), 0, ""),
    "one_pixel_picture": (lambda folder: _written(folder, "dot.png", png(1, 1)), 0, ""),
    "cover_only": (_cover_only, 4, "no video stream"),
    "wrong_suffix": (lambda folder: _clip(folder, "a.mkv").rename(folder / "a.mp3"), 0, ""),
    "one_frame": (lambda folder: _clip(
        folder, "one.mp4", num_frames=1, audio=(ClipAudio(synthetic.tone(1.0)),)), 0, ""),
    "10_years": (lambda folder: patched(
        _clip(folder, "long.mp4"), b"mdhd", 12, struct.pack(">II", 7, 0x7FFFFFFF)), 0, ""),
    "microseconds": (lambda folder: frames_at(folder / "us.nut", list(range(30)), Fraction(1, 1_000_000)), 0, ""),
    "gap_of_10_years": (lambda folder: frames_at(
        folder / "gap.nut", [0, 1, 2, 25 * _YEARS_10], Fraction(1, 25)), 0, ""),
    "before_zero": (lambda folder: frames_at(folder / "neg.mkv", list(range(-20, 20)), Fraction(1, 25)), 0, ""),
    "twice": (lambda folder: _written(folder, "twice.ts", _clip(folder, "a.ts").read_bytes() * 2), 0, ""),
    "wrapping": (lambda folder: frames_at(
        folder / "wrap.ts", [2**33 - 90_000 + 3600 * k for k in range(50)], Fraction(1, 90_000)), 0, ""),
}  # fmt: skip
"""name -> (what makes it, exit code as the video of a job, words of the message)."""


def _seconds_of(*values: float) -> bytes:
    return np.array(values, "<f4").repeat(8000).tobytes()


SOUNDS: dict[str, tuple[Make, int, str]] = {
    "not_numbers": (lambda folder: _written(
        folder, "nan.wav", wav(16_000, 1, _seconds_of(0.1, math.nan), is_float=True)), 4, "not numbers"),
    "infinite": (lambda folder: _written(
        folder, "inf.wav", wav(16_000, 1, _seconds_of(0.1, math.inf), is_float=True)), 4, "not numbers"),
    "enormous": (lambda folder: _written(
        folder, "loud.wav", wav(16_000, 1, _seconds_of(0.1, 3e38), is_float=True)), 4, "not numbers"),
    "0_hz": (lambda folder: _written(folder, "slow.wav", wav(0, 1, bytes(32_000))), 4, ""),
    "1_hz": (lambda folder: _written(folder, "slow.wav", wav(1, 1, bytes(40))), 4, "no audio stream"),
    "1_mhz": (lambda folder: _written(folder, "fast.wav", wav(1_000_000, 1, bytes(400_000))), 0, ""),
    "4_ghz": (lambda folder: _written(folder, "fast.wav", wav(2**32 - 1, 1, bytes(2_000_000))), 4, ""),
    "0_channels": (lambda folder: _written(folder, "none.wav", wav(16_000, 0, bytes(32_000))), 4, ""),
    "64_channels": (lambda folder: _written(folder, "wide.wav", wav(16_000, 64, bytes(128 * 3000))), 0, ""),
    "one_sample": (lambda folder: _written(folder, "short.wav", wav(16_000, 1, bytes(2))), 0, ""),
    "no_sample": (lambda folder: _written(folder, "none.wav", wav(16_000, 1, b"")), 4, ""),
    "hole_of_a_minute": (lambda folder: sound_with_hole(folder / "pause.mkv", 60), 0, ""),
    "hole_of_a_week": (lambda folder: sound_with_hole(folder / "pause.mkv", 7 * 24 * 3600), 4, "time stamps"),
    "cut_wav": (lambda folder: synthetic.truncate(
        _written(folder, "w.wav", wav(16_000, 1, bytes(64_000))), 0.5, folder / "cut.wav"), 4, "cut short"),
}  # fmt: skip
"""name -> (what makes it, exit code as the new voice of a job, words of the message)."""
