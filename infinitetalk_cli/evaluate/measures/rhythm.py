"""Whether the body moves with the rhythm of the speech, corrected for chance; exploratory.

Beat scores as published reward density: random beats against random onsets score the higher the more there are. So both
directions of the score are held against the motion moved in a circle by more than a second, lags of up to 0.4 s are
searched there as well, and what is told is how far the true pairing lies above that.
"""

from __future__ import annotations

import numpy as np
from scipy.signal import butter, find_peaks, sosfiltfilt

from infinitetalk_cli.evaluate.measures.series import (
    FEWEST_FRAMES,
    RATE,
    correlation,
    lagged,
    loudness,
    null_shifts,
    percentile,
)
from infinitetalk_cli.evaluate.measures.trace import Trace

SIGMA_S = 0.1
LAGS_S = 0.4
_BAND_HZ = (0.5, 4.0)


def beat_score(beats_s: np.ndarray, others_s: np.ndarray) -> float:
    """Mean over `beats_s` of exp(-d^2 / (2 sigma^2)), d the distance to the nearest of `others_s`; 0 without any."""
    if not len(beats_s) or not len(others_s):
        return 0.0
    distance = np.abs(beats_s[:, None] - others_s[None]).min(axis=1)
    return float(np.exp(-(distance**2) / (2 * SIGMA_S**2)).mean())


def motion_beats(speed: np.ndarray) -> np.ndarray:
    """Frames at which the body is slowest for a moment: where a gesture or a nod lands."""
    smooth = np.convolve(np.pad(speed, 2, mode="edge"), np.ones(5) / 5, mode="valid")
    depth = 0.1 * (np.quantile(smooth, 0.95) - np.quantile(smooth, 0.05))
    return find_peaks(-smooth, prominence=max(depth, 1e-9), distance=3)[0]


def onsets(samples: np.ndarray, num_frames: int) -> np.ndarray:
    """Frames at which the sound (16 kHz) rises fastest."""
    rise = np.maximum(0, np.diff(loudness(samples, num_frames), prepend=0.0))
    rise[0] = 0
    return find_peaks(rise, height=0.3 * np.quantile(rise, 0.98) + 1e-9, distance=3)[0]


def rhythm_values(made: Trace, source: Trace, samples: np.ndarray) -> dict[str, float | None] | None:
    """Figures of the body of a clip against its sound; None if it is too short.

    `beat_z`: deviations of the score (mean of both directions, best of the lags) above chance. `envelope_percentile`:
    of the correlation of speed and loudness between 0.5 and 4 Hz. `motion_amount`: mean speed over the source's.
    """
    count = min(made.num_frames, source.num_frames, int(len(samples) / (16000 / RATE)))
    if count < FEWEST_FRAMES:
        return None
    speed = made.body_speed[: count - 1]
    beats, heard = motion_beats(speed), onsets(samples, count)
    shifts = null_shifts(count - 1)
    score = _best_score(beats, heard)
    null = np.array([_best_score(np.sort((beats + shift) % (count - 1)), heard) for shift in shifts])
    spread = float(null.std()) if len(null) else 0.0
    band = butter(2, _BAND_HZ, "band", fs=RATE, output="sos")
    moved, loud = sosfiltfilt(band, speed), sosfiltfilt(band, loudness(samples, count)[:-1])
    reach = round(LAGS_S * RATE)
    best = float(lagged(moved, loud, reach).max())
    others = np.array([lagged(np.roll(moved, shift), loud, reach).max() for shift in shifts[::4]])
    amount = float(source.body_speed[: count - 1].mean())
    return {
        "beat_score": score,
        "beat_z": (score - float(null.mean())) / spread if spread > 1e-6 else None,
        "envelope_r": correlation(moved, loud),
        "envelope_percentile": percentile(best, others),
        "motion_amount": float(speed.mean()) / amount if amount > 1e-3 else None,
    }


def _best_score(beats: np.ndarray, heard: np.ndarray) -> float:
    beats_s, heard_s = beats / RATE, heard / RATE
    reach = round(LAGS_S * RATE)
    return max(
        0.5 * (beat_score(beats_s + lag / RATE, heard_s) + beat_score(heard_s, beats_s + lag / RATE))
        for lag in range(-reach, reach + 1, 2)
    )
