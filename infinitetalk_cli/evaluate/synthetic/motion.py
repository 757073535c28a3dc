"""How far camera and head of a generated video are from the truth.

Legend: t frames, h rows, w columns; pixels (3, t, h, w) in [-1, 1]. Only movement since the first frame of the clip
is judged: the reference picture is that first frame, as it was given to the model. Every figure has a floor, what
the same measurement finds on the true frames: give it those.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from infinitetalk_cli.evaluate.synthetic.tracking import Track, centred_grid, track_region
from infinitetalk_cli.models.geometry import pixels_from_frames
from infinitetalk_cli.world.clip import Clip, matte

_MARGIN = 0.02
"""What stands before a region is taken this much larger, as a share of the shorter side."""
_HAND_REACH = 0.55
"""Half the size of a hand with its fingers, in scene units."""
_MOUTH_HALF, _EYES_HALF = (0.36, 0.20), (0.40, 0.24)
_FACE_HALF, _FACE_Y = (0.62, 0.66), 0.02
"""Parts of a head in head units: see `world/portrait.py`."""


@dataclass(frozen=True)
class MotionError:
    """Means over frames: place in pixels, zoom as a share, roll in degrees; and the worst place of any frame."""

    place_px: float
    zoom: float
    roll_deg: float
    worst_place_px: float


@dataclass(frozen=True)
class Regions:
    """What is where in a true clip, 0..1: in its first frame (h, w), and before that in every frame (t, h, w)."""

    background: Tensor
    before_background: Tensor
    head: Tensor
    before_head: Tensor


def regions_of(clip: Clip) -> Regions:
    """Background and head of a clip, from its exact truth. The head is without mouth and eyes, which move."""
    height, width = clip.frames_u8.shape[1:3]
    margin_px = max(1, round(_MARGIN * min(height, width)))
    solid = torch.from_numpy(matte(clip))
    before = F.max_pool2d((solid > 0.02).float()[:, None], 2 * margin_px + 1, 1, margin_px)[:, 0]
    hands = _hands_area(clip)
    head = _head_area(clip) * (solid[0] > 0.98) * (1 - hands[0])
    return Regions(1 - before[0], before, head, hands)


def _pixel_places(clip: Clip) -> tuple[Tensor, Tensor]:
    height, width = clip.frames_u8.shape[1:3]
    return torch.arange(width).expand(height, width), torch.arange(height)[:, None].expand(height, width)


def _hands_area(clip: Clip) -> Tensor:
    """(t, h, w) 1 near a raised hand."""
    column, row = _pixel_places(clip)
    reach_px = _HAND_REACH * min(column.shape) / 2 * torch.from_numpy(clip.camera[:, 2])
    area = torch.zeros(len(clip.camera), *column.shape)
    for x, y, presence in torch.from_numpy(clip.hands).permute(1, 2, 0):
        distance = torch.hypot(column - x[:, None, None], row - y[:, None, None])
        area[(distance < reach_px[:, None, None]) & (presence > 0)[:, None, None]] = 1
    return area


def _head_area(clip: Clip) -> Tensor:
    """(h, w) 1 on the head of the first frame, away from mouth and eyes."""
    column, row = _pixel_places(clip)
    x, y, turn, unit_px, _, _ = clip.head_pose[0].tolist()
    place = torch.complex(column - x, row - y) * complex(math.cos(-turn), math.sin(-turn)) / unit_px
    who = clip.character

    def ellipse(center_y: float, half: tuple[float, float]) -> Tensor:
        return (place.real / half[0]) ** 2 + ((place.imag - center_y) / half[1]) ** 2 < 1

    mouth, eyes = ellipse(who.mouth_y + 0.05, _MOUTH_HALF), ellipse(who.eye_y, _EYES_HALF)
    return (ellipse(_FACE_Y, _FACE_HALF) & ~mouth & ~eyes).float()


def track_camera(pixels: Tensor, clip: Clip, regions: Regions) -> Track:
    """Camera of a video made from `clip`, relative to the first true frame, seen on its background."""
    reference = pixels_from_frames(clip.frames_u8[:1])[0, :, 0]
    return track_region(pixels, reference, regions.background, regions.before_background[: pixels.shape[1]])


def track_head(pixels: Tensor, clip: Clip, regions: Regions) -> Track:
    """Head of a video made from `clip`, relative to the first true frame."""
    reference = pixels_from_frames(clip.frames_u8[:1])[0, :, 0]
    return track_region(pixels, reference, regions.head, regions.before_head[: pixels.shape[1]])


def true_camera(clip: Clip) -> Track:
    """The camera's true movement since the first frame."""
    pan_x, pan_y, zoom, roll = torch.from_numpy(clip.camera).double().unbind(1)
    return _since_first(torch.complex(pan_x, pan_y), torch.polar(zoom, roll))


def true_head(clip: Clip) -> Track:
    """The head's true movement since the first frame, camera included; what turns out of the picture is left out."""
    height, width = clip.frames_u8.shape[1:3]
    x, y, turn, unit_px = torch.from_numpy(clip.head_pose).double().unbind(1)[:4]
    middle = torch.complex(x - (width - 1) / 2, y - (height - 1) / 2)
    return _since_first(middle, torch.polar(unit_px, turn))


def _since_first(shift: Tensor, factor: Tensor) -> Track:
    relative = factor / factor[0]
    return Track(shift - relative * shift[0], relative, torch.zeros(len(shift), dtype=torch.float64))


def _error(found: Track, truth: Track, region: Tensor) -> MotionError:
    """Errors of a track; its place is judged in the middle of what was looked at."""
    grid = centred_grid(*region.shape)
    middle = (grid * region).sum() / region.sum()
    count = len(found.shift)
    place, true_place = (
        t.shift[:count] + t.factor[:count] * complex(float(middle.real), float(middle.imag)) for t in (found, truth)
    )
    off_px = (place - true_place).abs()
    ratio = found.factor / truth.factor[:count]
    return MotionError(
        place_px=float(off_px.mean()),
        zoom=float((ratio.abs() - 1).abs().mean()),
        roll_deg=math.degrees(float(ratio.angle().abs().mean())),
        worst_place_px=float(off_px.max()),
    )


def camera_error(found: Track, clip: Clip) -> MotionError:
    """Error of a camera: place is that of the middle of the picture, so it is the error of the pan."""
    height, width = clip.frames_u8.shape[1:3]
    return _error(found, true_camera(clip), torch.ones(height, width))


def head_error(found: Track, clip: Clip, regions: Regions) -> MotionError:
    """Error of a head's place, size and turn in the picture; place is that of the middle of the head."""
    return _error(found, true_head(clip), regions.head)
