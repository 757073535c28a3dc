"""What is behind and below the head: backgrounds with texture, and clothes."""

from __future__ import annotations

import math
import random
from collections.abc import Callable

import torch
from torch import Tensor

from infinitetalk_cli.world.characters import Character
from infinitetalk_cli.world.drawing import Canvas, both, box, ellipse, union


def _tint(colour: tuple[float, float, float], share: float) -> tuple[float, ...]:
    """Towards white for `share` > 0, towards black below."""
    return tuple(c + (1 - c) * share if share > 0 else c * (1 + share) for c in colour)


def _bokeh(canvas: Canvas, who: Character, rng: random.Random) -> None:
    for _ in range(7):
        x, y, radius = rng.uniform(-1.3, 1.3), rng.uniform(-1.1, 0.6), rng.uniform(0.08, 0.26)
        colour = _tint(who.back_accent, rng.uniform(0.0, 0.5))
        canvas.paint(ellipse(canvas.x, canvas.y, x, y, radius, radius), colour, 0.5, softness=0.04)


def _stripes(canvas: Canvas, who: Character, rng: random.Random) -> None:
    width, slant = rng.uniform(0.12, 0.25), rng.uniform(-0.5, 0.5)
    wave = torch.sin((canvas.x + slant * canvas.y) * math.pi / width)
    canvas.blend((wave * 3).clamp(-1, 1) * 0.2 + 0.2, who.back_accent)


def _tiles(canvas: Canvas, who: Character, rng: random.Random) -> None:
    size = rng.uniform(0.25, 0.4)
    row = torch.floor(canvas.y / size * 1.6)
    u = (canvas.x / size + 0.5 * (row % 2)) % 1
    v = (canvas.y / size * 1.6) % 1
    edge = torch.minimum(torch.minimum(u, 1 - u), torch.minimum(v, 1 - v) / 1.6) * size
    canvas.paint(edge - 0.02, _tint(who.back, -0.35), 0.8)


def _books(canvas: Canvas, who: Character, rng: random.Random) -> None:
    for shelf in range(3):
        bottom, x = -0.45 + 0.62 * shelf, -1.6
        while x < 1.6:
            width, height = rng.uniform(0.06, 0.12), rng.uniform(0.36, 0.5)
            colour = _tint(rng.choice((who.back_accent, who.back, who.cloth_accent)), rng.uniform(-0.5, 0.2))
            part = canvas.around(x, bottom - height / 2, width, height)
            half = width / 2 - 0.004
            canvas_shape = box(part.x, part.y, x + width / 2, bottom - height / 2, half, height / 2, 0.01)
            part.paint(canvas_shape, colour)
            x += width
        canvas.paint((canvas.y - bottom - 0.02).abs() - 0.025, _tint(who.back, -0.55))


def _window(canvas: Canvas, who: Character, rng: random.Random) -> None:
    x, y = rng.choice((-0.75, 0.75)), rng.uniform(-0.5, -0.2)
    canvas.paint(box(canvas.x, canvas.y, x, y, 0.46, 0.56, 0.02), _tint(who.back, -0.5))
    sky = _tint((0.55, 0.75, 0.95), rng.uniform(0, 0.4))
    canvas.paint(box(canvas.x, canvas.y, x, y, 0.41, 0.51, 0.02), sky)
    canvas.paint(ellipse(canvas.x, canvas.y, x, y + 0.45, 0.4, 0.3), (0.45, 0.62, 0.40), 0.8, softness=0.05)
    bars = union((canvas.x - x).abs() - 0.02, (canvas.y - y).abs() - 0.02)
    canvas.paint(both(bars, box(canvas.x, canvas.y, x, y, 0.43, 0.53)), _tint(who.back, -0.5))


def _clouds(canvas: Canvas, who: Character, rng: random.Random) -> None:
    field = torch.zeros_like(canvas.x)
    for octave in range(5):
        angle, phase, pitch = rng.uniform(0, 6.3), rng.uniform(0, 6.3), 2.2 * 1.7**octave
        across = canvas.x * math.cos(angle) + canvas.y * math.sin(angle)
        field = field + torch.sin(across * pitch + phase + field * 1.5) / (1.5**octave)
    canvas.blend((0.3 + 0.22 * field).clamp(0, 0.8), who.back_accent)


def _leaves(canvas: Canvas, who: Character, rng: random.Random) -> None:
    green = rng.choice(((0.25, 0.45, 0.28), (0.40, 0.52, 0.30), (0.20, 0.38, 0.36)))
    for _ in range(16):
        x, y, angle = rng.choice((-1, 1)) * rng.uniform(0.45, 1.4), rng.uniform(-1.1, 1.0), rng.uniform(0, 3.1)
        part = canvas.around(x, y, 0.32, 0.32)
        u = (part.x - x) * math.cos(angle) + (part.y - y) * math.sin(angle)
        v = (part.y - y) * math.cos(angle) - (part.x - x) * math.sin(angle)
        leaf = both(ellipse(u, v, 0, 0.1, 0.28, 0.17), ellipse(u, v, 0, -0.1, 0.28, 0.17))
        part.paint(leaf, _tint(green, rng.uniform(-0.3, 0.3)))


_BACKGROUNDS: dict[str, Callable[[Canvas, Character, random.Random], None]] = {
    "bokeh": _bokeh, "stripes": _stripes, "tiles": _tiles, "books": _books,
    "window": _window, "clouds": _clouds, "leaves": _leaves,
}  # fmt: skip
_RELIEF = 0.07
_PLAIN = {"black": 0.0, "white": 1.0}
"""Even backgrounds, from which `matte` finds what is in front of them; no character is drawn with one."""


def paint_background(canvas: Canvas, who: Character) -> None:
    """Fill the picture with the wall, window or garden behind `who`."""
    if who.background in _PLAIN:
        canvas.image.fill_(_PLAIN[who.background])
        return
    rng = random.Random(f"background/{who.pattern_seed}")
    top, bottom = canvas.colour(_tint(who.back, 0.15)), canvas.colour(_tint(who.back, -0.3))
    share = (canvas.y * 0.5 + 0.5).clamp(0, 1)[:, None]
    canvas.image.copy_((top + (bottom - top) * share).expand_as(canvas.image))
    _BACKGROUNDS[who.background](canvas, who, rng)
    canvas.shade(1 + who.light_x * 0.5 * canvas.x)
    if who.relief:
        canvas.shade(1 + _RELIEF * who.relief * _unevenness(canvas, who))


def _unevenness(canvas: Canvas, who: Character) -> Tensor:
    """(t, h, w) about -1..1: a surface that looks alike nowhere, waves 0.2 to 1 scene unit long."""
    rng = random.Random(f"relief/{who.pattern_seed}")
    field = torch.zeros_like(canvas.x)
    for octave in range(7):
        pitch, angle = 6 * 1.3**octave, rng.uniform(0, math.pi) + octave * 2.4
        across = canvas.x * (pitch * math.cos(angle)) + canvas.y * (pitch * math.sin(angle))
        field = field + 0.32 * torch.sin(across + rng.uniform(0, 6.3) + 1.5 * field)
    return field


def _cloth_pattern(canvas: Canvas, who: Character, shape: Tensor) -> None:
    x, y = canvas.x, canvas.y
    if who.clothing == "stripes":
        bands = (torch.sin(y * 26) * 2).clamp(-1, 1) * 0.5 + 0.5
        canvas.blend(canvas.coverage(shape) * bands * 0.8, who.cloth_accent)
    elif who.clothing == "dots":
        u, v = (x / 0.16) % 1 - 0.5, (y / 0.16) % 1 - 0.5
        canvas.paint(both(shape, (torch.hypot(u, v) - 0.22) * 0.16), who.cloth_accent, 0.85)


def paint_clothes(canvas: Canvas, who: Character) -> None:
    """Shoulders, their pattern and the neckline; the origin is in the middle of the picture, below the head."""
    at_neck = canvas.around(0, 2, 1.5, 1.42)
    x, y = at_neck.x, at_neck.y
    shoulders = union(ellipse(x, y, 0, 1.12, 0.80, 0.42), box(x, y, 0, 1.5, 0.86, 0.55, 0.3), 0.1)
    at_neck.paint(shoulders, who.cloth)
    _cloth_pattern(at_neck, who, shoulders)
    neck_skin = tuple(c * 0.86 for c in who.skin)
    dark, light = _tint(who.cloth, -0.4), _tint(who.cloth_accent, 0.3)
    if who.clothing == "v-neck":
        at_neck.paint(both(x.abs() * 0.9 + (y - 1.02) * 0.55, 0.6 - y), neck_skin)
    elif who.clothing == "collar":
        wings = both(((x.abs() - 0.16).abs() - 0.11 + (y - 0.78) * 0.35), (y - 0.84).abs() - 0.12)
        at_neck.paint(wings, light)
    elif who.clothing == "hoodie":
        at_neck.paint(ellipse(x, y, 0, 0.80, 0.36, 0.17), dark)
    else:
        at_neck.paint(ellipse(x, y, 0, 0.76, 0.24, 0.11), neck_skin)
    folds = torch.sin(x * 9 + y * 4) * 0.05 + torch.sin(x * 21 - y * 7) * 0.02
    at_neck.shade(1 + folds * at_neck.coverage(shoulders))
