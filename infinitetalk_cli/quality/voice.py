"""Where somebody speaks and where nobody does, from how loud each frame of the picture's time is."""

from __future__ import annotations

import numpy as np

SPEAKING_DB, SILENT_DB = 20.0, 30.0
"""So far below the loud places of the voice at most, or at least."""

AUDIBLE_DB = -60.0
"""A voice that is never louder than this, of full scale, does not speak."""

MIN_SILENCE_FRAMES = 12
"""Half a second: lips may move in the pauses between words."""


def is_speaking(levels_db: np.ndarray) -> np.ndarray:
    """(t,) bool of the levels (t,) of a whole voice."""
    loud = _loud(levels_db)
    return (levels_db >= loud - SPEAKING_DB) & (loud > AUDIBLE_DB)


def is_silent(levels_db: np.ndarray) -> np.ndarray:
    """(t,) bool: at least `MIN_SILENCE_FRAMES` in which nothing is said; not simply the contrary of `is_speaking`."""
    loud = _loud(levels_db)
    quiet = (levels_db < loud - SILENT_DB) | (loud <= AUDIBLE_DB)
    edges = np.flatnonzero(np.diff(np.concatenate(([False], quiet, [False])).astype(np.int8)))
    for start, stop in zip(edges[::2], edges[1::2], strict=True):
        if stop - start < MIN_SILENCE_FRAMES:
            quiet[start:stop] = False
    return quiet


def _loud(levels_db: np.ndarray) -> float:
    """What 2 % of the audible frames reach: however much of a film is silent, its voice is as loud."""
    audible = levels_db[levels_db > AUDIBLE_DB]
    return float(np.quantile(audible, 0.98)) if len(audible) else -np.inf
