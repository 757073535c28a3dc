"""How well sound and picture agree, from SyncNet's embeddings: Sync-C, Sync-D and the offset.

Every row of the picture meets every row of the sound up to 15 frames away; the shift with the smallest mean distance
is the offset. Beyond its ends the sound goes on with rows of zeros, which decide the far shifts of very short clips.
Embeddings are not normalised. Chung and Zisserman 2016; the same as LSE-D and LSE-C of Wav2Lip (arXiv 2008.10010).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from infinitetalk_cli.evaluate.metrics.common import running_median

MAX_SHIFT_FRAMES = 15

_SMALL = 1e-6
"""Added to every difference before its length is taken, as torch's pairwise distance does."""
_SMOOTHING_TAPS = 9


@dataclass(frozen=True, eq=False)
class Agreement:
    """Of n rows; `max_shift` frames were searched to both sides.

    mean_distances (2 * max_shift + 1,) float32: by shift. offset_frames: positive where the sound is ahead.
    distance: Sync-D, the smallest mean distance; confidence: Sync-C, the median of the mean distances minus that.
    *_at_zero: the same without a shift. frame_confidence (n,): confidence of each row at the offset, smoothed.
    """

    mean_distances: np.ndarray
    offset_frames: int
    distance: float
    confidence: float
    distance_at_zero: float
    confidence_at_zero: float
    frame_confidence: np.ndarray


def agreement(picture: np.ndarray, sound: np.ndarray, max_shift: int = MAX_SHIFT_FRAMES) -> Agreement:
    """Compare embeddings `picture` and `sound`, both (n, d) with n of 1 or more.

    Raises:
        ValueError: the two differ in shape, or are empty.
    """
    if picture.shape != sound.shape or not len(picture):
        raise ValueError(f"embeddings of shape {picture.shape} and {sound.shape}; they must be equal and not empty")
    distances = _distances(picture, sound, max_shift)
    means = distances.mean(axis=0, dtype=np.float32)
    best, middle = int(means.argmin()), np.median(means)
    return Agreement(
        mean_distances=means,
        offset_frames=max_shift - best,
        distance=float(means[best]),
        confidence=float(middle - means[best]),
        distance_at_zero=float(means[max_shift]),
        confidence_at_zero=float(middle - means[max_shift]),
        frame_confidence=running_median(middle - distances[:, best], _SMOOTHING_TAPS),
    )


def _distances(picture: np.ndarray, sound: np.ndarray, max_shift: int) -> np.ndarray:
    """(n, 2 * max_shift + 1) float32: row i of the picture to row i - max_shift + j of the sound."""
    padded = np.pad(sound, ((max_shift, max_shift), (0, 0)))
    shifted = [padded[shift : shift + len(picture)] for shift in range(2 * max_shift + 1)]
    return np.stack([np.linalg.norm(picture - rows + _SMALL, axis=1) for rows in shifted], axis=1).astype(np.float32)
