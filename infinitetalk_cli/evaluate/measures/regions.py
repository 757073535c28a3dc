"""Which part of a picture is person, face and mouth; boxes (t, 4) of faces are left, top, right, bottom in pixels."""

from __future__ import annotations

import numpy as np

_GROWN = (1.5, 1.3, 1.15, 1.0)
"""The head is the ellipse in the face box made so much larger; less where hardly any background would be left."""
_LEAST_BACKGROUND = 0.15
_SHOULDERS = 1.5
"""Half the width of the shoulders below the face, in widths of the face."""
_ASSUMED = (0.22, 0.15, 0.78, 1.0)
"""Where people usually are, in shares of the picture, when no face is known."""

MOUTH = (0.25, 0.65, 0.75, 0.98)
UPPER_FACE = (0.1, 0.08, 0.9, 0.58)
"""Parts of a face box: left, top, right, bottom in shares of it."""


def person_masks(faces: np.ndarray | None, num_frames: int, size: tuple[int, int]) -> np.ndarray:
    """(t, h, w) bool, True on the person of each frame: head and shoulders of the face box, else the usual place."""
    height, width = size
    if faces is None:
        left, top, right, bottom = _ASSUMED
        boxes = np.tile([left * width, top * height, right * width, bottom * height], (num_frames, 1))
        return _box(boxes, size)
    masks = np.zeros((num_frames, height, width), bool)
    for grown in _GROWN:
        masks = _ellipse(faces, grown, size) | _box(_shoulders(faces, grown, height), size)
        if 1 - masks.mean() >= _LEAST_BACKGROUND:
            break
    return masks


def _shoulders(faces: np.ndarray, grown: float, height: int) -> np.ndarray:
    middle, reach = (faces[:, 0] + faces[:, 2]) / 2, _SHOULDERS * grown / _GROWN[0] * (faces[:, 2] - faces[:, 0])
    return np.stack((middle - reach, faces[:, 3], middle + reach, np.full(len(faces), height)), axis=1)


def _box(boxes: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    rows, columns = np.arange(size[0])[None, :, None] + 0.5, np.arange(size[1])[None, None] + 0.5
    left, top, right, bottom = (side[:, None, None] for side in boxes.T)
    return (columns > left) & (columns < right) & (rows > top) & (rows < bottom)


def _ellipse(boxes: np.ndarray, grown: float, size: tuple[int, int]) -> np.ndarray:
    rows, columns = np.arange(size[0])[None, :, None] + 0.5, np.arange(size[1])[None, None] + 0.5
    left, top, right, bottom = (side[:, None, None] for side in boxes.T)
    across = (2 * columns - left - right) / (grown * (right - left))
    return across**2 + ((2 * rows - top - bottom) / (grown * (bottom - top))) ** 2 < 1


def part_of(box_shares: tuple[float, float, float, float], side: int) -> tuple[slice, slice]:
    """Rows and columns of a part of a square picture of a face."""
    left, top, right, bottom = (round(share * side) for share in box_shares)
    return slice(top, bottom), slice(left, right)


def steady(faces: np.ndarray, window: int = 25) -> np.ndarray:
    """Boxes without jitter: the running median of each side; what was not found is filled from its neighbours."""
    from scipy.ndimage import median_filter

    known = np.flatnonzero(~np.isnan(faces[:, 0]))
    filled = np.stack([np.interp(np.arange(len(faces)), known, faces[known, side]) for side in range(4)], axis=1)
    return median_filter(filled, size=(min(window, len(faces) | 1), 1), mode="nearest")
