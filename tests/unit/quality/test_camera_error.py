"""The camera error: what it is for cameras whose paths are known, and beside made footage."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
from footage import Shot, shoot

from infinitetalk_cli.quality.camera_error import camera_error
from infinitetalk_cli.stages.camera_check import CameraCheck
from infinitetalk_cli.stages.keyframes import ChunkPlan, PlannedScene

RATE = Fraction(25)


def steps(right: float = 0.0, zoom: float = 0.0, count: int = 24) -> np.ndarray:
    return np.tile([right, 0.0, zoom, 0.0], (count, 1))


def test_equal_paths_do_not_differ() -> None:
    seen = np.ones(24, bool)
    found = camera_error(steps(0.01), steps(0.01), seen, 100.0, 0.4)
    assert found.error_px == 0 and found.num_steps == 24 and found.seen == 1
    # 25 places, 1 px apart: their deviation.
    assert found.source_px == pytest.approx(np.std(np.arange(25)), abs=1e-3)


def test_a_still_camera_errs_by_the_sources_motion() -> None:
    found = camera_error(steps(), steps(0.01, 0.005), np.ones(24, bool), 100.0, 0.4)
    assert found.error_px == found.source_px > 7
    doubled = camera_error(steps(0.02), steps(0.01), np.ones(24, bool), 100.0, 0.4)
    assert doubled.error_px == pytest.approx(doubled.source_px)


def test_zoom_counts_by_how_far_it_moves_points() -> None:
    found = camera_error(steps(), steps(zoom=0.01), np.ones(24, bool), 100.0, 0.4)
    assert found.source_px == pytest.approx(0.4 * np.std(np.arange(25)), abs=1e-3)


def test_what_cannot_be_judged_is_left_out() -> None:
    seen = np.arange(24) % 3 > 0
    wild = np.where(seen[:, None], steps(0.01), 5.0)
    assert camera_error(wild, steps(0.01), seen, 100.0, 0.4).error_px == 0
    few = camera_error(steps(), steps(), np.arange(24) % 3 == 0, 100.0, 0.4)
    assert few.error_px is None and few.source_px is None and few.seen == pytest.approx(1 / 3, abs=1e-3)


def plan_of(*edges: int) -> ChunkPlan:
    scenes = [PlannedScene(start_frame=start, stop_frame=stop, kind="cut") for start, stop in pairwise(edges)]
    return ChunkPlan(num_frames=edges[-1], chunks=(), scenes=tuple(scenes), streams=())


def film(*shots: Shot) -> list[np.ndarray]:
    return [frame.astype(np.uint8) for shot in shots for frame in shoot(shot, RATE)]


def checked(made: list[np.ndarray | None], source: list[np.ndarray], plan: ChunkPlan):
    reader = SimpleNamespace(size=(96, 160), index_at=lambda frame: frame, frames=lambda at: [source[k] for k in at])
    check = CameraCheck(reader, plan)
    for frame, picture in enumerate(made):
        if picture is not None:
            check.see(frame, picture)
    return check.scenes()


def test_a_camera_that_follows_and_one_that_does_not() -> None:
    """Other people in other light: only the camera is compared."""
    moving = {"detail": 16, "drift": (0.06, 0.02)}
    source = film(Shot(1, 1.6, **moving), Shot(2, 1.6, detail=16))
    follows = film(Shot(1, 1.6, brightness=0.8, motion=0.1, **moving), Shot(2, 1.6, detail=16, grain=3.0))
    stands = film(Shot(1, 1.6, detail=16), Shot(2, 1.6, detail=16))
    plan = plan_of(0, 40, 80)
    good, calm = checked(follows, source, plan)
    bad, _ = checked(stands, source, plan)
    # A drift of 0.063 widths per second over 1.52 s spreads by its length over the root of 12.
    assert good.source_px == pytest.approx(0.0632 * 160 * 1.52 / 12**0.5, rel=0.1)
    assert good.error_px < 0.15 * good.source_px and bad.error_px == pytest.approx(bad.source_px, rel=0.15)
    assert calm.source_px < 0.2 and calm.error_px < 0.3
    assert (good.scene, calm.scene, good.num_steps) == (0, 1, 19)


def test_frames_that_are_kept_are_no_step() -> None:
    source = film(Shot(1, 1.6, detail=16, drift=(0.06, 0.0)))
    made: list[np.ndarray | None] = list(source)
    made[14:26] = [None] * 12
    (found,) = checked(made, source, plan_of(0, 40))
    assert found.num_steps == 6 + 6 and found.error_px < 0.05


def test_a_scene_without_a_background_says_nothing() -> None:
    bare = film(Shot(1, 0.8, detail=0, grain=0.0, shake=0.02))
    (found,) = checked(bare, bare, plan_of(0, 20))
    assert found.error_px is None
