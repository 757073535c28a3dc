"""How the source's camera is followed: by which method, how strongly, and where."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

from infinitetalk_cli.config.base import Settings, Share

DEFAULT_LOCK_STRENGTH = 0.3
"""Of SDEdit, where the command line asks for a lock and names no strength."""
STRONGEST_SDEDIT, STRONGEST_UNI3C = 1.0, 10.0
"""The source itself; and many times what the branch was trained for."""


class Uni3CProfile(Settings):
    """How the camera branch steers: `strength` 1 is as it was trained, 0 not at all.

    `start` and `end` are shares of a chunk's own denoising steps: it steers from the one to the other.
    """

    strength: float = Field(default=1.0, ge=0.0, le=STRONGEST_UNI3C)
    start: Share = 0.0
    end: Share = 1.0

    @field_validator("end")
    @classmethod
    def _ends_after_start(cls, end: float, info: ValidationInfo) -> float:
        start = info.data.get("start")
        if start is not None and end < start:
            raise ValueError(f"{end:g} lies before start ({start:g}); exchange the two")
        return end


CurveValue = Annotated[float, Field(ge=0.0, le=STRONGEST_UNI3C)]
MotionCurve = tuple[tuple[CurveValue, CurveValue], ...]
"""Points (speed of the camera, strength of the lock), by rising speed; between them straight lines."""


class CameraProfile(Settings):
    """How scenes are locked to the source's camera, and which.

    `method`: "sdedit" starts denoising from the noisy source, where `sampling.sdedit_t0` is below 1; "uni3c" steers by
    the camera branch; "both" does both. `lock` "moving" measures the source's camera and locks the scenes in which it
    moves: those with a second in which the picture moves at `min_motion` or more, as a share of its size (the root of
    its area) per second. With it, a scene's strength follows from that speed where a curve for it is given
    (`sdedit_strength_by_motion`, 0 to 1, and `uni3c_strength_by_motion`); without one it is the same everywhere.
    `compare`: whose camera is compared with the source's for the report, that of locked jobs or of all.
    """

    lock: Literal["all", "moving"] = "all"
    method: Literal["sdedit", "uni3c", "both"] = "sdedit"
    min_motion: float = Field(default=0.0075, gt=0.0, le=10.0)
    uni3c: Uni3CProfile = Uni3CProfile()
    sdedit_strength_by_motion: MotionCurve = ()
    uni3c_strength_by_motion: MotionCurve = ()
    compare: Literal["locked", "always"] = "locked"

    @field_validator("sdedit_strength_by_motion", "uni3c_strength_by_motion")
    @classmethod
    def _is_a_curve(cls, curve: MotionCurve, info: ValidationInfo) -> MotionCurve:
        speeds = [speed for speed, _ in curve]
        if any(later <= earlier for earlier, later in pairwise(speeds)):
            raise ValueError("speeds must rise from point to point")
        if info.field_name == "sdedit_strength_by_motion" and any(strength > STRONGEST_SDEDIT for _, strength in curve):
            raise ValueError("a strength of SDEdit is at most 1, the source itself")
        return curve


def lock_as_profile(overrides: Mapping[str, object], camera: CameraProfile) -> dict[str, object]:
    """`overrides` (dotted key -> value) of a profile whose own section is `camera`, where they name no method.

    A lock that is asked for sets the noise level at which SDEdit starts; with "uni3c" as the method there is none.
    """
    settled = dict(overrides)
    if "camera.lock" in settled and settled.get("camera.method", camera.method) == "uni3c":
        settled["sampling.sdedit_t0"] = 1.0
    return settled
