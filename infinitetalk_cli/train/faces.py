"""Where head and shoulders are in a film, by the detector of `quality.faces` (extra `faces`).

It finds upright faces that look at the camera, which is what such training wants; profiles are missed, and then the
whole picture is taken.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from infinitetalk_cli.errors import DependencyError
from infinitetalk_cli.quality.faces import find_face, is_installed

EXTRA = "pip install 'infinitetalk[faces]'"
_WIDER, _ABOVE, _BELOW = 0.85, 0.75, 1.35
"""How far head and shoulders reach beyond the face, in heights of the face."""


@dataclass(frozen=True)
class Box:
    """Rows `[top, bottom)` and columns `[left, right)` of a picture, in pixels."""

    top: int
    left: int
    bottom: int
    right: int

    def within(self, area: Box, size: tuple[int, int]) -> Box:
        """This box in a picture of `size` (h, w) that shows `area`."""
        down, across = size[0] / (area.bottom - area.top), size[1] / (area.right - area.left)
        return Box(
            round((self.top - area.top) * down),
            round((self.left - area.left) * across),
            round((self.bottom - area.top) * down),
            round((self.right - area.left) * across),
        )


class FaceFinder:
    """Finds the largest face; `DependencyError` if the detector is not installed."""

    def __init__(self) -> None:
        if not is_installed():
            raise DependencyError(f"finding faces needs scikit-image: {EXTRA}")

    def find(self, frame_u8: np.ndarray) -> Box | None:
        """The largest face in `frame_u8` (h, w, 3)."""
        found = find_face(frame_u8)
        if found is None:
            return None
        height, width = frame_u8.shape[:2]
        return Box(
            round(found.top * height),
            round(found.left * width),
            round(found.bottom * height),
            round(found.right * width),
        )

    def steady_face(self, frames_u8: Sequence[np.ndarray]) -> Box | None:
        """The face in most of `frames_u8`, at its middle place and size; None if it comes and goes, or wanders off."""
        found = [box for frame in frames_u8 if (box := self.find(frame)) is not None]
        if 2 * len(found) <= len(frames_u8):
            return None
        rows = np.array([[box.top, box.left, box.bottom, box.right] for box in found])
        middle = np.median(rows, axis=0)
        if np.abs(rows - middle).max() > 0.6 * (middle[2] - middle[0]):
            return None
        return Box(*(round(float(side)) for side in middle))

    @staticmethod
    def around(face: Box, size: tuple[int, int]) -> Box:
        """Head and shoulders of `face`, inside a picture of `size` (h, w)."""
        unit = face.bottom - face.top
        return Box(
            max(0, round(face.top - _ABOVE * unit)),
            max(0, round(face.left - _WIDER * unit)),
            min(size[0], round(face.bottom + _BELOW * unit)),
            min(size[1], round(face.right + _WIDER * unit)),
        )


def mouth_of(face: Box) -> tuple[tuple[float, float], tuple[float, float]]:
    """About where the mouth of `face` is: its middle (x, y), and half its width and height, in pixels."""
    width, height = face.right - face.left, face.bottom - face.top
    return (face.left + 0.5 * width, face.top + 0.79 * height), (0.2 * width, 0.12 * height)


def face_finder(crop: str) -> FaceFinder | None:
    """The detector as the setting `videos.crop` wants it; None: whole pictures."""
    if crop == "whole":
        return None
    try:
        return FaceFinder()
    except DependencyError:
        if crop == "face":
            raise
        return None
