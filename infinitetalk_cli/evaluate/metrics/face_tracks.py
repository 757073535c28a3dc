"""Faces of single frames as tracks, and the crops that SyncNet sees: the published scorer's rules, in plain arrays.

Boxes are (left, top, right, bottom) in pixels. Frames lie at 25 fps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from infinitetalk_cli.evaluate.metrics.common import running_median
from infinitetalk_cli.evaluate.metrics.s3fd import overlaps
from infinitetalk_cli.units import MODEL_RATE, frame_time

_SAME_FACE_OVERLAP = 0.5
_MAX_GAP_FRAMES = 25
_MEDIAN_TAPS = 13
_CROP_SCALE = 0.4
"""The crop reaches by this share of the face's half size further to the sides, and twice as far down."""

_GREY = 110


@dataclass(frozen=True, eq=False)
class Track:
    """One face from frame `start` on; `boxes` (t, 4), one per frame, gaps filled in between."""

    start: int
    boxes: np.ndarray

    @property
    def stop(self) -> int:
        """The frame after its last one."""
        return self.start + len(self.boxes)

    @property
    def side_px(self) -> float:
        """The mean width or the mean height of its boxes, whichever is larger."""
        return float((self.boxes[:, 2:] - self.boxes[:, :2]).mean(axis=0).max())


@dataclass(frozen=True)
class Crop:
    """Rows and columns `[top, bottom)`, `[left, right)` of a frame with a border of `padding` pixels all around."""

    padding: int
    top: int
    bottom: int
    left: int
    right: int

    def of(self, frame_u8: np.ndarray) -> np.ndarray:
        """That part of `frame_u8` (h, w, 3); what lies outside the frame is grey, outside its border left out."""
        height, width = frame_u8.shape[:2]
        bottom, right = (
            min(stop, size + 2 * self.padding) for stop, size in ((self.bottom, height), (self.right, width))
        )
        cut = np.full((bottom - self.top, right - self.left, 3), _GREY, np.uint8)
        top, left = self.top - self.padding, self.left - self.padding
        rows = slice(max(0, top), min(height, bottom - self.padding))
        columns = slice(max(0, left), min(width, right - self.padding))
        if rows.start < rows.stop and columns.start < columns.stop:
            inside = (slice(rows.start - top, rows.stop - top), slice(columns.start - left, columns.stop - left))
            cut[inside] = frame_u8[rows, columns]
        return cut


def find_tracks(faces: Sequence[np.ndarray], min_track: int, min_face_px: float, first: int = 0) -> list[Track]:
    """Tracks of one shot, whose frames have the boxes `faces` ((k, 4) each, best first) and begin at frame `first`.

    A track takes in each frame the first face that overlaps its last one, and bears gaps of 25 frames. Kept are those
    with more than `min_track` faces found and a mean side above `min_face_px`.
    """
    left = [list(boxes) for boxes in faces]
    tracks = []
    while True:
        places, boxes = _next_track(left)
        if not places:
            return tracks
        if len(places) > min_track:
            track = Track(first + places[0], _filled(places, np.stack(boxes)))
            if track.side_px > min_face_px:
                tracks.append(track)


def crops(track: Track) -> list[Crop]:
    """The part of each frame that SyncNet sees: the face with its surroundings, more below than above."""
    found = []
    for half, x, y in smoothed(track):
        padding = int(half * (1 + 2 * _CROP_SCALE))
        x, y = x + padding, y + padding
        across, down = half * (1 + _CROP_SCALE), half * (1 + 2 * _CROP_SCALE)
        found.append(Crop(padding, int(y - half), int(y + down), int(x - across), int(x + across)))
    return found


def smoothed(track: Track) -> np.ndarray:
    """(t, 3) half size, centre x and centre y, each a running median; its ends lean low, as published."""
    sizes = track.boxes[:, 2:] - track.boxes[:, :2]
    centres = (track.boxes[:, 2:] + track.boxes[:, :2]) / 2
    columns = (sizes.max(axis=1) / 2, centres[:, 0], centres[:, 1])
    return np.stack([running_median(column, _MEDIAN_TAPS) for column in columns], axis=1)


def sound_span(track: Track, rate_hz: int) -> slice:
    """The samples that belong to a track."""
    start, stop = (int(frame_time(frame, MODEL_RATE) * rate_hz) for frame in (track.start, track.stop))
    return slice(start, stop)


def _next_track(left: list[list[np.ndarray]]) -> tuple[list[int], list[np.ndarray]]:
    """The track of the first face in `left`, by frame; its faces are taken out."""
    places: list[int] = []
    boxes: list[np.ndarray] = []
    for place, faces in enumerate(left):
        if places and place - places[-1] > _MAX_GAP_FRAMES:
            break
        if not faces:
            continue
        fitting = overlaps(boxes[-1], np.stack(faces)) > _SAME_FACE_OVERLAP if boxes else np.ones(1, bool)
        if fitting.any():
            places.append(place)
            boxes.append(faces.pop(int(fitting.argmax())))
    return places, boxes


def _filled(places: list[int], boxes: np.ndarray) -> np.ndarray:
    """(t, 4) one box per frame from the first place to the last."""
    every = np.arange(places[0], places[-1] + 1)
    return np.stack([np.interp(every, places, column) for column in boxes.T], axis=1)
