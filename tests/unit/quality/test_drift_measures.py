"""Likeness of pictures, and the drift minute by minute."""

from __future__ import annotations

import footage
import numpy as np

from infinitetalk_cli.quality.drift import DriftSample, per_minute
from infinitetalk_cli.quality.likeness import likeness
from infinitetalk_cli.units import MODEL_RATE


def test_likeness_orders_pictures_as_it_should() -> None:
    frames = [frame.astype(np.uint8) for frame in footage.shoot(footage.Shot(3, 3.0), MODEL_RATE)]
    other = footage.shoot(footage.Shot(8, 1.0), MODEL_RATE)[0].astype(np.uint8)
    same, later, stranger = (likeness(frames[0], picture) for picture in (frames[0], frames[20], other))
    assert same == 1 and same > later > stranger + 0.1
    darker = (frames[0] * 0.7).astype(np.uint8)
    assert likeness(frames[0], darker) > 0.95, "light hardly counts"


def test_minutes_leave_out_what_is_the_sources_own() -> None:
    samples = [
        DriftSample(10.5, 1.0, 0.9, None, 0.5, 0.95),
        DriftSample(11.5, 3.0, 0.7, 0.8),
        DriftSample(12.5),
        DriftSample(60.5, 5.0, 0.5),
        DriftSample(180.5),
    ]
    first, second, last = per_minute(samples)
    assert (first.minute, first.num_samples, first.num_kept) == (0, 3, 1)
    assert (first.delta_e, first.delta_e_highest, first.likeness, first.likeness_lowest) == (2.0, 3.0, 0.8, 0.7)
    assert (first.face_likeness, first.source_delta_e, first.source_likeness) == (0.8, 0.5, 0.95)
    assert (second.minute, second.delta_e) == (1, 5.0)
    assert (last.minute, last.num_kept, last.delta_e, last.likeness) == (3, 1, None, None)
