"""What is measured of a chunk's new frames before it is kept.

Legend: t frames, pictures (h, w, 3) uint8 as `pictures.shrink` makes them; levels are those of 0-255.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from infinitetalk_cli.quality.colour import palette, palette_distance
from infinitetalk_cli.quality.pictures import lightness

DARK_LEVEL = 20.0
"""A frame is black if 95 % of it is darker (video black is 16)."""

FLAT_SPREAD = 4.0
"""A frame is empty if from its darkest to its lightest 5 % there are fewer levels."""

PICTURE_LEVEL, PICTURE_SPREAD = 40.0, 12.0
"""Frames can only be black or empty by mistake if the reference is lighter and richer than this."""

STILL_LEVELS = 1
"""Two frames are the same if no cell of the small picture differs by more: one step of rounding."""

EVEN_CHANGE = 0.25
"""Least change from frame to frame, in levels, that a seam is compared with."""


@dataclass(frozen=True, eq=False)
class ChunkPictures:
    """The small pictures of a chunk, and what they are held against.

    `new` (t, h, w, 3); `reference` (h, w, 3) the source frame it was made from; `previous` (k, h, w, 3) the last frames
    that were kept before it, empty where a stream begins; `source` (t, h, w, 3) the source's frames at the same times
    where the chunk follows them, else None; `speaks` (t,) whether somebody speaks.
    """

    new: np.ndarray
    reference: np.ndarray
    previous: np.ndarray
    source: np.ndarray | None
    speaks: np.ndarray

    @property
    def shown(self) -> np.ndarray:
        """The new frames with the last kept one before them, if there is one."""
        return np.concatenate((self.previous[-1:], self.new))


@dataclass(frozen=True)
class ChunkMeasures:
    """Figures of one chunk. `seam`, `mouth_in_silence` None: nothing to measure it on."""

    black_frames: int
    """Frames that are black, or empty of any picture, while the reference is not, nor a followed source."""
    frozen_frames: int
    """Frames in which somebody speaks, in the longest run of equal frames."""
    color_step: float
    """CIEDE2000 of the largest change of the palette from frame to frame, beyond what the conditions ask for."""
    color_reference: float
    """CIEDE2000 between the palettes of the chunk (median) and of its reference frame, or of the followed source."""
    seam: float | None
    """Change from the last kept frame to the first new one, not towards the reference, over the median change."""
    mouth_in_silence: float | None = None
    """Motion of the mouth over that of the rest of the face while nobody speaks."""


def measure(pictures: ChunkPictures) -> ChunkMeasures:
    """All figures but that of the mouth, which needs a face."""
    colours = palette(pictures.shown)
    reference = palette(pictures.reference)
    return ChunkMeasures(
        black_frames=_black_frames(pictures),
        frozen_frames=_frozen_frames(pictures),
        color_step=_color_step(pictures, colours, reference),
        color_reference=_color_reference(pictures, colours[len(colours) - len(pictures.new) :], reference),
        seam=_seam(pictures),
    )


def _black_frames(pictures: ChunkPictures) -> int:
    return int((_is_black(pictures.new, pictures.reference) & ~_source_is_black(pictures)).sum())


def _source_is_black(pictures: ChunkPictures) -> np.ndarray:
    """(t,) bool: where the followed source itself shows nothing, as in a fade; False where none is followed."""
    if pictures.source is None:
        return np.zeros(len(pictures.new), bool)
    return _is_black(pictures.source, pictures.reference)


def _is_black(frames: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """(t,) bool: which of `frames` (t, h, w, 3) are black, or empty of any picture, while `reference` is not."""
    dark, light = np.quantile(lightness(reference), (0.05, 0.95))
    lows, highs = np.quantile(lightness(frames).reshape(len(frames), -1), (0.05, 0.95), axis=1)
    black = highs < DARK_LEVEL if light > PICTURE_LEVEL else np.zeros(len(highs), bool)
    empty = highs - lows < FLAT_SPREAD if light - dark > PICTURE_SPREAD else np.zeros(len(highs), bool)
    return black | empty


def _frozen_frames(pictures: ChunkPictures) -> int:
    """Of a run of equal frames those count in which the voice speaks: a still picture of a silent person is right."""
    changes = np.abs(np.diff(pictures.new.astype(np.int16), axis=0)).max(axis=(1, 2, 3))
    runs = np.cumsum(changes > STILL_LEVELS)
    counted = pictures.speaks & ~_source_is_black(pictures)
    return int(np.bincount(runs, weights=counted[1:], minlength=1).max())


def _color_step(pictures: ChunkPictures, colours: np.ndarray, reference: np.ndarray) -> float:
    """A step to the reference's colours at the boundary is asked for, and so are the steps of a followed source."""
    steps = palette_distance(colours[1:], colours[:-1])
    if not len(steps):
        return 0.0
    if len(pictures.previous):
        steps[0] -= min(steps[0], float(palette_distance(colours[0], reference)))
    if pictures.source is not None:
        shown = palette(pictures.source)
        followed = palette_distance(shown[1:], shown[:-1])
        steps = steps - np.minimum(steps, followed.max(initial=0.0))
    return round(float(steps.max()), 3)


def _color_reference(pictures: ChunkPictures, colours: np.ndarray, reference: np.ndarray) -> float:
    distances = palette_distance(colours, reference)
    if pictures.source is not None:
        distances = np.minimum(distances, palette_distance(colours, palette(pictures.source)))
    return round(float(np.median(distances)), 3)


def _seam(pictures: ChunkPictures) -> float | None:
    """By how much the picture comes nearer to its reference is asked for: no other noise would change it."""
    if not len(pictures.previous):
        return None
    frames = np.concatenate((pictures.previous, pictures.new)).astype(np.int16)
    changes = np.abs(np.diff(frames, axis=0)).mean(axis=(1, 2, 3))
    place = len(pictures.previous) - 1
    others = np.delete(changes, place)
    usual = float(np.median(others)) if len(others) else 0.0
    before, after = np.abs(frames[place : place + 2] - pictures.reference).mean(axis=(1, 2, 3))
    change = changes[place] - max(0.0, float(before - after))
    return round(max(0.0, float(change)) / max(usual, EVEN_CHANGE), 3)
