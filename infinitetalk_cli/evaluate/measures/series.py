"""What the measures share: curves over frames at 25 fps, made comparable, correlated, held against chance."""

from __future__ import annotations

import numpy as np
from scipy.signal import butter, sosfiltfilt

from infinitetalk_cli.units import MODEL_RATE

RATE = float(MODEL_RATE)
LEAST_SHIFT_FRAMES = int(RATE) + 1
"""Curves moved against each other by more than a second have nothing to do with each other."""
NULL_SHIFTS = 200
FEWEST_FRAMES = 3 * LEAST_SHIFT_FRAMES
"""A curve shorter than this leaves too few shifts to be held against."""


def highpass(values: np.ndarray, hz: float = 0.5) -> np.ndarray:
    """(t,) without what changes more slowly than `hz`, in deviations from its mean; zeros if it never changes."""
    if len(values) < 20:
        kept = values - values.mean()
    else:
        kept = sosfiltfilt(butter(2, hz / (RATE / 2), "high", output="sos"), values)
    spread = kept.std()
    return kept / spread if spread > 1e-9 else np.zeros_like(kept)


def correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Pearson's of two (t,) curves; 0 if one of them never changes."""
    one, other = one - one.mean(), other - other.mean()
    scale = float(np.sqrt((one**2).sum() * (other**2).sum()))
    return float((one * other).sum() / scale) if scale > 1e-12 else 0.0


def lagged(seen: np.ndarray, heard: np.ndarray, reach: int) -> np.ndarray:
    """Correlation (2 reach + 1,) at lags -reach .. reach; at a positive lag the picture is late."""
    count = min(len(seen), len(heard))
    seen, heard = seen[:count], heard[:count]
    return np.array([
        correlation(seen[max(lag, 0) : count + min(lag, 0)], heard[max(-lag, 0) : count - max(lag, 0)])
        for lag in range(-reach, reach + 1)
    ])  # fmt: skip


def peak_of(curve: np.ndarray) -> tuple[float, float]:
    """(place, height) of the highest value, the place between samples by a parabola through its neighbours."""
    at = int(curve.argmax())
    if not 0 < at < len(curve) - 1:
        return float(at), float(curve[at])
    before, top, after = curve[at - 1 : at + 2]
    bend = before - 2 * top + after
    off = 0.0 if bend == 0 else 0.5 * (before - after) / bend
    return at + float(off), float(top - 0.25 * (before - after) * off)


def null_shifts(num_frames: int) -> np.ndarray:
    """Up to 200 circular shifts, in frames, by more than a second either way, evenly spread."""
    first, last = LEAST_SHIFT_FRAMES, num_frames - LEAST_SHIFT_FRAMES
    if last <= first:
        return np.zeros(0, int)
    return np.unique(np.linspace(first, last, min(NULL_SHIFTS, last - first + 1)).round().astype(int))


def percentile(value: float, null: np.ndarray) -> float:
    """Share of `null` below `value`, 0-100; equal ones count half."""
    return 100 * float((null < value).mean() + 0.5 * (null == value).mean())


def theil_sen(values: np.ndarray, times: np.ndarray) -> float:
    """Median slope over all pairs of points; of long curves, of points evenly taken from them."""
    if len(values) > 1000:
        taken = np.linspace(0, len(values) - 1, 1000).round().astype(int)
        values, times = values[taken], times[taken]
    one, other = np.triu_indices(len(values), 1)
    return float(np.median((values[other] - values[one]) / (times[other] - times[one])))


def end_minus_start(values: np.ndarray, share: float = 0.15) -> float:
    """Mean of the last `share` less mean of the first."""
    count = max(1, round(share * len(values)))
    return float(values[-count:].mean() - values[:count].mean())


def loudness(samples: np.ndarray, num_frames: int) -> np.ndarray:
    """(t,) log of the root mean square of 16 kHz `samples` (n,) in each frame; far below speech all is equal."""
    per_frame = int(16000 / RATE)
    padded = np.zeros(num_frames * per_frame)
    count = min(len(samples), len(padded))
    padded[:count] = samples[:count]
    power = np.sqrt((padded.reshape(num_frames, per_frame) ** 2).mean(axis=1))
    floor = max(1e-4, 0.01 * float(np.quantile(power, 0.98)))
    return np.log(np.maximum(power, floor))
