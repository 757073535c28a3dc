"""From phonemes with their times to the shape of a mouth, frame by frame."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

TRACK_RATE_HZ = 200
FRAME_RATE = 25
SMOOTHING_S = 0.040
CLOSURE_S = 0.075
"""Shortest time that the lips stay closed on m, b, p."""
CLOSURE_EDGE_S = 0.020

_REST = (0.0, 0.45, 0.0, 0.1)
# (openness, width, teeth, tongue), all 0..1; width 0 is a round "oo", 1 a wide "ee".
_SHAPES: dict[str, tuple[float, float, float, float]] = {
    **dict.fromkeys("aɑæɐä", (1.0, 0.60, 0.45, 0.35)),
    **dict.fromkeys("ɒɔ", (0.85, 0.25, 0.20, 0.25)),
    **dict.fromkeys("ʌ", (0.75, 0.50, 0.35, 0.35)),
    **dict.fromkeys("ɛœ", (0.70, 0.72, 0.55, 0.40)),
    **dict.fromkeys("eø", (0.52, 0.80, 0.60, 0.45)),
    **dict.fromkeys("əɜɚɝɘɵ", (0.45, 0.50, 0.40, 0.35)),
    **dict.fromkeys("iɪɨ", (0.30, 0.98, 0.80, 0.45)),
    **dict.fromkeys("oʊ", (0.52, 0.10, 0.10, 0.20)),
    **dict.fromkeys("uɯ", (0.30, 0.00, 0.00, 0.20)),
    **dict.fromkeys("yʏ", (0.26, 0.05, 0.10, 0.30)),
    **dict.fromkeys("mbp", (0.0, 0.42, 0.0, 0.1)),
    **dict.fromkeys("fv", (0.14, 0.50, 0.95, 0.1)),
    **dict.fromkeys("wʍɥ", (0.16, 0.00, 0.0, 0.2)),
    **dict.fromkeys("szʃʒɕʑʂʐ", (0.20, 0.62, 0.95, 0.2)),
    **dict.fromkeys("θð", (0.26, 0.55, 0.70, 0.95)),
    **dict.fromkeys("lɫʎ", (0.38, 0.55, 0.55, 0.95)),
    **dict.fromkeys("tdnɲɾ", (0.26, 0.58, 0.70, 0.70)),
    **dict.fromkeys("rɹɻʁʀ", (0.32, 0.30, 0.35, 0.45)),
    **dict.fromkeys("kgɡŋxçɣh", (0.36, 0.52, 0.40, 0.25)),
    **dict.fromkeys("j", (0.26, 0.90, 0.70, 0.45)),
}
_LIPS_CLOSED = frozenset("mbp")
_IGNORED = frozenset("ˈˌːˑ.,-_'|() ")


@dataclass(frozen=True)
class MouthTrack:
    """Mouth by frame at 25 fps, each array (num_frames,) float32 in 0..1.

    openness: 0 closed, 1 wide open; width: 0 round, 1 wide; teeth and tongue: how much of them is visible.
    """

    openness: np.ndarray
    width: np.ndarray
    teeth: np.ndarray
    tongue: np.ndarray

    def __len__(self) -> int:
        return len(self.openness)

    def __getitem__(self, span: slice) -> MouthTrack:
        return MouthTrack(self.openness[span], self.width[span], self.teeth[span], self.tongue[span])

    def stacked(self) -> np.ndarray:
        """(num_frames, 4) float32: openness, width, teeth, tongue."""
        return np.stack([self.openness, self.width, self.teeth, self.tongue], axis=1)

    @classmethod
    def from_stacked(cls, rows: np.ndarray) -> MouthTrack:
        """Inverse of `stacked`."""
        return cls(*np.ascontiguousarray(rows.T.astype(np.float32)))


def shape_of(phoneme: str) -> tuple[float, float, float, float] | None:
    """(openness, width, teeth, tongue) of one phoneme in IPA; None for marks that are no sound."""
    if phoneme.startswith("("):  # espeak-ng's marker for a change of language
        return None
    for letter in phoneme:
        if letter in _SHAPES:
            return _SHAPES[letter]
        if letter not in _IGNORED:
            return (0.3, 0.5, 0.4, 0.3)
    return _REST


def _smoothed(values: np.ndarray, deviation_s: float) -> np.ndarray:
    radius = math.ceil(3 * deviation_s * TRACK_RATE_HZ)
    kernel = np.exp(-0.5 * (np.arange(-radius, radius + 1) / (deviation_s * TRACK_RATE_HZ)) ** 2)
    padded = np.pad(values, (radius, radius), mode="edge")
    return np.convolve(padded, kernel / kernel.sum(), mode="valid")


def mouth_track(phonemes: list[tuple[float, str]], duration_s: float) -> MouthTrack:
    """Mouth at 25 fps from [(start in seconds, phoneme), ...]; frame f is the mouth at time f / 25.

    Targets are held for the length of a phoneme and smoothed at 200 Hz; on m, b and p the lips close for
    at least `CLOSURE_S` whatever their neighbours do. Number of frames: ceil(duration_s * 25).
    """
    num_ticks = max(1, math.ceil(duration_s * TRACK_RATE_HZ))
    targets = np.tile(np.array(_REST, np.float64), (num_ticks, 1))
    closure = np.ones(num_ticks)
    ends = [start for start, _ in phonemes[1:]] + [duration_s]
    for (start_s, phoneme), end_s in zip(phonemes, ends, strict=True):
        shape = shape_of(phoneme)
        if shape is None:
            continue
        targets[round(start_s * TRACK_RATE_HZ) : round(end_s * TRACK_RATE_HZ)] = shape
        if phoneme.strip("ˈˌ")[:1] in _LIPS_CLOSED:
            middle_s, length_s = (start_s + end_s) / 2, max(end_s - start_s, CLOSURE_S)
            first, last = middle_s - length_s / 2, middle_s + length_s / 2
            closure[max(0, round(first * TRACK_RATE_HZ)) : round(last * TRACK_RATE_HZ)] = 0
    smooth = np.stack([_smoothed(column, SMOOTHING_S) for column in targets.T], axis=1)
    lips_apart = _smoothed(closure, CLOSURE_EDGE_S)
    smooth[:, 0] *= lips_apart
    smooth[:, 2] *= lips_apart
    num_frames = math.ceil(round(duration_s * FRAME_RATE, 6))
    ticks = np.minimum(np.arange(num_frames) * (TRACK_RATE_HZ // FRAME_RATE), num_ticks - 1)
    return MouthTrack.from_stacked(np.clip(smooth[ticks], 0, 1))
