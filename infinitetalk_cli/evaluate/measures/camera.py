"""Whether the camera moves as the source's does: its path in the picture's plane, accumulated step by step.

A point p of the first frame, from its middle, is seen at shift + factor p; path errors are those of its middle. The
steps are found by the search that `dub` looks for moving cameras with, and `error_px` is what its report says.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

import numpy as np

from infinitetalk_cli.evaluate.measures.series import RATE
from infinitetalk_cli.evaluate.measures.trace import Trace
from infinitetalk_cli.models.camera_motion import mean_radius
from infinitetalk_cli.quality.camera_error import camera_error

LEAST_SEEN = 0.5
"""If fewer of the steps can be judged, for want of a background, nothing is known of the camera."""
LEAST_ENERGY_PX = 0.05
"""A camera that moves less per frame stands still, and no ratio is taken to it."""


@dataclass(frozen=True, eq=False)
class CameraPath:
    """shift, factor (t,) complex: where the first frame's points are seen in every frame."""

    shift: np.ndarray
    factor: np.ndarray


def still_path(num_frames: int) -> CameraPath:
    """That of a camera that stands still."""
    return CameraPath(np.zeros(num_frames, complex), np.ones(num_frames, complex))


def paths(made: Trace, source: Trace) -> tuple[CameraPath, CameraPath] | None:
    """Both cameras' paths over the frames that both have; None if too few steps can be judged in both.

    A step that cannot be judged in one of them is made by neither.
    """
    seen = _seen(made, source)
    if not len(seen) or seen.mean() < LEAST_SEEN:
        return None
    return _path(made, seen), _path(source, seen)


def _seen(made: Trace, source: Trace) -> np.ndarray:
    """(t - 1,) bool."""
    count = min(made.num_frames, source.num_frames) - 1
    return (made.camera_agree[:count] > 0) & (source.camera_agree[:count] > 0)


def _path(trace: Trace, seen: np.ndarray) -> CameraPath:
    shift, factor = [0j], [1 + 0j]
    shifts = np.where(seen, trace.camera_shift[: len(seen)], 0)
    growths = np.where(seen, trace.camera_factor[: len(seen)], 1)
    for step, growth in zip(shifts.tolist(), growths.tolist(), strict=True):
        shift.append(step + growth * shift[-1])
        factor.append(growth * factor[-1])
    return CameraPath(np.array(shift), np.array(factor))


def camera_values(made: Trace, source: Trace, side_px: int) -> dict[str, float | None] | None:
    """Errors of the path: `ate_px` root mean square, `rpe_px` over a second, roll, zoom; and how much both move.

    `error_px` is the same as in the report of `dub`: over all points, both paths around their mean. None if the
    background could not be seen; `energy_ratio` None: the source's camera stands still.
    """
    both = paths(made, source)
    if both is None:
        return None
    one, other = both
    seen = _seen(made, source)
    turned = np.angle(one.factor) - np.angle(other.factor)  # exactly 0 for equal ones
    roll = (turned + np.pi) % (2 * np.pi) - np.pi
    zoom = np.log(np.abs(one.factor)) - np.log(np.abs(other.factor))
    energy, source_energy = (float(np.abs(trace.camera_shift[: len(seen)])[seen].mean()) for trace in (made, source))
    ate_px = sqrt((np.abs(one.shift - other.shift) ** 2).mean())
    steps = [_steps(trace, side_px)[: len(seen)] for trace in (made, source)]
    whole = camera_error(*steps, seen, side_px, mean_radius(1.0))
    return {
        "ate_px": ate_px,
        "ate_percent": 100 * ate_px / side_px,
        "error_px": whole.error_px,
        "rpe_px": _relative_error(one, other),
        "roll_deg": float(np.degrees(np.abs(roll)).mean()),
        "log_zoom": float(np.abs(zoom).mean()),
        "agree": float(made.camera_agree.mean()),
        "agree_source": float(source.camera_agree.mean()),
        "energy_px": energy,
        "energy_source_px": source_energy,
        "energy_ratio": energy / source_energy if source_energy >= LEAST_ENERGY_PX else None,
    }


def _steps(trace: Trace, side_px: int) -> np.ndarray:
    """(t - 1, 4) right, down, zoom, turn, the shifts as shares of the picture's size."""
    shift, factor = trace.camera_shift / side_px, trace.camera_factor
    return np.stack((shift.real, shift.imag, factor.real - 1, factor.imag), axis=1)


def _relative_error(one: CameraPath, other: CameraPath) -> float:
    """Mean distance, after each second, of where both paths carry the middle of the picture."""
    count = len(one.shift)
    second = min(int(RATE), count - 1)

    def moved(path: CameraPath) -> np.ndarray:
        first, last = slice(0, count - second), slice(second, count)
        return path.shift[last] - path.factor[last] / path.factor[first] * path.shift[first]

    return float(np.abs(moved(one) - moved(other)).mean())
