"""How the camera moves, against footage of which every motion is known."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from footage import Shot, shoot
from PIL import Image

from infinitetalk_cli.models.camera_motion import (
    Busiest,
    Motion,
    busiest_second,
    camera_motions,
    mean_radius,
    working_size,
)

SIZE = (288, 168)
ASPECT = SIZE[0] / SIZE[1]
PICTURE_PX = (SIZE[0] * SIZE[1]) ** 0.5
EVERY, RATE = 2, Fraction(25)
THRESHOLD = 0.005


def looks(shot: Shot, num_looks: int = 7) -> tuple[list[np.ndarray], list[float]]:
    """Grey pictures of a shot at the size at which they are compared, and their times."""
    frames = shoot(shot, RATE, SIZE, EVERY * (num_looks - 1) + 1)[::EVERY]
    size = working_size(*SIZE)
    images = (
        Image.fromarray(frame.astype(np.uint8)).convert("L").resize(size, Image.Resampling.BOX) for frame in frames
    )
    return [np.asarray(image) for image in images], [float(EVERY * k / RATE) for k in range(num_looks)]


def found(shot: Shot) -> tuple[list[Motion], np.ndarray, list[float]]:
    """Motions, the true ones (n, 4) as right and down in widths, zoom and turn, and the times."""
    pictures, times = looks(shot)
    motions = camera_motions(pictures, list(pairwise(range(len(pictures)))))
    true = []
    for (x, y, zoom, turn), (next_x, next_y, next_zoom, next_turn) in pairwise(
        shot.camera_at(time_s) for time_s in times
    ):
        away = np.array([x - next_x, y - next_y]) * next_zoom
        cos, sin = np.cos(next_turn), np.sin(next_turn)
        true.append(
            (cos * away[0] - sin * away[1], sin * away[0] + cos * away[1], next_zoom / zoom - 1, next_turn - turn)
        )
    return motions, np.array(true), times


MOVING = {
    "slow pan": {"drift": (0.01, 0.004)},
    "pan": {"drift": (0.3, 0.0)},
    "whip": {"drift": (0.8, 0.0)},
    "zoom in": {"zoom": 1.03},
    "fast zoom out": {"zoom": 0.85},
    "turn": {"turn": 0.05},
    "shake": {"shake": 0.003},
    "shake behind a large person": {"shake": 0.004, "stature": 1.6, "motion": 0.1},
    "pan with a person who walks": {"drift": (0.05, 0.0), "walk": 0.1, "stature": 1.5},
}
STILL = {
    "nobody moves": {"motion": 0.0},
    "a large person": {"stature": 1.6, "motion": 0.1},
    "somebody walks": {"walk": 0.15},
    "grain": {"grain": 8.0, "motion": 0.1},
    "a dark room": {"brightness": 0.3, "motion": 0.1},
    "a bare wall": {"detail": 0, "stature": 1.6, "motion": 0.15},
}


@pytest.mark.parametrize("name", MOVING)
def test_moving_camera_is_measured(name: str) -> None:
    motions, true, times = found(Shot(1, 3.0, **{"detail": 16, **MOVING[name]}))
    measured = np.array([(m.right * PICTURE_PX, m.down * PICTURE_PX, m.zoom, m.turn) for m in motions])
    errors = np.abs(measured - true * [SIZE[0], SIZE[0], 1, 1])
    assert np.median(errors[:, :2]) < 0.03 + 0.002 * np.abs(true[:, :2]).max() * SIZE[0], "px"
    assert np.median(errors[:, 2:]) < 5e-4
    assert busiest_second(motions, times, ASPECT).speed > THRESHOLD


@pytest.mark.parametrize("name", STILL)
def test_people_before_a_still_camera_do_not_count(name: str) -> None:
    motions, _, times = found(Shot(1, 3.0, **{"detail": 16, **STILL[name]}))
    assert busiest_second(motions, times, ASPECT).speed < THRESHOLD / 2


@pytest.mark.parametrize(
    ("shot", "kind"),
    [(Shot(1, 3.0, detail=16, drift=(0.1, 0)), "pan"), (Shot(1, 3.0, detail=16, zoom=1.1), "zoom"),
     (Shot(1, 3.0, detail=16, turn=0.1), "turn"), (Shot(1, 3.0, detail=16, shake=0.01), "shake")],
)  # fmt: skip
def test_kind_of_motion(shot: Shot, kind: str) -> None:
    motions, _, times = found(shot)
    assert busiest_second(motions, times, ASPECT).kind == kind


def steady(right: float, count: int) -> tuple[list[Motion], list[float]]:
    return [Motion(right=right, support=1.0)] * count, [0.08 * k for k in range(count + 1)]


def test_speed_of_a_steady_pan_is_its_speed() -> None:
    motions, times = steady(0.0008, 40)
    assert busiest_second(motions, times, 1.5).speed == pytest.approx(0.01, rel=0.1)


def test_busiest_second_is_found_and_single_wrong_measurements_are_not() -> None:
    motions, times = steady(0.0, 60)
    motions[30] = Motion(right=0.2, support=0.5)
    assert busiest_second(motions, times, 1.5).speed == 0
    motions[40:53] = [Motion(zoom=0.008, support=0.9)] * 13
    best = busiest_second(motions, times, 1.5)
    assert best.kind == "zoom" and best.at_s == pytest.approx(40 * 0.08, abs=0.5)
    assert best.speed == pytest.approx(0.1 * mean_radius(1.5), rel=0.15)


def test_what_cannot_be_seen_is_no_motion() -> None:
    motions, times = [Motion()] * 10, [0.08 * k for k in range(11)]
    assert busiest_second(motions, times, 1.5) == Busiest(0.0, "unseen", 0.0)
    assert busiest_second([], [4.0], 1.5) == Busiest(0.0, "still", 4.0)
