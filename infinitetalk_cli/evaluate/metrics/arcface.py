"""ArcFace (Deng et al. 2019, arXiv 1801.07698): a face as 512 numbers, from the ONNX file of a published network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.ndimage import affine_transform

SIDE_PX = 112
EMBEDDING = 512

TEMPLATE = np.array(
    [(38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655), (70.7299, 92.2041)]
)
"""Where left eye, right eye, nose, mouth left and mouth right lie in 112 x 112 px, x and y."""

_MEAN = _SPREAD = 127.5


@dataclass(frozen=True, eq=False)
class Embedder:
    """Runs an onnxruntime `session` of the file."""

    session: Any

    def embedding(self, face_u8: np.ndarray) -> np.ndarray:
        """(512,) float32 of length 1 of an `aligned` face."""
        fed = ((face_u8.astype(np.float32) - _MEAN) / _SPREAD).transpose(2, 0, 1)[None]
        (values,) = self.session.run(None, {self.session.get_inputs()[0].name: fed})
        row = values.reshape(-1).astype(np.float32)
        return row / np.linalg.norm(row)


def similarity(points: np.ndarray, template: np.ndarray = TEMPLATE) -> np.ndarray:
    """(2, 3): the turn, scale and shift without mirroring that bring `points` (n, 2) closest to `template`.

    Least squares: Umeyama 1991 (doi 10.1109/34.88573).
    """
    middle, target = points.mean(axis=0), template.mean(axis=0)
    centred = points - middle
    left, singular, right = np.linalg.svd((template - target).T @ centred / len(points))
    signs = np.array([1.0, np.sign(np.linalg.det(left @ right))])
    turn = left @ np.diag(signs) @ right
    scale = (singular * signs).sum() / centred.var(axis=0).sum()
    return np.concatenate((scale * turn, (target - scale * turn @ middle)[:, None]), axis=1)


def aligned(frame_u8: np.ndarray, points: np.ndarray) -> np.ndarray:
    """(112, 112, 3) uint8: `frame_u8` (h, w, 3) with its `points` (5, 2) on the template; bilinear, black outside."""
    forward = similarity(points)
    back = np.linalg.inv(forward[:, :2])
    # scipy counts rows first, and asks where each pixel of the result comes from.
    matrix, offset = back[::-1, ::-1], (-back @ forward[:, 2])[::-1]
    size = (SIDE_PX, SIDE_PX)
    channels = [
        affine_transform(frame_u8[..., c].astype(np.float32), matrix, offset, size, order=1, mode="grid-constant")
        for c in range(3)
    ]
    return np.stack(channels, axis=-1).round().clip(0, 255).astype(np.uint8)
