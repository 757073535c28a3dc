"""Where the face of a video is: given by the split, or found by the first detector that is installed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from infinitetalk_cli.evaluate.measures.regions import steady
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
    if found is None:
        return FaceTrack(None, by, 0.0)
    coverage = float((~np.isnan(found[:, 0])).mean())
    if coverage < LEAST_SHARE:
        return FaceTrack(None, by, coverage)
    return FaceTrack(steady(found), by, coverage)


def detector() -> str:
    """Who looks for faces here: "dlib", "scikit-image" or "nobody"."""
    from infinitetalk_cli.evaluate.metrics import face_box

    if face_box.available() is None:
        return "dlib"
    return "scikit-image" if faces.is_installed() else "nobody"


def _detected(frames: FrameSource) -> tuple[np.ndarray | None, str]:
    by = detector()
    if by == "dlib":
        from infinitetalk_cli.evaluate.metrics.face_box import FaceBoxes

        return FaceBoxes().boxes(frames(), every=LOOK_EVERY), by
    return (None if by == "nobody" else _by_cascade(frames())), by


def _by_cascade(frames: Iterable[np.ndarray]) -> np.ndarray:
    """(t, 4), NaN where there is no face near; between the frames looked at it is interpolated."""
    places, boxes, count = [], [], 0
    for count, frame in enumerate(frames, start=1):
        if (count - 1) % LOOK_EVERY == 0:
            box = faces.find_face(frame)
            height, width = frame.shape[:2]
            sides = [np.nan] * 4 if box is None else [
                box.left * width, box.top * height, box.right * width, box.bottom * height
            ]  # fmt: skip
            places.append(count - 1)
            boxes.append(sides)
    rows = np.array(boxes)
    known = ~np.isnan(rows[:, 0])
    if not known.any():
        return np.full((count, 4), np.nan)
    at = np.array(places)
    every = np.arange(count)
    filled = np.stack([np.interp(every, at[known], rows[known, side]) for side in range(4)], axis=1)
    lost = np.interp(every, at, (~known).astype(float)) > 0.5
    filled[lost] = np.nan
    return filled
