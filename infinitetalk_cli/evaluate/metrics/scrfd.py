"""SCRFD (Guo et al. 2021, arXiv 2105.04714): faces with five points, from the ONNX file of a published detector.

The file holds the network alone; what its outputs mean is written here. At every second place of three grids (8, 16 and
32 px apart, two guesses per place) it gives a score, distances to the sides of a box and to five points, in steps of
the grid. Boxes are (left, top, right, bottom), points (x, y).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from infinitetalk_cli.evaluate.metrics.s3fd import suppressed

SIDE_PX = 640
SCORE, OVERLAP = 0.5, 0.4

_STRIDES_PX = (8, 16, 32)
_GUESSES = 2
_MEAN, _SPREAD = 127.5, 128.0


@dataclass(frozen=True, eq=False)
class Face:
    """box (4,), points (5, 2) in pixels of the frame: left eye, right eye, nose, mouth left, mouth right; score 0-1."""

    box: np.ndarray
    points: np.ndarray
    score: float

    @property
    def area(self) -> float:
        """Of the box, in square pixels."""
        return float((self.box[2:] - self.box[:2]).prod())


@dataclass(frozen=True, eq=False)
class Detector:
    """Runs an onnxruntime `session` of the file."""

    session: Any

    def faces(self, frame_u8: np.ndarray) -> list[Face]:
        """The faces of a frame (h, w, 3), the surest first."""
        fed, scale = fitted(frame_u8)
        name = self.session.get_inputs()[0].name
        return decoded(self.session.run(None, {name: fed}), scale)

    def largest(self, frame_u8: np.ndarray) -> Face | None:
        """The largest face of a frame, if there is one."""
        return max(self.faces(frame_u8), key=lambda face: face.area, default=None)


def fitted(frame_u8: np.ndarray) -> tuple[np.ndarray, float]:
    """float32 (1, 3, 640, 640) of a frame (h, w, 3), its longer side at 640 px, black beside it; and the scale."""
    height, width = frame_u8.shape[:2]
    scale = SIDE_PX / max(height, width)
    size = (int(height * scale), int(width * scale))
    levels = torch.from_numpy(np.ascontiguousarray(frame_u8)).movedim(-1, 0)[None].float()
    resized = F.interpolate(levels, size, mode="bilinear", align_corners=False).round()
    padded = F.pad(resized, (0, SIDE_PX - size[1], 0, SIDE_PX - size[0]))
    return ((padded - _MEAN) / _SPREAD).numpy(), size[0] / height


def decoded(outputs: Sequence[np.ndarray], scale: float) -> list[Face]:
    """The faces in what the network puts out, per grid scores (p, 1), box (p, 4) and point (p, 10) distances."""
    boxes, points, scores = [], [], []
    for stride in _STRIDES_PX:
        places = _places(stride)
        parts = {
            rows.shape[-1]: rows for rows in (o.reshape(-1, o.shape[-1]) for o in outputs) if len(rows) == len(places)
        }
        likely = parts[1][:, 0] >= SCORE
        places, sides, offsets = places[likely], parts[4][likely] * stride, parts[10][likely] * stride
        boxes.append(np.concatenate((places - sides[:, :2], places + sides[:, 2:]), axis=1))
        points.append(places[:, None] + offsets.reshape(-1, 5, 2))
        scores.append(parts[1][likely, 0])
    box, point, score = np.concatenate(boxes), np.concatenate(points), np.concatenate(scores)
    best = np.argsort(-score, kind="stable")
    kept = best[suppressed(box[best], OVERLAP)]
    return [Face(box[place] / scale, point[place] / scale, float(score[place])) for place in kept]


def _places(stride: int) -> np.ndarray:
    """(p, 2) x and y of every guess on a grid, row by row."""
    side = np.arange(SIDE_PX // stride) * stride
    x, y = np.meshgrid(side, side)
    return np.stack((x, y), axis=-1).reshape(-1, 2).repeat(_GUESSES, axis=0).astype(np.float32)
