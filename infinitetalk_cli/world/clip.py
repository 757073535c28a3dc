"""A world of talking characters of which everything is known: deterministic by seed, exact truth.

A clip is one character saying one piece of speech. Legend: t frames, h rows, w columns.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from infinitetalk_cli.world.camera import STILL_CAMERA, CameraAmplitudes, CameraMotion, draw_camera
from infinitetalk_cli.world.characters import Character, draw_character
from infinitetalk_cli.world.drawing import Canvas
from infinitetalk_cli.world.gestures import HandMotion, draw_hands, no_hands
from infinitetalk_cli.world.hands import hand_places, paint_hands
from infinitetalk_cli.world.motion import HeadMotion, draw_head
from infinitetalk_cli.world.phonemes import MouthTrack
from infinitetalk_cli.world.portrait import (
    Face,
    mouth_center_y,
    paint_eyes,
    paint_face,
    paint_hair_behind,
    paint_hair_front,
    paint_mouth,
    paint_neck,
)
from infinitetalk_cli.world.prosody import Prosody, prosody_of_mouth
from infinitetalk_cli.world.scenery import paint_background, paint_clothes

_BLOCK_PIXELS = {"cpu": 12 * 96 * 96, "cuda": 2000 * 96 * 96}
"""Pixels drawn at once: on a CPU so few that they stay in its cache, on a GPU enough to keep it busy."""


@dataclass(frozen=True)
class Motion:
    """Everything that moves but the mouth, by frame; hands: at the left of the picture, and at the right."""

    head: HeadMotion
    camera: CameraMotion
    hands: tuple[HandMotion, HandMotion]

    def __getitem__(self, span: slice) -> Motion:
        return Motion(self.head[span], self.camera[span], tuple(hand[span] for hand in self.hands))


@dataclass(frozen=True)
class Clip:
    """Rendered frames and the truth about them; all truth is exact, and what is in pixels is so at this size.

    frames_u8: (t, h, w, 3). mouth: by frame, 0..1. mouth_px: (t, 2) x and y of the mouth's middle.
    mouth_half_px: half width and half height of the largest mouth, in pixels.
    head_pose: (t, 6) float32, as the camera sees it: x and y in pixels of the point between eyes and nose, turn in
    radians clockwise, pixels per head unit (a face is about 1.2 high), yaw and nod in -1..1.
    camera: (t, 4) float32, see `CameraMotion.in_pixels`.
    hands: (t, 2, 3) float32: x and y in pixels of both palms, and presence 0..1 (0: below the picture).
    """

    character: Character
    frames_u8: np.ndarray
    mouth: MouthTrack
    motion: Motion
    mouth_px: np.ndarray
    mouth_half_px: tuple[float, float]
    head_pose: np.ndarray
    camera: np.ndarray
    hands: np.ndarray


def draw_motion(
    seed: int,
    mouth: MouthTrack,
    head_motion: float,
    camera: CameraAmplitudes = STILL_CAMERA,
    hands: bool = False,
    prosody: Prosody | None = None,
) -> Motion:
    """How head, camera and hands of clip `seed` move, amplitudes 0 still .. 1 free.

    `prosody`: of the speech; without it, what the mouth alone tells.
    """
    prosody = prosody_of_mouth(mouth) if prosody is None else prosody
    num_frames = len(mouth)
    return Motion(
        head=draw_head(seed, mouth, prosody, head_motion),
        camera=draw_camera(seed, num_frames, camera),
        hands=draw_hands(seed, num_frames, prosody) if hands else no_hands(num_frames),
    )


def render(
    who: Character, mouth: MouthTrack, motion: Motion, height: int, width: int, device: torch.device | str = "cpu"
) -> Clip:
    """Draw every frame of one clip at any size.

    The same bytes on every run, however many frames are drawn at once. Another device rounds differently: levels
    may differ by one.
    """
    device = torch.device(device)
    block = max(1, _BLOCK_PIXELS[device.type] // (height * width))
    frames = []
    for start in range(0, len(mouth), block):
        span = slice(start, min(start + block, len(mouth)))
        frames.append(_render_block(who, mouth[span], motion[span], height, width, device))
    unit_px = min(height, width) / 2 * who.head_scale
    half_px = ((who.mouth_half_width + 0.06) * unit_px, (who.mouth_half_height + 0.06) * unit_px)
    return Clip(
        character=who,
        frames_u8=torch.cat(frames).numpy(),
        mouth=mouth,
        motion=motion,
        mouth_px=_mouth_px(who, mouth, motion, height, width).numpy(),
        mouth_half_px=half_px,
        head_pose=_head_pose(who, motion, height, width).numpy(),
        camera=motion.camera.in_pixels(height, width).numpy(),
        hands=_hands_px(motion, height, width).numpy(),
    )


def matte(clip: Clip) -> np.ndarray:
    """(t, h, w) float32, the exact share of the character in each pixel: 0 is background.

    The clip is drawn twice more, before black and before white; where both are alike nothing shines through.
    """
    size = clip.frames_u8.shape[1:3]
    dark, light = (
        render(replace(clip.character, background=name), clip.mouth, clip.motion, *size).frames_u8
        for name in ("black", "white")
    )
    return 1 - (light[..., 1].astype(np.float32) - dark[..., 1]) / 255


def _render_block(
    who: Character, mouth: MouthTrack, motion: Motion, height: int, width: int, device: torch.device
) -> Tensor:
    """(t, h, w, 3) uint8 on the CPU."""

    def by_frame(values) -> Tensor:
        return torch.as_tensor(values, dtype=torch.float32)[:, None, None].to(device)

    num_frames, move, camera = len(mouth), motion.head, motion.camera
    face = Face(
        *(by_frame(values) for values in (mouth.openness, mouth.width, mouth.teeth, mouth.tongue)),
        by_frame(move.blink), by_frame(move.brow), by_frame(move.yaw), by_frame(move.nod),
    )  # fmt: skip
    canvas = Canvas.blank(num_frames, height, width, device)
    scene = canvas
    if not camera.is_still:
        scene = canvas.moved(camera.pan_x, camera.pan_y, camera.roll, camera.zoom)
    _paint_static(scene, who, camera.is_still)
    one = torch.ones(num_frames)
    shoulders = scene.moved(who.head_x + move.body_x, move.body_y, move.body_turn, one)
    head = scene.moved(who.head_x + move.x, who.head_y + move.y, move.turn, who.head_scale * move.scale)
    paint_hair_behind(head, who)
    paint_neck(head, who)
    paint_clothes(shoulders, who)
    paint_face(head, who, face)
    paint_mouth(head, who, face)
    paint_eyes(head, who, face)
    paint_hair_front(head, who, face)
    paint_hands(scene, who, motion.hands, height, width)
    levels = canvas.image.clamp_(0, 1).mul_(255).add_(0.5).to(torch.uint8)
    return levels.permute(0, 2, 3, 1).contiguous().cpu()


def _paint_static(scene: Canvas, who: Character, still: bool) -> None:
    """Paint the background; once, if the camera stands still."""
    if not still:
        paint_background(scene, who)
        return
    first = scene.first()
    paint_background(first, who)
    scene.image.copy_(first.image.expand_as(scene.image))


def _seen_px(x: Tensor, y: Tensor, camera: CameraMotion, height: int, width: int) -> Tensor:
    """(t, 2) x and y in pixels at which the camera sees a point of the scene."""
    cos, sin = camera.zoom * torch.cos(camera.roll), camera.zoom * torch.sin(camera.roll)
    unit_px = min(height, width) / 2
    column = (camera.pan_x + cos * x - sin * y) * unit_px + (width - 1) / 2
    row = (camera.pan_y + sin * x + cos * y) * unit_px + (height - 1) / 2
    return torch.stack([column, row], dim=1)


def _mouth_px(who: Character, mouth: MouthTrack, motion: Motion, height: int, width: int) -> Tensor:
    move = motion.head
    x, y = 0.05 * move.yaw, mouth_center_y(who, torch.from_numpy(mouth.openness)) + 0.04 * move.nod
    scale = who.head_scale * move.scale
    cos, sin = torch.cos(move.turn), torch.sin(move.turn)
    scene_x = who.head_x + move.x + scale * (cos * x - sin * y)
    scene_y = who.head_y + move.y + scale * (sin * x + cos * y)
    return _seen_px(scene_x, scene_y, motion.camera, height, width)


def _head_pose(who: Character, motion: Motion, height: int, width: int) -> Tensor:
    move, camera = motion.head, motion.camera
    place = _seen_px(who.head_x + move.x, who.head_y + move.y, camera, height, width)
    unit_px = min(height, width) / 2 * camera.zoom * who.head_scale * move.scale
    return torch.cat((place, torch.stack((move.turn + camera.roll, unit_px, move.yaw, move.nod), dim=1)), dim=1)


def _hands_px(motion: Motion, height: int, width: int) -> Tensor:
    places = hand_places(motion.hands, height, width)
    seen = [_seen_px(*places[:, i, :2].unbind(1), motion.camera, height, width) for i in range(2)]
    return torch.cat((torch.stack(seen, dim=1), places[..., 2:]), dim=2)


def make_clip(
    seed: int,
    mouth: MouthTrack,
    height: int,
    width: int,
    head_motion: float = 0.12,
    camera: CameraAmplitudes = STILL_CAMERA,
    hands: bool = False,
    prosody: Prosody | None = None,
    device: torch.device | str = "cpu",
) -> Clip:
    """Clip `seed`: its character saying `mouth`, one frame per row of the track; see `draw_motion`.

    Where the camera moves the background has relief: smooth walls would hide what the camera does.
    """
    motion, who = draw_motion(seed, mouth, head_motion, camera, hands, prosody), draw_character(seed)
    if camera != STILL_CAMERA:
        who = replace(who, relief=1.0)
    return render(who, mouth, motion, height, width, device)
