"""CIEDE2000 and palettes."""

from __future__ import annotations

import numpy as np
import pytest

from infinitetalk_cli.quality.colour import delta_e, lab_of, palette, palette_distance

SHARMA = (
    ((50.0, 2.6772, -79.7751), (50.0, 0.0, -82.7485), 2.0425),
    ((50.0, -1.3802, -84.2814), (50.0, 0.0, -82.7485), 1.0000),
    ((50.0, 0.0, 0.0), (50.0, -1.0, 2.0), 2.3669),
    ((50.0, 2.49, -0.001), (50.0, -2.49, 0.0009), 7.1792),
    ((50.0, 2.49, -0.001), (50.0, -2.49, 0.0011), 7.2195),
    ((50.0, 2.5, 0.0), (73.0, 25.0, -18.0), 27.1492),
    ((60.2574, -34.0099, 36.2677), (60.4626, -34.1751, 39.4387), 1.2644),
    ((22.7233, 20.0904, -46.6940), (23.0331, 14.9730, -42.5619), 2.0373),
    ((2.0776, 0.0795, -1.1350), (0.9033, -0.0636, -0.5514), 0.9082),
)
"""Pairs of the test data published with Sharma, Wu, Dalal (2005): the hard places of the formula."""


@pytest.mark.parametrize(("one", "other", "expected"), SHARMA)
def test_published_pairs(one: tuple[float, ...], other: tuple[float, ...], expected: float) -> None:
    assert float(delta_e(np.array(one), np.array(other))) == pytest.approx(expected, abs=5e-5)  # they have 4 decimals
    assert float(delta_e(np.array(other), np.array(one))) == pytest.approx(expected, abs=5e-5)


def test_lab_of_known_colours() -> None:
    colours = np.array([[255, 255, 255], [0, 0, 0], [255, 0, 0]], np.uint8)
    expected = [[100, 0, 0], [0, 0, 0], [53.24, 80.09, 67.20]]  # the usual table for sRGB under D65
    np.testing.assert_allclose(lab_of(colours), expected, atol=0.01)


def test_palette_does_not_mind_where_things_are() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (16, 24, 3), dtype=np.uint8)
    moved = np.roll(picture, (3, 7), axis=(0, 1))
    assert float(palette_distance(palette(picture), palette(moved))) == 0
    tinted = np.clip(picture.astype(int) + np.array([30, 0, 0]), 0, 255).astype(np.uint8)
    assert float(palette_distance(palette(picture), palette(tinted))) > 2
