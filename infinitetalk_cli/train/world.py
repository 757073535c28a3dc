"""A world of talking characters of which everything is known: deterministic by seed, exact truth.

A clip is one character saying one piece of speech. Legend: t frames, h rows, w columns.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from infinitetalk_cli.train.characters import Character, draw_character
from infinitetalk_cli.train.drawing import Canvas
from infinitetalk_cli.train.phonemes import MouthTrack
from infinitetalk_cli.train.portrait import (
    Face,
    mouth_center_y,
    paint_eyes,
    paint_face,
    paint_hair_behind,
    paint_hair_front,
    paint_mouth,
    paint_neck,
)
from infinitetalk_cli.train.scenery import paint_background, paint_clothes

_FREE_MOTION = {"x": 0.12, "y": 0.07, "turn": 0.12, "scale": 0.05, "yaw": 0.9}
"""Largest movement of a freely moving head: scene units, radians, a share, and -1..1 for yaw."""
_SILENCE = 0.04


@dataclass(frozen=True)
class Motion:
    """Head and camera by frame, each (t,) float32: the head in scene units and radians, zoom as a factor."""

    x: Tensor
    y: Tensor
    turn: Tensor
    scale: Tensor
    yaw: Tensor
    blink: Tensor
    brow: Tensor
    pan_x: Tensor
    pan_y: Tensor
    zoom: Tensor


@dataclass(frozen=True)
class Clip:
    """Rendered frames and the truth about them.

    frames_u8: (t, h, w, 3). mouth: by frame, 0..1. mouth_px: (t, 2) x and y of the mouth's middle.
    mouth_half_px: half width and half height of the largest mouth, in pixels.
    """

    character: Character
    frames_u8: np.ndarray
    mouth: MouthTrack
    motion: Motion
    mouth_px: np.ndarray
    mouth_half_px: tuple[float, float]


def _wander(rng: random.Random, num_frames: int, slow_s: float) -> Tensor:
    """(t,) a smooth random walk within about -1..1; periods around `slow_s` seconds."""
    time_s = torch.arange(num_frames) / 25
    waves = [
        math.sqrt(weight) * torch.sin(2 * math.pi * (time_s / (slow_s * rng.uniform(0.7, 1.4) / pitch) + rng.random()))
        for pitch, weight in ((1, 0.5), (1.9, 0.3), (3.7, 0.1))
    ]
    return sum(waves).float()


def _blinks(rng: random.Random, openness: Tensor) -> Tensor:
    """(t,) 0 open, 1 shut. People blink where a phrase ends: so do these, and now and then in between."""
    num_frames = len(openness)
    quiet = (openness < _SILENCE).tolist()
    starts = [
        t + 1 for t in range(2, num_frames - 3) if all(quiet[t : t + 3]) and not quiet[t - 1] and rng.random() < 0.85
    ]
    starts += [t for t in range(num_frames) if rng.random() < 1 / 250]
    blink = torch.zeros(num_frames)
    for start in starts:
        for offset, value in enumerate((0.55, 1.0, 1.0, 0.5)):
            if start + offset < num_frames:
                blink[start + offset] = max(value, float(blink[start + offset]))
    return blink


def draw_motion(seed: int, mouth: MouthTrack, head_motion: float, camera_motion: float) -> Motion:
    """How head and camera of clip `seed` move; 0 is still, 1 free."""
    rng = random.Random(f"motion/{seed}")
    num_frames = len(mouth)
    openness = torch.from_numpy(mouth.openness)
    loud = torch.nn.functional.avg_pool1d(openness[None, None], 13, 1, 6, count_include_pad=False)[0, 0]
    free = {name: size * head_motion * _wander(rng, num_frames, 4.0) for name, size in _FREE_MOTION.items()}
    camera = [camera_motion * _wander(rng, num_frames, 6.0) for _ in range(3)]
    return Motion(
        x=free["x"],
        y=free["y"] + 0.05 * head_motion * (loud - 0.3),
        turn=free["turn"],
        scale=1 + free["scale"],
        yaw=free["yaw"],
        blink=_blinks(rng, openness),
        brow=((loud - 0.35) * 2.2).clamp(0, 1),
        pan_x=0.15 * camera[0],
        pan_y=0.08 * camera[1],
        zoom=1 + 0.12 * camera[2],
    )


def render(who: Character, mouth: MouthTrack, motion: Motion, height: int, width: int) -> Clip:
    """Draw every frame of one clip at any size, in blocks so that memory stays small."""
    block = max(1, 93 * 96 * 96 // (height * width))
    frames, centers = [], []
    for start in range(0, len(mouth), block):
        span = slice(start, min(start + block, len(mouth)))
        part = Motion(**{name: value[span] for name, value in vars(motion).items()})
        picture, center = _render_block(who, mouth[span], part, height, width)
        frames.append((picture.clamp(0, 1) * 255 + 0.5).to(torch.uint8).permute(0, 2, 3, 1).contiguous().numpy())
        centers.append(center)
    unit_px = min(height, width) / 2 * who.head_scale
    half_px = ((who.mouth_half_width + 0.06) * unit_px, (who.mouth_half_height + 0.06) * unit_px)
    return Clip(who, np.concatenate(frames), mouth, motion, np.concatenate(centers), half_px)


def _render_block(who: Character, mouth: MouthTrack, motion: Motion, height: int, width: int):
    """((t, 3, h, w) picture in 0..1, (t, 2) middle of the mouth in pixels)."""

    def by_frame(values) -> Tensor:
        return torch.as_tensor(values, dtype=torch.float32)[:, None, None]

    num_frames = len(mouth)
    face = Face(
        *(by_frame(values) for values in (mouth.openness, mouth.width, mouth.teeth, mouth.tongue)),
        by_frame(motion.blink), by_frame(motion.brow), by_frame(motion.yaw),
    )  # fmt: skip
    canvas = Canvas.blank(num_frames, height, width)
    still = not (motion.pan_x.any() or motion.pan_y.any() or (motion.zoom != 1).any())
    zero = torch.zeros(num_frames)
    scene = canvas if still else canvas.moved(motion.pan_x, motion.pan_y, zero, motion.zoom)
    _paint_static(paint_background, scene, who, still)
    body_shift = 0.25  # shoulders follow the head a little
    shoulders = scene.moved(motion.x * body_shift, motion.y * body_shift, zero, torch.ones(num_frames))
    head = scene.moved(who.head_x + motion.x, who.head_y + motion.y, motion.turn, who.head_scale * motion.scale)
    paint_hair_behind(head, who)
    paint_neck(head, who)
    paint_clothes(shoulders, who)
    paint_face(head, who, face)
    paint_mouth(head, who, face)
    paint_eyes(head, who, face)
    paint_hair_front(head, who)
    return canvas.image, _mouth_px(who, face, motion, height, width)


def _paint_static(paint, scene: Canvas, who: Character, still: bool) -> None:
    """Paint once and repeat when the camera stands still."""
    if not still:
        paint(scene, who)
        return
    first = Canvas(scene.image[:1].clone(), scene.x[:1], scene.y[:1], scene.pixel)
    paint(first, who)
    scene.image.copy_(first.image.expand_as(scene.image))


def _mouth_px(who: Character, face: Face, motion: Motion, height: int, width: int) -> np.ndarray:
    x, y = 0.05 * motion.yaw, mouth_center_y(who, face.openness[:, 0, 0])
    scale = who.head_scale * motion.scale
    cos, sin = torch.cos(motion.turn), torch.sin(motion.turn)
    scene_x = who.head_x + motion.x + scale * (cos * x - sin * y)
    scene_y = who.head_y + motion.y + scale * (sin * x + cos * y)
    unit_px = min(height, width) / 2
    column = (motion.pan_x + motion.zoom * scene_x) * unit_px + (width - 1) / 2
    row = (motion.pan_y + motion.zoom * scene_y) * unit_px + (height - 1) / 2
    return torch.stack([column, row], dim=1).numpy()


def make_clip(
    seed: int, mouth: MouthTrack, height: int, width: int, head_motion: float = 0.12, camera_motion: float = 0.0
) -> Clip:
    """Clip `seed`: its character saying `mouth`, one frame per row of the track."""
    who = draw_character(seed)
    return render(who, mouth, draw_motion(seed, mouth, head_motion, camera_motion), height, width)
