"""Where the face of a video is: given by the split, or found by the first detector that is installed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from infinitetalk_cli.evaluate.measures.regions import steady
from infinitetalk_cli.evaluate.metrics import face_box
from infinitetalk_cli.quality import faces

LOOK_EVERY = 5
LEAST_SHARE = 0.5
"""A face that is found in fewer of the frames that are looked at is none."""

FrameSource = Callable[[], Iterator[np.ndarray]]


@dataclass(frozen=True, eq=False)
class FaceTrack:
    """boxes (t, 4) left, top, right, bottom in pixels, None without a face; `by` says who knows: "split", "dlib",
    "scikit-image" or "nobody"; coverage: share of the frames looked at in which it was found."""

    boxes: np.ndarray | None
    by: str
    coverage: float


def track_face(frames: FrameSource, num_frames: int, given: tuple[float, float, float, float] | None) -> FaceTrack:
    """The largest face of a video."""
    if given is not None:
        return FaceTrack(np.tile(np.array(given, float), (num_frames, 1)), "split", 1.0)
    found, by = _detected(frames)
    if found is None or not len(found):
        return FaceTrack(None, by, 0.0)
    coverage = float((~np.isnan(found[:, 0])).mean())
    if coverage < LEAST_SHARE:
        return FaceTrack(None, by, coverage)
    return FaceTrack(steady(found), by, coverage)


def detector() -> str:
    """Who looks for faces here: "dlib", "scikit-image" or "nobody"."""
    if face_box.available() is None:
        return "dlib"
    return "scikit-image" if faces.is_installed() else "nobody"


def _detected(frames: FrameSource) -> tuple[np.ndarray | None, str]:
    by = detector()
    if by == "dlib":
        return face_box.FaceBoxes().boxes(frames(), LOOK_EVERY), by
    return (None if by == "nobody" else face_box.boxes_over_time(frames(), _by_cascade, LOOK_EVERY)), by


def _by_cascade(frame: np.ndarray) -> np.ndarray | None:
    box, (height, width) = faces.find_face(frame), frame.shape[:2]
    if box is None:
        return None
    return np.array([box.left * width, box.top * height, box.right * width, box.bottom * height])
