"""Sync-C and Sync-D of a video: faces found, tracked and cropped, and compared with the sound by SyncNet.

Two passes over the frames: the first looks for faces and cuts, the second cuts the faces out. No frame is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from infinitetalk_cli.evaluate.metrics import s3fd
from infinitetalk_cli.evaluate.metrics.common import FrameSource, Missing, batches
from infinitetalk_cli.evaluate.metrics.face_tracks import Track, crops, find_tracks, sound_span
from infinitetalk_cli.evaluate.metrics.loading import identity_of, load_network
from infinitetalk_cli.evaluate.metrics.metric_weights import S3FD, SYNCNET, missing_weights
from infinitetalk_cli.evaluate.metrics.mfcc import mfcc
from infinitetalk_cli.evaluate.metrics.sync_score import Agreement, agreement
from infinitetalk_cli.evaluate.metrics.syncnet import (
    SIDE_PX,
    SyncNet,
    lip_embeddings,
    num_windows,
    speech_embeddings,
)
from infinitetalk_cli.models.scene_cuts import THUMBNAIL_SIZE, find_cuts
from infinitetalk_cli.units import MODEL_RATE, SPEECH_RATE_HZ

SyncPreset = Literal["talking-head", "joonson", "latentsync"]

FindFaces = Callable[[np.ndarray, float], list[tuple[np.ndarray, np.ndarray]]]
"""Faces of frames (n, h, w, 3) looked at at a scale: boxes (k, 4) in pixels and scores (k,) of each."""

_BATCH_FRAMES = 4


@dataclass(frozen=True)
class _Rules:
    """min_track: faces a track must exceed; min_face_px: mean side it must exceed; scale: of the picture in which faces
    are looked for, None: by its size; averages: whether all tracks count, or the longest."""

    min_track: int
    min_face_px: int
    scale: float | None
    averages: bool = False


_RULES: dict[str, _Rules] = {
    "talking-head": _Rules(min_track=50, min_face_px=64, scale=None),
    "joonson": _Rules(min_track=100, min_face_px=100, scale=0.25),
    "latentsync": _Rules(min_track=50, min_face_px=100, scale=0.25, averages=True),
}


@dataclass(frozen=True)
class SyncMetric:
    """`preset`: which tracks count.

    talking-head: small pictures are looked at larger, faces from 64 px and tracks from 51 frames count. joonson: the
    published scorer's limits (0.25, 100 px, 101 frames). latentsync: 51 frames, the mean over all tracks.
    """

    preset: SyncPreset = "talking-head"

    name: ClassVar[str] = "sync"
    presets: ClassVar[tuple[str, ...]] = get_args(SyncPreset)

    @property
    def needs(self) -> tuple[str, ...]:
        """See `Metric`."""
        return (SYNCNET, S3FD)

    def available(self, folders: Sequence[Path]) -> Missing | None:
        """See `Metric`."""
        return missing_weights("Sync-C and Sync-D", self.needs, folders)

    def load(self, folders: Sequence[Path], device: str = "cpu") -> SyncMeasure:
        """See `Metric`."""
        network = load_network(SyncNet(), SYNCNET, folders, device)
        detector = load_network(s3fd.S3fd(), S3FD, folders, device)
        rules = _RULES[self.preset]
        identity = identity_of(self.name, self.preset, self.needs, face_box="S3FD", **asdict(rules))
        return SyncMeasure(network, lambda frames, scale: s3fd.detect(detector, frames, scale), rules, identity)


@dataclass(frozen=True)
class SyncScore:
    """confidence: Sync-C; distance: Sync-D; offset_frames: positive where the sound is ahead; *_at_zero: at no shift.

    One track of `num_tracks` was scored, the frames [track_start, track_stop), unless the preset takes their mean: then
    these and `frame_confidence`, one number per window, are those of the longest.
    """

    confidence: float
    distance: float
    offset_frames: int
    confidence_at_zero: float
    distance_at_zero: float
    num_windows: int
    num_tracks: int
    track_start: int
    track_stop: int
    scale: float
    min_face_px: int
    frame_confidence: tuple[float, ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {**asdict(self), "frame_confidence": [round(value, 4) for value in self.frame_confidence]}


@dataclass(frozen=True, eq=False)
class SyncMeasure:
    """SyncNet with a face detector. `identity`: what decides the score, as plain data."""

    network: SyncNet
    find_faces: FindFaces
    rules: _Rules
    identity: dict[str, Any]

    def score(self, frames: FrameSource, sound: np.ndarray) -> SyncScore | Missing:
        """Of a video at 25 fps with its `sound` (n,) int16 at 16 kHz; only what has both is scored."""
        faces, cuts, scale = self._look(frames())
        if not faces:
            return Missing("too short", "the video has no frame")
        tracks = _tracks(faces, cuts, self.rules)
        if not tracks:
            limits = f"more than {self.rules.min_track} frames with a side above {self.rules.min_face_px} px"
            return Missing("no face", f"no face of {limits} in {len(faces)} frames")
        tracks.sort(key=lambda track: -len(track.boxes))  # stable: of equals the earlier one
        scored = [self._agreement(track, frames, sound) for track in (tracks if self.rules.averages else tracks[:1])]
        found = [one for one in scored if one is not None]
        if scored[0] is None:
            return Missing("too short", "the sound ends before the first window of the face's track")
        return self._score(found, tracks, scale)

    def _score(self, found: list[Agreement], tracks: list[Track], scale: float) -> SyncScore:
        first = found[0]
        mean = {
            name: float(np.mean([getattr(one, name) for one in found]))
            for name in ("confidence", "distance", "confidence_at_zero", "distance_at_zero")
        }
        return SyncScore(
            **mean,
            offset_frames=first.offset_frames,
            num_windows=len(first.frame_confidence),
            num_tracks=len(tracks),
            track_start=tracks[0].start,
            track_stop=tracks[0].stop,
            scale=scale,
            min_face_px=self.rules.min_face_px,
            frame_confidence=tuple(float(value) for value in first.frame_confidence),
        )

    def _look(self, frames: Iterator[np.ndarray]) -> tuple[list[np.ndarray], list[int], float]:
        """Boxes (k, 4) of every frame, the first frames of all shots, and the scale faces were looked for at."""
        faces: list[np.ndarray] = []
        thumbnails: list[np.ndarray] = []
        scale = 1.0
        for group in batches(frames, _BATCH_FRAMES):
            scale = self.rules.scale or usual_scale(min(group.shape[1:3]))
            faces += [boxes for boxes, _ in self.find_faces(group, scale)]
            thumbnails += [_thumbnail(frame) for frame in group]
        timed = ((index, index / float(MODEL_RATE), small) for index, small in enumerate(thumbnails))
        return faces, [0, *(cut.index for cut in find_cuts(timed))], scale

    def _agreement(self, track: Track, frames: FrameSource, sound: np.ndarray) -> Agreement | None:
        part = sound[sound_span(track, SPEECH_RATE_HZ)]
        count = num_windows(len(track.boxes), len(part))
        if not count:
            return None
        lips = lip_embeddings(self.network, face_crops(frames(), track), count)
        return agreement(lips, speech_embeddings(self.network, mfcc(part), count))


def usual_scale(shorter_side_px: int) -> float:
    """At which scale faces are looked for: a face of 64 px must not vanish."""
    return 0.25 if shorter_side_px >= 720 else 0.5 if shorter_side_px >= 360 else 1.0


def face_crops(frames: Iterator[np.ndarray], track: Track) -> Iterator[np.ndarray]:
    """(224, 224, 3) uint8 of each frame of `track`, in order; `frames` begin with the video."""
    for frame, crop in zip(islice(frames, track.start, track.stop), crops(track), strict=False):
        cut = torch.from_numpy(crop.of(frame)).movedim(-1, 0)[None].float()
        resized = F.interpolate(cut, (SIDE_PX, SIDE_PX), mode="bilinear", align_corners=False)
        yield resized[0].round().to(torch.uint8).movedim(0, -1).numpy()


def _tracks(faces: list[np.ndarray], shots: list[int], rules: _Rules) -> list[Track]:
    found = []
    for start, stop in zip(shots, [*shots[1:], len(faces)], strict=True):
        found += find_tracks(faces[start:stop], rules.min_track, rules.min_face_px, first=start)
    return found


def _thumbnail(frame: np.ndarray) -> np.ndarray:
    return np.asarray(Image.fromarray(frame).resize(THUMBNAIL_SIZE, Image.Resampling.BOX))
