"""Face boxes from the detector that needs no weight file (extra `eval`: dlib-bin)."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest

from infinitetalk_cli.errors import DependencyError
from infinitetalk_cli.evaluate.metrics import face_box


class Script(face_box.FaceBoxes):
    """Finds the boxes it was told, by the level of the frame."""

    def __init__(self, boxes: dict[int, list[float] | None]) -> None:
        self.told, self.asked = boxes, []

    def box(self, frame: np.ndarray) -> np.ndarray | None:
        self.asked.append(int(frame[0, 0, 0]))
        found = self.told[self.asked[-1]]
        return None if found is None else np.array(found)


def frames(count: int) -> list[np.ndarray]:
    return [np.full((4, 4, 3), index, np.uint8) for index in range(count)]


def test_boxes_between_looks_are_on_the_way() -> None:
    finder = Script({0: [0, 0, 10, 10], 5: [10, 0, 20, 10], 7: [14, 0, 24, 10]})
    found = finder.boxes(frames(8), every=5)
    assert finder.asked == [0, 5, 7]
    assert found[:, 0].tolist() == [0, 2, 4, 6, 8, 10, 12, 14]


def test_a_frame_without_a_face_makes_its_stretch_unknown() -> None:
    found = Script({0: [0, 0, 1, 1], 2: None, 4: [0, 0, 1, 1], 6: [0, 0, 1, 1]}).boxes(frames(7), every=2)
    assert np.isnan(found[:, 0]).tolist() == [False, True, True, True, False, False, False]


def test_no_frames() -> None:
    assert Script({}).boxes([]).shape == (0, 4)


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    missing = face_box.available("mouth motion")
    assert missing.reason == "unavailable" and "mouth motion needs dlib-bin" in missing.remedy
    with pytest.raises(DependencyError, match=r"infinitetalk\[eval\]"):
        face_box.FaceBoxes()


def test_a_photograph() -> None:
    """scikit-image's portrait; a picture of nothing has no face."""
    pytest.importorskip("dlib")
    data = pytest.importorskip("skimage.data")
    finder = face_box.FaceBoxes()
    left, top, right, bottom = finder.box(data.astronaut())
    assert left < 215 < 235 < right and top < 100 < 140 < bottom  # eyes to mouth
    assert 70 < right - left < 140 and 70 < bottom - top < 140
    assert finder.box(np.full((200, 200, 3), 90, np.uint8)) is None
