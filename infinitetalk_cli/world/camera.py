"""How the camera moves: it pans, zooms and shakes, and every part of the picture moves with it.

There is no parallax: a point of the scene is seen at pan + zoom x its place, turned by roll, so that the truth is
four numbers per frame.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

import torch
from torch import Tensor

from infinitetalk_cli.world.curves import frame_times, shaking, steps

_PAN_X, _PAN_Y = 0.16, 0.10
_ZOOM = math.log(1.16)
_SHAKE, _SHAKE_ROLL = 0.045, 0.02
"""Largest travel at amplitude 1: scene units, logarithm of a factor, radians."""


@dataclass(frozen=True)
class CameraAmplitudes:
    """How much the camera does of each, 0 nothing, 1 as much as a restless reporter."""

    pan: float = 0.0
    zoom: float = 0.0
    shake: float = 0.0


STILL_CAMERA = CameraAmplitudes()


@dataclass(frozen=True)
class CameraMotion:
    """Camera by frame, each (t,) float32: pan in scene units, zoom as a factor, roll in radians, clockwise."""

    pan_x: Tensor
    pan_y: Tensor
    zoom: Tensor
    roll: Tensor

    def __getitem__(self, span: slice) -> CameraMotion:
        return CameraMotion(**{name: values[span] for name, values in vars(self).items()})

    @property
    def is_still(self) -> bool:
        """No frame differs from the scene as it is."""
        return not (self.pan_x.any() or self.pan_y.any() or (self.zoom != 1).any() or self.roll.any())

    def in_pixels(self, height: int, width: int) -> Tensor:
        """(t, 4) pan x and y in pixels, zoom, roll, of a picture of this size.

        What a still camera sees at p from the middle of the picture is seen at pan + zoom R(roll) p.
        """
        unit_px = min(height, width) / 2
        return torch.stack((self.pan_x * unit_px, self.pan_y * unit_px, self.zoom, self.roll), dim=1)


def _moves(rng: random.Random, num_frames: int) -> Tensor:
    """(t,) within -1..1: holds of up to two seconds, then a slow move somewhere else."""
    time_s = frame_times(num_frames)
    start, targets = rng.uniform(-1, 1), []
    at_s = rng.uniform(-0.5, 0.8)
    while at_s * 25 < num_frames:
        duration_s = rng.uniform(1.0, 3.0)
        targets.append((at_s, duration_s, rng.uniform(-1, 1)))
        at_s += duration_s + rng.uniform(0.1, 2.0)
    return steps(time_s, start, targets)


def draw_camera(seed: int, num_frames: int, amplitudes: CameraAmplitudes) -> CameraMotion:
    """The camera of clip `seed`; each of its movements is drawn by itself, so that one can be turned off."""
    rng = {name: random.Random(f"camera/{name}/{seed}") for name in ("pan", "zoom", "shake")}
    pan_x, pan_y = (_moves(rng["pan"], num_frames) * amplitudes.pan for _ in range(2))
    shake_x, shake_y, shake_roll = (shaking(rng["shake"], num_frames) * amplitudes.shake for _ in range(3))
    return CameraMotion(
        pan_x=_PAN_X * pan_x + _SHAKE * shake_x,
        pan_y=_PAN_Y * pan_y + _SHAKE * shake_y,
        zoom=torch.exp(_ZOOM * amplitudes.zoom * _moves(rng["zoom"], num_frames)),
        roll=_SHAKE_ROLL * shake_roll,
    )
