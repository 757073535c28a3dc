"""Colour as people see it: CIE Lab, the distance CIEDE2000, and the colours of a picture as a few numbers."""

from __future__ import annotations

import numpy as np

_LINEAR = np.array([(v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4) for v in np.arange(256) / 255])
_XYZ_FROM_RGB = np.array(
    [(0.4124564, 0.3575761, 0.1804375), (0.2126729, 0.7151522, 0.0721750), (0.0193339, 0.1191920, 0.9503041)]
)
_WHITE = _XYZ_FROM_RGB.sum(axis=1)
"""sRGB and its white point D65 (IEC 61966-2-1)."""

_SHARES = np.array([0.1, 0.3, 0.5, 0.7, 0.9])


def lab_of(rgb_u8: np.ndarray) -> np.ndarray:
    """CIE Lab (..., 3) float64 of sRGB (..., 3) uint8."""
    xyz = _LINEAR[rgb_u8] @ (_XYZ_FROM_RGB / _WHITE[:, None]).T
    roots = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz * (29 / 6) ** 2 / 3 + 4 / 29)
    x, y, z = np.moveaxis(roots, -1, 0)
    return np.stack((116 * y - 16, 500 * (x - y), 200 * (y - z)), axis=-1)


def palette(pictures_u8: np.ndarray) -> np.ndarray:
    """Colours of `pictures_u8` (..., h, w, 3): Lab (..., 5, 3) below which 10, 30, 50, 70 and 90 % of it lie.

    Each channel on its own. What is where does not count, so it stays nearly the same while somebody moves.
    """
    levels = np.moveaxis(pictures_u8.reshape(*pictures_u8.shape[:-3], -1, 3), -1, -2)
    ranked = np.sort(np.ascontiguousarray(levels), axis=-1)  # along neighbouring bytes, which is ten times as fast
    places = np.rint(_SHARES * (levels.shape[-1] - 1)).astype(int)
    return lab_of(np.moveaxis(ranked[..., places], -1, -2))


def palette_distance(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Mean CIEDE2000 (...) of the colours of two palettes (..., 5, 3)."""
    return delta_e(one, other).mean(axis=-1)


def delta_e(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """CIEDE2000 (...) of Lab colours (..., 3), all weights 1 (ISO/CIE 11664-6).

    About 1 is just noticeable side by side.
    """
    l1, a1, b1 = np.moveaxis(np.asarray(one, float), -1, 0)
    l2, a2, b2 = np.moveaxis(np.asarray(other, float), -1, 0)
    mean_c7 = ((np.hypot(a1, b1) + np.hypot(a2, b2)) / 2) ** 7
    gain = 1.5 - 0.5 * np.sqrt(mean_c7 / (mean_c7 + 25.0**7))
    c1, c2 = np.hypot(gain * a1, b1), np.hypot(gain * a2, b2)
    h1, h2 = (np.degrees(np.arctan2(b, gain * a)) % 360 for a, b in ((a1, b1), (a2, b2)))
    turn = np.where(c1 * c2 == 0, 0.0, (h2 - h1 + 180) % 360 - 180)
    # Hues exactly opposite: the standard takes the way that does not pass 0 degrees.
    turn = np.where((turn == -180) & (h2 > h1), 180.0, turn)
    step_h = 2 * np.sqrt(c1 * c2) * np.sin(np.radians(turn / 2))
    mean_l, mean_c = (l1 + l2) / 2, (c1 + c2) / 2
    mean_h = np.where(c1 * c2 == 0, h1 + h2, (h1 + turn / 2) % 360)
    return _weighted(l2 - l1, c2 - c1, step_h, mean_l, mean_c, mean_h)


def _weighted(
    step_l: np.ndarray,
    step_c: np.ndarray,
    step_h: np.ndarray,
    mean_l: np.ndarray,
    mean_c: np.ndarray,
    mean_h: np.ndarray,
) -> np.ndarray:
    """The three differences, each by how well it is seen around the mean colour, and the blue region's turn."""
    t = (
        1
        - 0.17 * np.cos(np.radians(mean_h - 30))
        + 0.24 * np.cos(np.radians(2 * mean_h))
        + 0.32 * np.cos(np.radians(3 * mean_h + 6))
        - 0.20 * np.cos(np.radians(4 * mean_h - 63))
    )
    lightness = step_l / (1 + 0.015 * (mean_l - 50) ** 2 / np.sqrt(20 + (mean_l - 50) ** 2))
    chroma = step_c / (1 + 0.045 * mean_c)
    hue = step_h / (1 + 0.015 * mean_c * t)
    c7 = mean_c**7
    bend = 60 * np.exp(-(((mean_h - 275) / 25) ** 2))
    rotation = -2 * np.sqrt(c7 / (c7 + 25.0**7)) * np.sin(np.radians(bend))
    return np.sqrt(np.maximum(0, lightness**2 + chroma**2 + hue**2 + rotation * chroma * hue))
