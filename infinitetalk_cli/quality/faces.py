"""Whether a mouth moves while nobody speaks, where a face is found (extra `faces`: scikit-image).

The detector is scikit-image's cascade for frontal faces; its trained file is part of that package, so nothing is
downloaded. Drawn faces and profiles are seldom found, and then nothing is measured.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from infinitetalk_cli.quality.pictures import lightness, shrink
from infinitetalk_cli.quality.voice import MIN_SILENCE_FRAMES

DETECTOR_PX = 192
"""Longest side of the picture in which faces are looked for."""

_MIN_FACE_SHARE = 1 / 6
_SAME_FACE = 0.4
_STILL_FACE = 1.0
"""Levels of change: a rest of the face that is calmer counts as this, so that noise alone makes no ratio."""


class Box(NamedTuple):
    """Part of a picture, in shares of its height and width."""

    top: float
    left: float
    bottom: float
    right: float

    def part(self, top: float, left: float, bottom: float, right: float) -> Box:
        """A part of this box, itself in shares of it."""
        height, width = self.bottom - self.top, self.right - self.left
        return Box(
            self.top + top * height, self.left + left * width, self.top + bottom * height, self.left + right * width
        )

    def cut(self, pictures: np.ndarray) -> np.ndarray:
        """What lies inside, of (..., h, w)."""
        height, width = pictures.shape[-2:]
        rows = slice(round(self.top * height), max(round(self.top * height) + 1, round(self.bottom * height)))
        columns = slice(round(self.left * width), max(round(self.left * width) + 1, round(self.right * width)))
        return pictures[..., rows, columns]

    def overlap(self, other: Box) -> float:
        """Intersection over union, 0-1."""
        height = min(self.bottom, other.bottom) - max(self.top, other.top)
        width = min(self.right, other.right) - max(self.left, other.left)
        inside = max(0.0, height) * max(0.0, width)
        both = sum((box.bottom - box.top) * (box.right - box.left) for box in (self, other))
        return inside / (both - inside)


FindFace = Callable[[np.ndarray], Box | None]
"""The largest face of a picture (h, w, 3) uint8."""


def is_installed() -> bool:
    """Whether faces can be looked for at all."""
    return importlib.util.find_spec("skimage") is not None


def find_face(picture_u8: np.ndarray) -> Box | None:
    """The largest frontal face of `picture_u8` (h, w, 3)."""
    small = shrink([picture_u8], DETECTOR_PX)[0]
    height, width = small.shape[:2]
    least, most = round(_MIN_FACE_SHARE * min(height, width)), min(height, width)
    if least < 16:
        return None
    found = _cascade().detect_multi_scale(small, 1.1, 1, (least, least), (most, most))
    if not found:
        return None
    face = max(found, key=lambda each: (each["width"], -each["r"], -each["c"]))
    top, left, side = face["r"], face["c"], face["width"]
    return Box(top / height, left / width, (top + side) / height, (left + side) / width)


def mouth_in_silence(frames_u8: np.ndarray, silent: np.ndarray, find: FindFace = find_face) -> float | None:
    """Motion of the mouth over that of the upper face in `frames_u8` (t, h, w, 3), where `silent` (t,) is True.

    None without half a second of silence, or without a face that stays where it is.
    """
    places = np.flatnonzero(silent)
    if len(places) < MIN_SILENCE_FRAMES:
        return None
    faces = []
    for place in (places[len(places) // 2], places[0], places[-1]):
        face = find(frames_u8[place])
        if face is None or (faces and face.overlap(faces[0]) < _SAME_FACE):
            return None
        faces.append(face)
    steps = [(before, after) for before, after in pairwise(places) if after == before + 1]
    pictures = lightness(shrink((frames_u8[place] for place in places), DETECTOR_PX))
    at = {place: number for number, place in enumerate(places)}
    changes = np.stack([np.abs(pictures[at[after]] - pictures[at[before]]) for before, after in steps])
    face = faces[0]
    mouth = face.part(0.65, 0.25, 0.98, 0.75).cut(changes).mean()
    rest = face.part(0.05, 0.1, 0.6, 0.9).cut(changes).mean()
    return round(float(mouth / max(rest, _STILL_FACE)), 3)


@cache
def _cascade() -> Any:
    """The detector; what it is of is an optional package."""
    import skimage
    from skimage.feature import Cascade

    return Cascade(str(Path(skimage.__file__).with_name("data") / "lbpcascade_frontalface_opencv.xml"))
