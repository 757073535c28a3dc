"""A folder of talking videos as training clips: found, checked, cut at 25 fps, cropped, each with its sound.

A clip crosses no cut, has the exact frames on screen at its times, and speech for enough of its time. Files are known
by their content, so a file that moved is not encoded again and keeps its side of the split.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from infinitetalk_cli.arrays import SampleFile
from infinitetalk_cli.cache.fingerprint import file_content_hash
from infinitetalk_cli.errors import InfiniteTalkError, InputError
from infinitetalk_cli.media.audio import decode_mono
from infinitetalk_cli.media.probe import probe, require_audio, require_video
from infinitetalk_cli.media.reader import FrameReader
from infinitetalk_cli.media.scan import scan_timeline
from infinitetalk_cli.media.timeline import SourceTimeline
from infinitetalk_cli.models.geometry import Size, fit_size, resize_frame
from infinitetalk_cli.models.loudness import gain_to, integrated_loudness
from infinitetalk_cli.models.scene_cuts import THUMBNAIL_SIZE, find_cuts
from infinitetalk_cli.models.spans import Span
from infinitetalk_cli.models.voice_activity import VoiceActivity
from infinitetalk_cli.progress import Progress
from infinitetalk_cli.train.faces import Box, FaceFinder
from infinitetalk_cli.train.settings import VideoSettings
from infinitetalk_cli.units import MODEL_RATE, SPEECH_RATE_HZ, frame_time
from infinitetalk_cli.world.voices import TARGET_LUFS

SUFFIXES = (".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v", ".mpg", ".ts")
SIZE_MULTIPLE = 16
_SAMPLES_PER_FRAME = int(SPEECH_RATE_HZ / MODEL_RATE)
_EDGE_S = Fraction(1, 5)
"""Kept clear of a cut on both sides."""
_SURROUNDINGS_FRAMES = 250
_FADE_S = Fraction(1)
"""What may be a fade-out before a picture that fades in."""


@dataclass(frozen=True)
class SourceFile:
    """A video of the folder; `digest` is the hash of its content."""

    path: Path
    digest: str

    @property
    def position(self) -> float:
        """Where the file falls in [0, 1) when files are split; by content, so adding files moves none."""
        return int(self.digest[:13], 16) / 16**13


@dataclass(frozen=True, eq=False)
class VideoClip:
    """Frames (t, h, w, 3) uint8 at 25 fps, speech (t * 640,) float32 at -23 LUFS, and the face in the picture.

    `surroundings` is the same speech with up to ten seconds on both sides, `lead_frames` of them before the clip.
    """

    frames_u8: np.ndarray
    waveform: np.ndarray
    face: Box | None
    start_s: Fraction
    surroundings: np.ndarray
    lead_frames: int


def find_videos(folder: Path, memo_dir: Path | None = None) -> list[SourceFile]:
    """The videos below `folder` in the order of their names; a copy of another one counts once.

    Raises:
        InputError: no such folder, or no video in it.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; --data wants a folder of talking videos")
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    if not paths:
        raise InputError(f"{folder}: holds no videos ({', '.join(SUFFIXES)})")
    files: dict[str, SourceFile] = {}
    for path in paths:
        digest = file_content_hash(path, memo_dir)
        files.setdefault(digest, SourceFile(path, digest))
    return list(files.values())


def held_out_files(files: Sequence[SourceFile], share: float) -> set[str]:
    """Digests of the files that are never trained on: about `share` of them, at least one of two or more."""
    if share == 0 or len(files) < 2:
        return set()
    chosen = {file.digest for file in files if file.position < share}
    if not chosen or len(chosen) == len(files):
        chosen = {min(files, key=lambda file: file.position).digest}
    return chosen


def clips_of(
    file: SourceFile, settings: VideoSettings, faces: FaceFinder | None, progress: Progress
) -> Iterator[VideoClip]:
    """The clips of one file, in order.

    Raises:
        InputError: the file cannot be used; the sentence says why.
    """
    info = probe(file.path)
    require_video(file.path, info)
    if info.is_image:
        raise InputError(f"{file.path}: is a still picture")
    require_audio(file.path, info)
    timeline = scan_timeline(file.path, info)
    length_s = frame_time(settings.clip_frames)
    if timeline.duration_s < length_s:
        raise InputError(
            f"{file.path}: lasts {float(timeline.duration_s):.1f} s, less than a clip ({float(length_s):.1f} s)"
        )
    with TemporaryDirectory(prefix="infinitetalk-") as scratch:
        speech = _speech(file.path, Path(scratch))
        spoken = _listener().speech_spans(speech)
        if not spoken:
            raise InputError(f"{file.path}: nobody speaks in it")
        with FrameReader(file.path, info, timeline, THUMBNAIL_SIZE) as reader:
            scenes = _scenes(reader, timeline)
        spans = [s for s in _spans(scenes, settings) if _spoken_share(s, spoken) >= settings.min_speech_share]
        if not spans:
            raise InputError(
                f"{file.path}: no stretch of {float(length_s):.1f} s without a cut in which somebody speaks"
            )
        with FrameReader(file.path, info, timeline) as reader:
            for span in _spread(spans, settings.max_clips_per_file):
                yield _clip(reader, timeline, span, speech, settings, faces)
                progress.detail(f"{file.path.name}, {float(span.start_s):.0f} s")


@dataclass(frozen=True)
class _Stretch:
    """`num_frames` model frames from `start_s`."""

    start_s: Fraction
    num_frames: int

    @property
    def samples(self) -> slice:
        first = round(self.start_s * SPEECH_RATE_HZ)
        return slice(first, first + self.num_frames * _SAMPLES_PER_FRAME)


@cache
def _listener() -> VoiceActivity:
    """Loaded once for all files."""
    return VoiceActivity()


def _speech(path: Path, scratch: Path) -> np.ndarray:
    """The sound of `path` as float32 at 16 kHz, at the loudness of inference."""
    raw = scratch / "speech.f32"
    track = decode_mono(path, raw)
    if track.peak < 1e-4:
        raise InputError(f"{path}: its sound is silence")
    samples = np.asarray(SampleFile(raw)[0 : track.num_samples], np.float32)
    loudness = integrated_loudness(samples, SPEECH_RATE_HZ)
    return samples * np.float32(gain_to(TARGET_LUFS, loudness))


def _scenes(reader: FrameReader, timeline: SourceTimeline) -> list[tuple[Fraction, Fraction]]:
    """(start, stop) in seconds of every scene, without the frames of fades and dissolves."""
    indices = range(timeline.num_frames)
    pictures = (
        (i, float(timeline.time_of(i)), pixels) for i, pixels in zip(indices, reader.read(indices), strict=True)
    )
    starts, stops = [Fraction(0)], []
    for cut in find_cuts(pictures):
        starts.append(timeline.time_of(cut.reference_index))
        begins_s = timeline.time_of(cut.index)
        # What a dissolve or a fade does after its middle, it does before it too.
        margin_s = {"cut": 0, "dissolve": starts[-1] - begins_s, "fade": _FADE_S}[cut.kind]
        stops.append(begins_s - margin_s)
    return list(zip(starts, [*stops, timeline.duration_s], strict=True))


def _spans(scenes: Sequence[tuple[Fraction, Fraction]], settings: VideoSettings) -> Iterator[_Stretch]:
    """Clips one after the other in each scene, apart from its cuts."""
    length_s = frame_time(settings.clip_frames)
    for number, (start_s, stop_s) in enumerate(scenes):
        first_s = start_s if number == 0 else start_s + _EDGE_S
        last_s = stop_s if number == len(scenes) - 1 else stop_s - _EDGE_S
        while first_s + length_s <= last_s:
            yield _Stretch(first_s, settings.clip_frames)
            first_s += length_s


def _spoken_share(stretch: _Stretch, spoken: Sequence[Span]) -> float:
    wanted = stretch.samples
    heard = sum(max(0, min(span.stop, wanted.stop) - max(span.start, wanted.start)) for span in spoken)
    return heard / (wanted.stop - wanted.start)


def _spread(spans: list[_Stretch], count: int) -> list[_Stretch]:
    """At most `count` of them, evenly over the file."""
    if len(spans) <= count:
        return spans
    return [spans[i * len(spans) // count] for i in range(count)]


def _clip(
    reader: FrameReader,
    timeline: SourceTimeline,
    span: _Stretch,
    speech: np.ndarray,
    settings: VideoSettings,
    faces: FaceFinder | None,
) -> VideoClip:
    indices = [timeline.frame_index_at(span.start_s + frame_time(number)) for number in range(span.num_frames)]
    face = None
    if faces is not None:
        probes = [indices[i * (len(indices) - 1) // 4] for i in range(5)]
        face = faces.steady_face(list(reader.read(probes)))
    frames, shown, area, size = [], -1, None, None
    for index, pixels in zip(indices, reader.read(indices), strict=True):
        if area is None:
            area = faces.around(face, pixels.shape[:2]) if face is not None else whole(pixels.shape[:2])
            size = fit_size((area.bottom - area.top, area.right - area.left), settings.area_px, SIZE_MULTIPLE)
        if index != shown:
            cut = np.ascontiguousarray(pixels[area.top : area.bottom, area.left : area.right])
            frames.append(resize_frame(cut, size))
            shown = index
        else:
            frames.append(frames[-1])
    waveform = np.zeros(span.num_frames * _SAMPLES_PER_FRAME, np.float32)
    heard = speech[span.samples]
    waveform[: len(heard)] = heard
    lead_frames = min(_SURROUNDINGS_FRAMES, span.samples.start // _SAMPLES_PER_FRAME)
    first = span.samples.start - lead_frames * _SAMPLES_PER_FRAME
    return VideoClip(
        frames_u8=np.stack(frames),
        waveform=waveform,
        face=None if face is None else face.within(area, size),
        start_s=span.start_s,
        surroundings=speech[first : span.samples.stop + _SURROUNDINGS_FRAMES * _SAMPLES_PER_FRAME],
        lead_frames=lead_frames,
    )


def whole(size: Size) -> Box:
    """All of a picture of `size` (h, w)."""
    return Box(0, 0, size[0], size[1])


def clip_seed(file: SourceFile, number: int) -> int:
    """A number for what is random about clip `number` of `file`."""
    return int(hashlib.sha256(f"{file.digest}/{number}".encode()).hexdigest()[:12], 16)


def reason(exc: InfiniteTalkError, file: SourceFile) -> str:
    """Why a file is skipped, without its path."""
    return str(exc).removeprefix(f"{file.path}: ")
