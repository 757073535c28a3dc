"""How far the camera of a result is from the source's: from motions of the two, picture by picture."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

import numpy as np

_LEAST_SEEN = 0.5
"""Share of the steps in which both cameras can be judged, below which nothing is said."""


@dataclass(frozen=True)
class CameraError:
    """Where the result's camera shows the points of a scene, against where the source's shows them, in px.

    `error_px`: root mean square distance over points and time, both paths taken around their own mean. `source_px`: how
    far the source's camera moves, measured alike; so much a camera that stands still errs. Both None where less than
    half of the `num_steps` could be judged, for want of a background in either.
    """

    error_px: float | None
    source_px: float | None
    num_steps: int
    seen: float


def camera_error(made: np.ndarray, source: np.ndarray, seen: np.ndarray, size_px: float, radius: float) -> CameraError:
    """The error over a scene's steps from picture to picture.

    made, source: (n, 4) right, down, zoom, turn, the shifts as shares of the picture's size (`models.camera_motion`);
    seen: (n,) bool, whether both were judged. size_px: root of the picture's area. radius: root mean square distance of
    its points from the middle, as a share of the size: how far zoom and turn move them.
    """
    share = float(seen.mean()) if len(seen) else 0.0
    if share < _LEAST_SEEN:
        return CameraError(None, None, len(seen), round(share, 3))
    scale = size_px * np.array([1.0, 1.0, radius, radius])
    paths = [_around_mean(steps * scale * seen[:, None]) for steps in (made, source)]
    error, motion = (sqrt(np.square(path).sum(axis=1).mean()) for path in (paths[0] - paths[1], paths[1]))
    return CameraError(round(error, 3), round(motion, 3), len(seen), round(share, 3))


def _around_mean(steps: np.ndarray) -> np.ndarray:
    """Places (n + 1, 4) that steps (n, 4) lead to, around their mean."""
    places = np.concatenate((np.zeros((1, 4)), steps.cumsum(axis=0)))
    return places - places.mean(axis=0)
