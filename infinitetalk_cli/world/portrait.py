"""The head: hair, face, eyes and above all the mouth, painted in head coordinates.

Head coordinates: origin between eyes and nose, units of the scene, the chin near y = 0.64. Quantities that
change with time are (t, 1, 1) tensors.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

import torch
from torch import Tensor

from infinitetalk_cli.world.characters import Character, Rgb
from infinitetalk_cli.world.drawing import Canvas, both, box, capsule, ellipse, union

_CAVITY: Rgb = (0.26, 0.07, 0.08)
_TEETH: Rgb = (0.97, 0.96, 0.92)
_TONGUE: Rgb = (0.80, 0.38, 0.40)
_LASH: Rgb = (0.12, 0.09, 0.09)
_CHEEK_END = math.exp(-(2.4**2))
"""What is taken off the blush so that it ends inside the part of the picture that is painted."""


@dataclass(frozen=True)
class Face:
    """What a face does, each (t, 1, 1): mouth values and blink and brow in 0..1, yaw and nod in -1..1."""

    openness: Tensor
    width: Tensor
    teeth: Tensor
    tongue: Tensor
    blink: Tensor
    brow: Tensor
    yaw: Tensor
    nod: Tensor


def _scaled(colour: Rgb, factor: float) -> Rgb:
    return tuple(min(1.0, c * factor) for c in colour)


def _strands(canvas: Canvas, who: Character) -> Tensor:
    """(t, h, w) brightness of hair, around 1."""
    phase = who.pattern_seed % 7
    waves = torch.sin(canvas.x * 31 + 3 * torch.sin(canvas.y * 5 + phase)) * 0.10
    return 1 + waves + torch.sin(canvas.x * 13 - canvas.y * 8 + phase) * 0.06 - 0.22 * (canvas.y + 0.4)


def _hair_colour(canvas: Canvas, who: Character) -> Tensor:
    base = canvas.colour(who.hair)
    return (base * _strands(canvas, who)[:, None] + 0.015).clamp(0, 1)


def paint_hair_behind(canvas: Canvas, who: Character) -> None:
    """Hair that hangs behind face, neck and shoulders."""
    half = who.head_half_width
    part = canvas.around(0, 0.08, half + 0.26, 1.02)
    x, y = part.x, part.y
    if who.hair_style == "long":
        shape = union(ellipse(x, y, 0, -0.12, half + 0.12, 0.58), box(x, y, 0, 0.42, half + 0.10, 0.62, 0.16), 0.1)
    elif who.hair_style == "bob":
        shape = union(ellipse(x, y, 0, -0.12, half + 0.12, 0.58), box(x, y, 0, 0.18, half + 0.12, 0.36, 0.14), 0.1)
    elif who.hair_style == "curly":
        shape = ellipse(x, y, 0, -0.18, half + 0.20, 0.62)
        bumps = torch.sin(torch.atan2(y + 0.18, x) * 13 + who.pattern_seed % 6) * 0.03
        shape = shape + bumps
    elif who.hair_style == "bun":
        shape = union(ellipse(x, y, 0, -0.15, half + 0.06, 0.56), ellipse(x, y, 0.05, -0.72, 0.20, 0.17))
    else:
        return
    part.paint(shape, _hair_colour(part, who) * 0.82)


def paint_neck(canvas: Canvas, who: Character) -> None:
    """Neck with the shadow of the chin."""
    part = canvas.around(0, 0.66, 0.36, 0.32)
    x, y = part.x, part.y
    part.paint(box(x, y, 0, 0.66, 0.19, 0.30, 0.08), _scaled(who.skin, 0.86))
    part.paint(ellipse(x, y, 0, 0.56, 0.26, 0.17), _scaled(who.skin, 0.66), 0.6, softness=0.1)


def face_shape(canvas: Canvas, who: Character, face: Face) -> Tensor:
    """Distance to the outline of the face; the chin follows the open mouth and the nod."""
    skull = ellipse(canvas.x, canvas.y, 0, -0.10, who.head_half_width, 0.50)
    low = who.chin_y + 0.045 * face.openness + 0.02 * face.nod
    jaw = ellipse(canvas.x, canvas.y, 0, low - 0.42, who.jaw_half_width, 0.42)
    return union(skull, jaw, 0.12)


def paint_face(canvas: Canvas, who: Character, face: Face) -> None:
    """Ears, skin with light and blush, nose, beard."""
    for side in (-1, 1):
        ear = canvas.around(side * who.head_half_width, 0.02, 0.09, 0.16)
        shape = ellipse(ear.x, ear.y + 0.03 * face.nod, side * who.head_half_width, 0.02, 0.075, 0.12)
        ear.paint(shape, _scaled(who.skin, 0.90))
    part = canvas.around(0, 0.06, who.head_half_width + 0.04, 0.72)
    x, y = part.x, part.y
    shape = face_shape(part, who, face)
    light = 1 + who.light_x * x + who.light_y * (y * 2) - 0.10 * (x * x + y * y)
    skin = part.colour(who.skin) * light[:, None]
    part.paint(shape, skin.clamp_(0, 1))
    for side in (-1, 1):
        cheek = canvas.around(side * 0.28, 0.17, 0.24, 0.20)
        spot = torch.exp(-(((cheek.x - side * 0.28) / 0.10) ** 2) - ((cheek.y - 0.17) / 0.08) ** 2)
        spot = (spot - _CHEEK_END).clamp_(min=0)
        cheek.blend(spot * who.blush, (who.skin[0], who.skin[1] * 0.68, who.skin[2] * 0.66))
    if who.freckles:
        _paint_freckles(canvas, who)
    if who.beard != "none":
        _paint_beard(canvas, who, face)
    _paint_nose(canvas, who, face)
    if who.earrings:
        for side in (-1, 1):
            part = canvas.around(side * who.head_half_width, 0.16, 0.06, 0.08)
            shape = ellipse(part.x, part.y + 0.03 * face.nod, side * who.head_half_width, 0.16, 0.035, 0.035)
            part.paint(shape, (0.95, 0.85, 0.45))


def _paint_freckles(canvas: Canvas, who: Character) -> None:
    rng = random.Random(who.pattern_seed)
    part = canvas.around(0, 0.13, 0.34, 0.12)
    for _ in range(12):
        x, y = rng.choice((-1, 1)) * rng.uniform(0.12, 0.32), rng.uniform(0.06, 0.19)
        part.paint(ellipse(part.x, part.y, x, y, 0.012, 0.012), _scaled(who.skin, 0.72), 0.6)


def _paint_beard(canvas: Canvas, who: Character, face: Face) -> None:
    part = canvas.around(0, 0.46, who.head_half_width + 0.04, 0.38)
    x, y = part.x, part.y
    hair = _hair_colour(part, who)
    u, v = x - 0.05 * face.yaw, y - 0.035 * face.nod
    moustache = ellipse(u, v + 0.35 * u * u, 0, who.mouth_y - 0.085, who.mouth_half_width * 0.95, 0.048)
    if who.beard == "moustache":
        part.paint(moustache, hair, softness=0.02)
        return
    chin = both(face_shape(part, who, face), who.mouth_y - 0.11 + 0.5 * (0.40 - x.abs()) ** 2 - y)
    shape = union(chin, moustache, 0.03)
    part.paint(shape, hair, 0.45 if who.beard == "stubble" else 1.0, softness=0.03)


def _paint_nose(canvas: Canvas, who: Character, face: Face) -> None:
    part = canvas.around(0, 0.08, 0.24, 0.24)
    x, y, size = part.x - 0.05 * face.yaw, part.y - 0.035 * face.nod, who.nose_size
    part.paint(ellipse(x, y, 0.015, 0.125, 0.075 * size, 0.048 * size), _scaled(who.skin, 0.80), 0.7, softness=0.03)
    part.paint(ellipse(x, y, 0.0, 0.105, 0.060 * size, 0.045 * size), _scaled(who.skin, 1.06), 0.9, softness=0.03)
    part.paint(ellipse(x, y, -0.012, 0.02, 0.022 * size, 0.09), _scaled(who.skin, 1.10), 0.5, softness=0.03)


def paint_eyes(canvas: Canvas, who: Character, face: Face) -> None:
    """Eyes that blink, brows that rise, glasses if any."""
    for side in (-1, 1):
        center = side * who.eye_x
        part = canvas.around(center, who.eye_y - 0.04, 0.27, 0.30)
        x, y = part.x - 0.04 * face.yaw, part.y - 0.03 * face.nod
        size = who.eye_size
        opening = 0.082 * size * (1 - face.blink) + 0.018  # thinner ellipses grow whiskers
        white = ellipse(x, y, center, who.eye_y + 0.02 * face.blink, 0.105 * size, opening)
        seen = (4 - 4.5 * face.blink).clamp(0, 1)
        part.paint(white - 0.014, _LASH, 0.85)
        part.paint(white, (0.98, 0.98, 0.97), seen)
        gaze = center + who.gaze_x + 0.02 * face.yaw
        iris = ellipse(x, y, gaze, who.eye_y, 0.062 * size, 0.062 * size)
        part.paint(both(iris, white), who.iris, seen)
        part.paint(both(iris + 0.030 * size, white), _LASH, seen)
        glint = ellipse(x, y, gaze + 0.022, who.eye_y - 0.026, 0.017, 0.017)
        part.paint(both(glint, white), (1.0, 1.0, 1.0), seen)
        _paint_brow(part, who, face, side, x, y)
        if who.glasses:
            rim = ellipse(part.x, y, center, who.eye_y + 0.01, 0.165, 0.135).abs() - 0.011
            part.paint(rim, (0.13, 0.12, 0.14))
    if who.glasses:
        part = canvas.around(0, who.eye_y, 0.14, 0.10)
        bridge = capsule(
            part.x, part.y - 0.03 * face.nod, (-who.eye_x + 0.16, who.eye_y), (who.eye_x - 0.16, who.eye_y), 0.011
        )
        part.paint(bridge, (0.13, 0.12, 0.14))


def _paint_brow(part: Canvas, who: Character, face: Face, side: int, x: Tensor, y: Tensor) -> None:
    height = who.eye_y - 0.155 - 0.05 * face.brow
    inner = (side * (who.eye_x - 0.095), height + who.brow_tilt)
    outer = (side * (who.eye_x + 0.105), height - who.brow_tilt * 0.3 + 0.015)
    bent = y + 0.8 * (x - side * who.eye_x) ** 2
    colour = _scaled(who.hair, 0.8) if sum(who.hair) < 2 else (0.62, 0.58, 0.52)
    part.paint(capsule(x, bent - 0.01, inner, outer, who.brow_thickness), colour)


def mouth_center_y(who: Character, openness: Tensor) -> Tensor:
    """Height of the middle of the opening in head coordinates."""
    return who.mouth_y + 0.30 * who.mouth_half_height * openness


def paint_mouth(canvas: Canvas, who: Character, face: Face) -> None:
    """Lip ring, dark inside, upper teeth and tongue."""
    part = canvas.around(0, who.mouth_y + 0.05, who.mouth_half_width + 0.14, who.mouth_half_height * 1.5 + 0.17)
    half_width = who.mouth_half_width * (0.52 + 0.48 * face.width) * (1 - 0.08 * face.openness)
    half_height = who.mouth_half_height * face.openness + 0.005
    x = part.x - 0.05 * face.yaw
    y = part.y - 0.04 * face.nod - mouth_center_y(who, face.openness) + who.smile * (x * x - 0.25 * half_width**2)
    opening = ellipse(x, y, 0, 0, half_width, half_height)
    thickness = who.lip_thickness * (1.25 - 0.30 * face.width)
    bow = 0.4 * thickness * torch.exp(-((x / 0.045) ** 2)) * (y < 0)
    lips = ellipse(x, y - bow, 0, 0.12 * thickness, half_width + 0.030, half_height + thickness)
    part.paint(lips - 0.006, _scaled(who.lips, 0.70), 0.6, softness=0.015)
    upper = part.colour(_scaled(who.lips, 0.86))
    lower = part.colour(_scaled(who.lips, 1.10))
    share = (y / 0.05 + 0.5).clamp(0, 1)[:, None]
    part.paint(lips, upper + (lower - upper) * share)
    shine = ellipse(x, y, -0.02, half_height + 0.55 * thickness, 0.35 * half_width, 0.20 * thickness)
    part.paint(shine, _scaled(who.lips, 1.45), 0.5, softness=0.02)
    part.paint(opening, _CAVITY)
    tongue_y = half_height * (1.05 - 0.35 * face.tongue)
    tongue = ellipse(x, y, 0, tongue_y + 0.02, half_width * 0.62, half_height * 0.50 + 0.012)
    inside = opening + 0.012
    part.paint(both(tongue, inside), _TONGUE, softness=0.008)
    teeth_low = -half_height + (0.020 + 0.060 * face.teeth) * (0.4 + 0.6 * face.openness)
    teeth = both(y - teeth_low - 0.25 * x * x, inside - 0.004)
    part.paint(teeth, _TEETH, (face.teeth * 2.5).clamp(0, 1))


def paint_hair_front(canvas: Canvas, who: Character, face: Face) -> None:
    """Hair over the forehead, by style; a bald head has none."""
    half = who.head_half_width
    part = canvas.around(0, -0.14, half + 0.08, 0.66)
    x, y = part.x, part.y
    line = {
        "short": lambda: -0.40 + 0.5 * x * x,
        "side": lambda: -0.42 + 0.30 * x + 0.4 * x * x,
        "fringe": lambda: -0.27 + 0.02 * torch.sin(x * 40),
        "long": lambda: -0.48 + 1.6 * x * x,
        "bob": lambda: -0.30 + 0.6 * (x - 0.1) ** 2,
        "curly": lambda: -0.38 + 0.7 * x * x + 0.03 * torch.sin(x * 22),
        "bun": lambda: -0.44 + 1.3 * x * x,
    }.get(who.hair_style)
    if line is None:
        return
    cap = ellipse(x, y, 0, -0.12, half + 0.035, 0.53)
    sides = (y - 0.06) if who.hair_style in ("short", "side", "fringe") else (y - 0.5)
    temples = both(both(cap, (half - 0.035) - x.abs()), sides)
    shape = union(both(cap, y - line() - 0.03 * face.nod), temples, 0.03)
    part.paint(shape, _hair_colour(part, who))
