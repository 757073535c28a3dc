"""Damaged media for the tests: small whole files of many kinds, and what may happen to their bytes."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
import synthetic
from hypothesis import strategies as st
from synthetic import Clip, ClipAudio

_SOUND = (ClipAudio(synthetic.speech(1.2)),)


def _clip(**changes: object) -> Clip:
    return Clip(**{"num_frames": 30, "gop": 8, "audio": _SOUND, **changes})


_EXTRAS = {
    "subtitles": ((Fraction(0), Fraction(1), "one"),),
    "chapters": ((Fraction(0), Fraction(1), "first"),),
    "metadata": {"title": "Whole", "artist": "Nobody"},
    "cover": True,
}
_FRAGMENTS = {"movflags": "frag_keyframe+empty_moov+default_base_moof"}
_INTERLACED = {"codec": "mpeg2video", "is_interlaced": True, "pix_fmt": "yuv420p"}
_HDR = {
    "codec": "libx265",
    "pix_fmt": "yuv420p10le",
    "tags": {"matrix": "bt2020nc", "primaries": "bt2020", "transfer": "smpte2084"},
}

CLIPS: dict[str, Clip] = {
    "h264.mp4": _clip(**_EXTRAS),
    "fast_start.mp4": _clip(container_options={"movflags": "faststart"}, rotation=90),
    "fragments.mp4": _clip(container_options=_FRAGMENTS),
    "h264.mkv": _clip(**_EXTRAS, attachment=True),
    "hdr.mp4": _clip(**_HDR),
    "av1.mp4": _clip(codec="libsvtav1", num_frames=12, options={"preset": "12"}),
    "vp9.webm": _clip(),
    "mpeg4.avi": _clip(b_frames=0),
    "mjpeg.avi": _clip(codec="mjpeg", pix_fmt="yuvj420p"),
    "h264.ts": _clip(),
    "interlaced.mov": _clip(**_INTERLACED),
    "qtrle.mov": _clip(codec="qtrle", pix_fmt="argb"),
    "ffv1.mkv": _clip(codec="ffv1", pix_fmt="yuv444p", num_frames=15),
    "wmv2.wmv": _clip(b_frames=0, audio=()),
    "loop.gif": _clip(num_frames=8, audio=()),
}
SOUNDS = ("voice.wav", "voice.mp3", "voice.flac", "voice.ogg", "voice.m4a", "voice.opus")
PICTURES = ("face.png", "face.jpg", "face.webp", "face.bmp", "face.tiff")


def make_base(folder: Path, name: str) -> Path:
    """The whole file `name` of `CLIPS`, `SOUNDS` or `PICTURES`, in `folder`."""
    path = folder / name
    if name in CLIPS:
        return synthetic.make_clip(path, CLIPS[name])
    if name in SOUNDS:
        return synthetic.make_audio(path, synthetic.speech(1.2, channels=2))
    return synthetic.make_image(path)


# What happens to the bytes. Places and lengths are shares of the file, so that a recipe fits files of any size.


@dataclass(frozen=True)
class Damage:
    """`kind` done at `place`, over `length` (shares of the file in [0, 1]), with `seed` for what is drawn."""

    kind: str
    place: float
    length: float
    seed: int

    def apply(self, data: bytes) -> bytes:
        """`data` with the damage done."""
        start = min(int(self.place * len(data)), max(0, len(data) - 1))
        stop = min(len(data), start + max(1, int(self.length * len(data))))
        return _KINDS[self.kind](data, start, stop, np.random.default_rng(self.seed))


def damaged(data: bytes, damages: Sequence[Damage]) -> bytes:
    """`data` after all of `damages`, in order."""
    for damage in damages:
        data = damage.apply(data)
    return data


Change = Callable[[bytes, int, int, np.random.Generator], bytes]


def _truncate(data: bytes, start: int, stop: int, random: np.random.Generator) -> bytes:
    return data[:start]


def _behead(data: bytes, start: int, stop: int, random: np.random.Generator) -> bytes:
    return data[start:]


def _flip(data: bytes, start: int, stop: int, random: np.random.Generator) -> bytes:
    """Single bits, at most 20 of them, between `start` and `stop`."""
    changed = np.frombuffer(data, np.uint8).copy()
    for place in random.integers(start, max(stop, start + 1), int(random.integers(1, 21))):
        if place < len(changed):
            changed[place] ^= 1 << int(random.integers(8))
    return changed.tobytes()


def _zero(data: bytes, start: int, stop: int, random: np.random.Generator) -> bytes:
    return data[:start] + bytes(stop - start) + data[stop:]


def _noise(data: bytes, start: int, stop: int, random: np.random.Generator) -> bytes:
    return data[:start] + random.bytes(stop - start) + data[stop:]


def _remove(data: bytes, start: int, stop: int, random: np.random.Generator) -> bytes:
    return data[:start] + data[stop:]


def _insert(data: bytes, start: int, stop: int, random: np.random.Generator) -> bytes:
    return data[:start] + random.bytes(min(stop - start, 4096)) + data[start:]


def _repeat(data: bytes, start: int, stop: int, random: np.random.Generator) -> bytes:
    return data[:stop] + data[start:stop] + data[stop:]


def _swap(data: bytes, start: int, stop: int, random: np.random.Generator) -> bytes:
    middle = (start + stop) // 2
    return data[:start] + data[middle:stop] + data[start:middle] + data[stop:]


_TELLING = (0, 1, 2, 0x7F, 0xFF, 0x100, 0x7FFF, 0x8000, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF)


def _number(data: bytes, start: int, stop: int, random: np.random.Generator) -> bytes:
    """Some other number in a field of the header: where sizes, rates, times and counts are kept."""
    form = ("<B", "<H", "<I", ">H", ">I", ">I", "<Q", ">Q")[int(random.integers(8))]
    value = _TELLING[int(random.integers(len(_TELLING)))] & (256 ** struct.calcsize(form) - 1)
    return _put(data, start, struct.pack(form, value))


_FIELDS = (
    b"mvhd", b"tkhd", b"mdhd", b"stts", b"ctts", b"stsc", b"stsz", b"stco", b"stss", b"elst", b"avc1", b"mp4a", b"hvc1",
    b"avcC", b"esds", b"colr", b"pasp", b"tfdt", b"trun", b"tfhd", b"trex", b"avih", b"strh", b"strf", b"idx1", b"fmt ",
    b"data", b"RIFF", b"IHDR", b"IDAT", b"fLaC", b"OggS", b"OpusHead", b"Xing", b"Info", b"\x2a\xd7\xb1", b"\x44\x89",
    b"\xe7", b"\xb0", b"\xba", b"\xb5", b"\x9f", b"\x1f\x43\xb6\x75", b"\x16\x54\xae\x6b", b"\xff\xc0", b"\xff\xda",
)  # fmt: skip
"""What stands before the numbers of a header: boxes of mp4, chunks of RIFF and PNG, element numbers of Matroska."""


def _lie(data: bytes, start: int, stop: int, random: np.random.Generator) -> bytes:
    """Another number behind one of the names that headers are made of."""
    places = [place for name in _FIELDS if (place := data.find(name, start)) >= 0]
    places += [place for name in _FIELDS if (place := data.find(name)) >= 0]
    if not places:
        return _number(data, start, stop, random)
    place = places[int(random.integers(len(places)))] + 3 + int(random.integers(40))
    return _number(data, min(place, len(data) - 1), stop, random)


def _put(data: bytes, place: int, new: bytes) -> bytes:
    new = new[: len(data) - place]
    return data[:place] + new + data[place + len(new) :]


_KINDS: dict[str, Change] = {
    "truncate": _truncate, "behead": _behead, "flip": _flip, "zero": _zero, "noise": _noise, "remove": _remove,
    "insert": _insert, "repeat": _repeat, "swap": _swap, "number": _number, "lie": _lie,
}  # fmt: skip

_shares = st.one_of(st.floats(0, 1), st.floats(0, 0.02), st.floats(0.97, 1))

DAMAGES = st.lists(
    st.builds(
        Damage,
        kind=st.sampled_from((*_KINDS, "flip", "lie", "lie", "number")),
        place=_shares,
        length=st.one_of(st.floats(0, 0.01), st.floats(0, 0.2)),
        seed=st.integers(0, 2**32 - 1),
    ),
    min_size=1,
    max_size=4,
)
"""One to four damages of one file."""
