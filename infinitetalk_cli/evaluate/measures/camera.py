"""Whether the camera moves as the source's does: its path in the picture's plane, accumulated step by step.

A point p of the first frame, from its middle, is seen at shift + factor p; path errors are those of its middle.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from infinitetalk_cli.evaluate.measures.series import RATE
from infinitetalk_cli.evaluate.measures.trace import Trace

LEAST_AGREE = 0.3
"""If fewer of the background's points agree on a motion, on average, nothing is known of the camera."""
LEAST_ENERGY_PX = 0.05
"""A camera that moves less per frame stands still, and no ratio is taken to it."""


@dataclass(frozen=True, eq=False)
class CameraPath:
    """shift, factor (t,) complex: where the first frame's points are seen in every frame."""

    shift: np.ndarray
    factor: np.ndarray


def path_of(trace: Trace) -> CameraPath:
    """The steps of a trace, one after the other."""
    shift, factor = [0j], [1 + 0j]
    for step, growth in zip(trace.camera_shift.tolist(), trace.camera_factor.tolist(), strict=True):
        shift.append(step + growth * shift[-1])
        factor.append(growth * factor[-1])
    return CameraPath(np.array(shift), np.array(factor))


def is_known(trace: Trace) -> bool:
    """Whether enough of the background was seen to tell how the camera moves."""
    return len(trace.camera_agree) > 0 and float(trace.camera_agree.mean()) >= LEAST_AGREE


def camera_values(made: Trace, source: Trace, width_px: int) -> dict[str, float | None]:
    """Errors of the path: `ate_px` root mean square, `rpe_px` over a second, roll, zoom; and how much both move.

    `energy_ratio` None: the source's camera stands still.
    """
    count = min(made.num_frames, source.num_frames)
    one, other = path_of(made), path_of(source)
    off = np.abs(one.shift[:count] - other.shift[:count])
    turned = np.angle(one.factor[:count]) - np.angle(other.factor[:count])  # exactly 0 for equal ones
    roll = (turned + np.pi) % (2 * np.pi) - np.pi
    zoom = np.log(np.abs(one.factor[:count])) - np.log(np.abs(other.factor[:count]))
    energy, source_energy = (float(np.abs(trace.camera_shift[: count - 1]).mean()) for trace in (made, source))
    ate_px = float(np.sqrt((off**2).mean()))
    return {
        "ate_px": ate_px,
        "ate_percent": 100 * ate_px / width_px,
        "rpe_px": _relative_error(one, other, count),
        "roll_deg": float(np.degrees(np.abs(roll)).mean()),
        "log_zoom": float(np.abs(zoom).mean()),
        "agree": float(made.camera_agree.mean()),
        "agree_source": float(source.camera_agree.mean()),
        "energy_px": energy,
        "energy_source_px": source_energy,
        "energy_ratio": energy / source_energy if source_energy >= LEAST_ENERGY_PX else None,
    }


def _relative_error(one: CameraPath, other: CameraPath, count: int) -> float:
    """Mean distance, after each second, of where both paths carry the middle of the picture."""
    second = min(int(RATE), count - 1)

    def moved(path: CameraPath) -> np.ndarray:
        first, last = slice(0, count - second), slice(second, count)
        return path.shift[last] - path.factor[last] / path.factor[first] * path.shift[first]

    return float(np.abs(moved(one) - moved(other)).mean())
