"""Where a face is, without any weight file: dlib's frontal detector, whose model is part of its wheel (extra `eval`).

It finds upright faces seen from the front. For metrics that need no more than a box; SyncNet and CSIM bring their own.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from typing import Any

import numpy as np

from infinitetalk_cli.evaluate.metrics.common import Missing, missing_extra

NAME = "dlib HOG"

_LARGE_PICTURE_PX = 720
"""From this shorter side on faces of 80 px are looked for; in smaller pictures those of 40 px, four times the work."""


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

    @cached_property
    def _detector(self) -> Any:
        import dlib

        return dlib.get_frontal_face_detector()

    def box(self, frame: np.ndarray) -> np.ndarray | None:
        """(4,) float64, or None if no face is found."""
        times_doubled = 0 if min(frame.shape[:2]) >= _LARGE_PICTURE_PX else 1
        found = self._detector(np.ascontiguousarray(frame), times_doubled)
        if not found:
            return None
        face = max(found, key=lambda each: each.area())
        return np.array([face.left(), face.top(), face.right() + 1, face.bottom() + 1], np.float64)

    def boxes(self, frames: Iterable[np.ndarray], every: int = 5) -> np.ndarray:
        """(t, 4) float64: every n-th frame and the last are looked at, the boxes between them interpolated.

        NaN before the first and after the last face found, and where a frame that was looked at shows none.
        """
        looked: dict[int, np.ndarray] = {}
        index, last = -1, None
        for index, last in enumerate(frames):
            if index % every == 0:
                looked[index] = self._box_or_nan(last)
        if last is not None and index not in looked:
            looked[index] = self._box_or_nan(last)
        return _between(looked, index + 1)

    def _box_or_nan(self, frame: np.ndarray) -> np.ndarray:
        box = self.box(frame)
        return np.full(4, np.nan) if box is None else box


def _between(looked: dict[int, np.ndarray], num_frames: int) -> np.ndarray:
    if not num_frames:
        return np.zeros((0, 4))
    places, boxes = list(looked), np.stack(list(looked.values()))
    # NaN at either end of a stretch makes the whole stretch unknown.
    return np.stack([np.interp(np.arange(num_frames), places, column) for column in boxes.T], axis=1)
