"""How alike two pictures look in shape: a measure without a trained network, so it knows no faces from each other.

Every cell of a picture is described by where its edges point (a histogram of oriented gradients), normed by the edges
around it. Light and colour hardly count; where things are does. Two pictures of one person in other poses score lower
than two in the same pose, and so may two different people in one pose score high: it tells that a picture has drifted,
not who is in it.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

from infinitetalk_cli.quality.pictures import lightness

SIDE_PX = 64
_CELL_PX, _DIRECTIONS = 8, 9
_FAINT = 4.0
"""Levels of change per pixel that count as no edge at all."""


def likeness(one_u8: np.ndarray, other_u8: np.ndarray) -> float:
    """0-1 of two pictures (h, w, 3), the mean over cells of the cosine of their edges; 1 for the same picture."""
    one, other = descriptor(one_u8), descriptor(other_u8)
    return round(float((one * other).sum(axis=-1).mean()), 4)


def descriptor(picture_u8: np.ndarray) -> np.ndarray:
    """Edges of each cell and its neighbours, (rows, columns, 9 * 9) of length 1."""
    size = (SIDE_PX, SIDE_PX)
    small = np.asarray(Image.fromarray(np.ascontiguousarray(picture_u8)).resize(size, Image.Resampling.BOX))
    down, across = np.gradient(lightness(small))
    strength = np.hypot(down, across)
    direction = np.floor(np.arctan2(down, across) / np.pi * _DIRECTIONS).astype(int) % _DIRECTIONS
    num_cells = SIDE_PX // _CELL_PX
    rows, columns = np.indices(strength.shape) // _CELL_PX
    bins = (rows * num_cells + columns) * _DIRECTIONS + direction
    summed = np.bincount(bins.ravel(), weights=strength.ravel(), minlength=num_cells**2 * _DIRECTIONS)
    cells = summed.reshape(num_cells, num_cells, _DIRECTIONS)
    faint = np.full((num_cells, num_cells, 1), _FAINT * _CELL_PX)
    padded = np.pad(np.concatenate((cells, faint), axis=-1), ((1, 1), (1, 1), (0, 0)), mode="edge")
    around = [padded[row : row + num_cells, column : column + num_cells] for row in range(3) for column in range(3)]
    joined = np.concatenate(around, axis=-1)
    return joined / np.linalg.norm(joined, axis=-1, keepdims=True)
