"""Every clip of a split as one file that all metrics refer to: 25 fps, square, one size, with the sound it is given.

`ID.mkv` is the picture, kept exactly; `ID.wav` the new sound (mono, 16 kHz, as long as the picture); `ID.json` says how
they were made. Other tools dub these two files; what they make of them is scored with `eval run --outputs`.
"""

from __future__ import annotations

import wave
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from infinitetalk_cli.arrays import SampleFile
from infinitetalk_cli.cache.files import write_text_atomic, written_whole
from infinitetalk_cli.cache.fingerprint import file_content_hash, fingerprint
from infinitetalk_cli.errors import InputError, writing_to
from infinitetalk_cli.evaluate.splits.split import Prepare, Split, SplitItem
from infinitetalk_cli.media.audio import decode_mono
from infinitetalk_cli.media.lossless import write_frames
from infinitetalk_cli.media.probe import probe, require_video
from infinitetalk_cli.media.reader import FrameReader
from infinitetalk_cli.media.scan import scan_timeline
from infinitetalk_cli.media.timeline import SourceTimeline
from infinitetalk_cli.models.geometry import resize_frame
from infinitetalk_cli.units import MODEL_RATE, SPEECH_RATE_HZ, frame_time, frames_in

VERSION = 1
"""Raise it when equal files would be prepared differently."""

SAMPLES_PER_FRAME = int(SPEECH_RATE_HZ / MODEL_RATE)
Box = tuple[int, int, int, int]


class PreparedFacts(BaseModel):
    """`ID.json`. `face`: left, top, right, bottom in the prepared picture; `audio_pad_s`: silence at the end."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    fingerprint: str
    id: str
    donor: str
    num_frames: int
    audio_pad_s: float
    face: tuple[float, float, float, float] | None
    source_sha256: str
    donor_sha256: str
    file_bytes: tuple[int, int]


@dataclass(frozen=True)
class PreparedClip:
    """A clip that is ready to be dubbed."""

    video: Path
    audio: Path
    facts: PreparedFacts

    @property
    def id(self) -> str:
        """Its id in the split."""
        return self.facts.id

    @property
    def num_frames(self) -> int:
        """Frames of the picture, at 25 fps."""
        return self.facts.num_frames

    @property
    def voiced_samples(self) -> int:
        """Samples of the new sound before the silence that fills it up."""
        return self.num_frames * SAMPLES_PER_FRAME - round(self.facts.audio_pad_s * SPEECH_RATE_HZ)


def find_video(item: SplitItem, folder: Path) -> Path | None:
    """The item's file, by any of its spellings, or with another suffix of a video; None if it is missing."""
    for name in item.video:
        path = folder / name
        for candidate in (path, *(path.with_suffix(suffix) for suffix in (".mp4", ".mkv", ".mov", ".webm"))):
            if candidate.is_file():
                return candidate
    return None


def prepare_clip(item: SplitItem, split: Split, videos: Path, out: Path, memo_dir: Path | None = None) -> PreparedClip:
    """Prepare one clip below `out`, unless that is done already.

    Raises:
        InputError: its video or its donor's is missing, cannot be read or is not the one that the split means.
    """
    donor = split.item(item.audio_from)
    path, donor_path = _existing(item, videos), _existing(donor, videos)
    digest, donor_digest = (_checked(i, p, memo_dir) for i, p in ((item, path), (donor, donor_path)))
    key = fingerprint({
        "version": VERSION, "prepare": split.prepare.model_dump(mode="json"), "picture": digest, "sound": donor_digest,
        "span": [item.start, item.end], "donor": [donor.start, donor.end],
        "crop": item.crop and list(item.crop), "face": item.face and list(item.face),
    })  # fmt: skip
    done = _done(item.id, out, key)
    if done is not None:
        return done
    return _prepare(item, donor, path, donor_path, split.prepare, out, key, (digest, donor_digest))


def _existing(item: SplitItem, videos: Path) -> Path:
    path = find_video(item, videos)
    if path is None:
        raise InputError(f"{item.id}: no file {' or '.join(item.video)} in {videos}")
    return path


def _checked(item: SplitItem, path: Path, memo_dir: Path | None) -> str:
    digest = file_content_hash(path, memo_dir)
    if item.sha256 is not None and item.sha256 != digest:
        raise InputError(f"{path}: is not the file that the split means (sha256 {digest[:12]}, not {item.sha256[:12]})")
    return digest


def _paths(name: str, out: Path) -> tuple[Path, Path, Path]:
    return out / f"{name}.mkv", out / f"{name}.wav", out / f"{name}.json"


def _done(name: str, out: Path, key: str) -> PreparedClip | None:
    video, audio, about = _paths(name, out)
    try:
        facts = PreparedFacts.model_validate_json(about.read_bytes())
        whole = (video.stat().st_size, audio.stat().st_size) == facts.file_bytes
    except (OSError, ValidationError):
        return None
    return PreparedClip(video, audio, facts) if whole and facts.fingerprint == key else None


def _prepare(
    item: SplitItem, donor: SplitItem, path: Path, donor_path: Path, how: Prepare, out: Path, key: str,
    digests: tuple[str, str],
) -> PreparedClip:  # fmt: skip
    video, audio, about = _paths(item.id, out)
    info = probe(path)
    if info.is_image:
        raise InputError(f"{path}: is a still picture")
    timeline = scan_timeline(path, info)
    start_s, stop_s = _span(item, timeline, path, how)
    num_frames = frames_in(stop_s - start_s)
    area = _area(item, require_video(path, info).upright_size, path)
    indices = [timeline.frame_index_at(start_s + frame_time(number)) for number in range(num_frames)]
    with FrameReader(path, info, timeline) as reader:
        pictures = (_square(pixels, area, how.size) for pixels in reader.read(indices))
        with written_whole(video) as scratch:
            write_frames(scratch, pictures, MODEL_RATE)
    sound = read_speech(
        donor_path, _exact(donor.start), None if donor.end is None else _exact(donor.end)
    )[: num_frames * SAMPLES_PER_FRAME]  # fmt: skip
    pad_s = (num_frames * SAMPLES_PER_FRAME - len(sound)) / SPEECH_RATE_HZ
    with written_whole(audio) as scratch:
        write_wav16(scratch, np.pad(sound, (0, num_frames * SAMPLES_PER_FRAME - len(sound))))
    facts = PreparedFacts(
        fingerprint=key, id=item.id, donor=donor.id, num_frames=num_frames, audio_pad_s=pad_s,
        face=_scaled_face(item.face, area, how.size), source_sha256=digests[0], donor_sha256=digests[1],
        file_bytes=(video.stat().st_size, audio.stat().st_size),
    )  # fmt: skip
    write_text_atomic(about, facts.model_dump_json(indent=1))
    return PreparedClip(video, audio, facts)


def _exact(seconds: float) -> Fraction:
    return Fraction(str(seconds))


def _span(item: SplitItem, timeline: SourceTimeline, path: Path, how: Prepare) -> tuple[Fraction, Fraction]:
    start_s = _exact(item.start)
    stop_s = timeline.duration_s if item.end is None else min(_exact(item.end), timeline.duration_s)
    if how.max_seconds is not None:
        stop_s = min(stop_s, start_s + _exact(how.max_seconds))
    if stop_s <= start_s:
        raise InputError(f"{path}: lasts {float(timeline.duration_s):.2f} s, the clip begins at {item.start:g} s")
    return start_s, stop_s


def _area(item: SplitItem, size: tuple[int, int], path: Path) -> Box:
    """Left, top, right, bottom of the largest centred square of the item's crop, or of the picture."""
    x, y, width, height = item.crop or (0, 0, *size)
    if x + width > size[0] or y + height > size[1]:
        raise InputError(f"{path}: is {size[0]}x{size[1]}, the crop {x},{y},{width},{height} reaches out of it")
    side = min(width, height)
    left, top = x + (width - side) // 2, y + (height - side) // 2
    return left, top, left + side, top + side


def _square(pixels: np.ndarray, area: Box, size: int) -> np.ndarray:
    left, top, right, bottom = area
    return resize_frame(np.ascontiguousarray(pixels[top:bottom, left:right]), (size, size))


def _scaled_face(face: Box | None, area: Box, size: int) -> tuple[float, float, float, float] | None:
    """x, y, w, h of the source as left, top, right, bottom of the prepared picture."""
    if face is None:
        return None
    scale = size / (area[2] - area[0])
    left, top = (face[0] - area[0]) * scale, (face[1] - area[1]) * scale
    return left, top, left + face[2] * scale, top + face[3] * scale


def read_speech(path: Path, start_s: Fraction = Fraction(0), stop_s: Fraction | None = None) -> np.ndarray:
    """The sound of a file in that stretch, (n,) float32 mono at 16 kHz; `InputError` if there is none."""
    with TemporaryDirectory(prefix="infinitetalk-") as scratch:
        raw = Path(scratch) / "speech.f32"
        track = decode_mono(path, raw, start_s=start_s, stop_s=stop_s)
        return np.asarray(SampleFile(raw)[0 : track.num_samples], np.float32)


def as_int16(samples: np.ndarray) -> np.ndarray:
    """(n,) int16 of float samples in [-1, 1]."""
    return np.round(np.clip(samples, -1, 1) * 32767).astype("<i2")


def write_wav16(path: Path, samples: np.ndarray) -> None:
    """(n,) float32 samples at 16 kHz as 16-bit PCM."""
    with writing_to(path), wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SPEECH_RATE_HZ)
        file.writeframes(as_int16(samples).tobytes())


class Frames:
    """The frames of a prepared clip, or of what a method made of it: (h, w, 3) uint8 at 25 fps; a call is a new pass.

    A result of another rate or size is brought to the source's by time and by scaling. `starts_s`: how much later the
    picture begins than the file, because sound comes before it.
    """

    def __init__(self, path: Path, num_frames: int | None = None, size: int | None = None) -> None:
        self._path, self._size = path, size
        self._info = probe(path)
        self._timeline = scan_timeline(path, self._info)
        self.starts_s = self._timeline.time_of(0)
        self._have = frames_in(self._timeline.duration_s - self.starts_s)
        self.num_frames = self._have if num_frames is None else min(num_frames, self._have)

    def _index(self, number: int) -> int:
        """The frame shown at the time of frame `number`; that very one at 25 fps, however its time is rounded."""
        if self._have == self._timeline.num_frames:
            return number
        return self._timeline.frame_index_at(self.starts_s + frame_time(number))

    def __call__(self) -> Iterator[np.ndarray]:
        indices = [self._index(number) for number in range(self.num_frames)]
        with FrameReader(self._path, self._info, self._timeline) as reader:
            for pixels in reader.read(indices):
                yield pixels if self._size is None else resize_frame(pixels, (self._size, self._size))
