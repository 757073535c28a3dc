"""Where a face is, without any weight file: dlib's frontal detector, whose model is part of its wheel (extra `eval`).

It finds upright faces seen from the front. For metrics that need no more than a box; SyncNet and CSIM bring their own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

import numpy as np

from infinitetalk_cli.evaluate.metrics.common import Missing, missing_extra

NAME = "dlib HOG"

_LARGE_PICTURE_PX = 720
"""Faces of 80 px are looked for; in pictures with a shorter side below this, if there is none, those of 40 px, which is
four times the work."""


def available(what: str = "a face box") -> Missing | None:
    """`Missing` if dlib is not installed; `what` needs it."""
    missing = missing_extra("dlib", what)
    return Missing("unavailable", missing.remedy.replace("needs dlib", "needs dlib-bin")) if missing else None


class FaceBoxes:
    """The largest face of frames uint8 (h, w, 3), as (left, top, right, bottom) in pixels.

    Raises:
        DependencyError: dlib is not installed.
    """

    def __init__(self) -> None:
        missing = available()
        if missing is not None:
            raise missing.error()

    def box(self, frame: np.ndarray) -> np.ndarray | None:
        """(4,) float64, or None if no face is found."""
        picture = np.ascontiguousarray(frame)
        found = _detector()(picture, 0)
        if not found and min(picture.shape[:2]) < _LARGE_PICTURE_PX:
            found = _detector()(picture, 1)
        if not found:
            return None
        face = max(found, key=lambda each: each.area())
        return np.array([face.left(), face.top(), face.right() + 1, face.bottom() + 1], np.float64)

    def boxes(self, frames: Iterable[np.ndarray], every: int = 5) -> np.ndarray:
        """(t, 4) float64, see `boxes_over_time`."""
        return boxes_over_time(frames, self.box, every)


def boxes_over_time(
    frames: Iterable[np.ndarray], find: Callable[[np.ndarray], np.ndarray | None], every: int
) -> np.ndarray:
    """(t, 4) float64 of what `find` says of a frame; each n-th frame and the last are looked at, the rest interpolated.

    NaN before the first and after the last face found, and around a frame that was looked at and shows none.
    """
    looked: dict[int, np.ndarray | None] = {}
    index, last = -1, None
    for index, last in enumerate(frames):
        if index % every == 0:
            looked[index] = find(last)
    if last is not None and index not in looked:
        looked[index] = find(last)
    unknown = np.full(4, np.nan)
    return _between({place: unknown if box is None else box for place, box in looked.items()}, index + 1)


@cache
def _detector() -> Any:
    """dlib's detector; to load it takes longer than a look at twenty pictures."""
    import dlib

    return dlib.get_frontal_face_detector()


def _between(looked: dict[int, np.ndarray], num_frames: int) -> np.ndarray:
    if not num_frames:
        return np.zeros((0, 4))
    places, boxes = list(looked), np.stack(list(looked.values()))
    # NaN at either end of a stretch makes the whole stretch unknown.
    return np.stack([np.interp(np.arange(num_frames), places, column) for column in boxes.T], axis=1)
