"""Who stands before the camera: looks drawn at random, the same for the same seed."""

from __future__ import annotations

import colorsys
import random
from dataclasses import dataclass

Rgb = tuple[float, float, float]

SKINS: tuple[Rgb, ...] = (
    (0.98, 0.84, 0.73), (0.95, 0.77, 0.63), (0.90, 0.70, 0.55), (0.84, 0.62, 0.46), (0.74, 0.52, 0.37),
    (0.63, 0.42, 0.29), (0.52, 0.34, 0.24), (0.43, 0.28, 0.20), (0.36, 0.23, 0.17),
)  # fmt: skip
HAIRS: tuple[Rgb, ...] = (
    (0.10, 0.08, 0.08), (0.18, 0.12, 0.10), (0.30, 0.19, 0.12), (0.45, 0.28, 0.16), (0.66, 0.45, 0.24),
    (0.87, 0.70, 0.40), (0.62, 0.25, 0.12), (0.60, 0.60, 0.63), (0.86, 0.86, 0.88), (0.25, 0.28, 0.48),
)  # fmt: skip
IRISES: tuple[Rgb, ...] = ((0.32, 0.20, 0.12), (0.22, 0.13, 0.09), (0.25, 0.45, 0.62), (0.30, 0.48, 0.30))
HAIR_STYLES = ("short", "side", "fringe", "long", "bob", "curly", "bun", "bald")
BEARDS = ("none", "none", "none", "stubble", "full", "full", "moustache")
CLOTHES = ("plain", "stripes", "collar", "v-neck", "hoodie", "dots")
BACKGROUNDS = ("bokeh", "stripes", "tiles", "books", "window", "clouds", "leaves")


@dataclass(frozen=True)
class Character:
    """One person and one place. Lengths are scene units (half the shorter side), colours RGB 0..1.

    relief: how much light and shadow the surfaces behind show, by which the eye follows a camera.
    """

    skin: Rgb
    hair: Rgb
    iris: Rgb
    lips: Rgb
    cloth: Rgb
    cloth_accent: Rgb
    back: Rgb
    back_accent: Rgb
    hair_style: str
    beard: str
    clothing: str
    background: str
    glasses: bool
    earrings: bool
    freckles: bool
    head_x: float
    head_y: float
    head_scale: float
    head_half_width: float
    jaw_half_width: float
    chin_y: float
    eye_x: float
    eye_y: float
    eye_size: float
    brow_thickness: float
    brow_tilt: float
    nose_size: float
    mouth_y: float
    mouth_half_width: float
    mouth_half_height: float
    lip_thickness: float
    smile: float
    gaze_x: float
    light_x: float
    light_y: float
    blush: float
    pattern_seed: int
    relief: float = 0.0


def _hsv(rng: random.Random, saturation: tuple[float, float], value: tuple[float, float]) -> Rgb:
    return colorsys.hsv_to_rgb(rng.random(), rng.uniform(*saturation), rng.uniform(*value))


def _near(rng: random.Random, colour: Rgb, spread: float = 0.03) -> Rgb:
    return tuple(min(1.0, max(0.0, c + rng.uniform(-spread, spread))) for c in colour)


def _lip_colour(rng: random.Random, skin: Rgb, painted: bool) -> Rgb:
    if painted:
        return _near(rng, (0.75, 0.16, 0.22), 0.10)
    red, green, blue = skin
    share = rng.uniform(0.78, 0.92)
    return (min(1.0, red * share + 0.12), green * (share - 0.20) + 0.03, blue * (share - 0.14) + 0.04)


def draw_character(seed: int) -> Character:
    """The character of `seed`; seeds of training and tests must simply not overlap."""
    rng = random.Random(f"character/{seed}")
    skin = _near(rng, rng.choice(SKINS))
    style = rng.choice(HAIR_STYLES)
    beard = "none" if style in ("long", "bob", "bun") else rng.choice(BEARDS)
    painted = beard == "none" and rng.random() < 0.35
    return Character(
        skin=skin,
        hair=_near(rng, rng.choice(HAIRS[:3] if sum(skin) < 1.6 and rng.random() < 0.7 else HAIRS)),
        iris=_near(rng, rng.choice(IRISES)),
        lips=_lip_colour(rng, skin, painted),
        cloth=_hsv(rng, (0.25, 0.8), (0.25, 0.9)),
        cloth_accent=_hsv(rng, (0.0, 0.5), (0.5, 1.0)),
        back=_hsv(rng, (0.1, 0.5), (0.3, 0.9)),
        back_accent=_hsv(rng, (0.1, 0.6), (0.3, 0.95)),
        hair_style=style,
        beard=beard,
        clothing=rng.choice(CLOTHES),
        background=rng.choice(BACKGROUNDS),
        glasses=rng.random() < 0.25,
        earrings=beard == "none" and rng.random() < 0.25,
        freckles=rng.random() < 0.15,
        head_x=rng.uniform(-0.06, 0.06),
        head_y=rng.uniform(-0.08, 0.02),
        head_scale=rng.uniform(1.14, 1.30),
        head_half_width=rng.uniform(0.46, 0.54),
        jaw_half_width=rng.uniform(0.36, 0.45),
        chin_y=rng.uniform(0.60, 0.68),
        eye_x=rng.uniform(0.19, 0.23),
        eye_y=rng.uniform(-0.12, -0.05),
        eye_size=rng.uniform(0.9, 1.15),
        brow_thickness=rng.uniform(0.014, 0.030),
        brow_tilt=rng.uniform(-0.03, 0.04),
        nose_size=rng.uniform(0.8, 1.2),
        mouth_y=rng.uniform(0.31, 0.36),
        mouth_half_width=rng.uniform(0.225, 0.265),
        mouth_half_height=rng.uniform(0.115, 0.145),
        lip_thickness=rng.uniform(0.034, 0.052),
        smile=rng.uniform(0.0, 0.6),
        gaze_x=rng.uniform(-0.015, 0.015),
        light_x=rng.uniform(-0.22, 0.22),
        light_y=rng.uniform(-0.12, -0.02),
        blush=rng.uniform(0.05, 0.30),
        pattern_seed=rng.randrange(1 << 30),
    )
