"""Mel-frequency cepstral coefficients as SyncNet was trained on: the defaults of python_speech_features 0.6.

Windows of 25 ms every 10 ms, without a window function, the last one filled with zeros; 26 triangular filters; an
orthonormal DCT-II; lifter 22; coefficient 0 is the log of the window's power. Samples count as int16 levels: at -1..1
coefficient 0 would lie 20.8 lower, and the network has never heard that.
"""

from __future__ import annotations

import numpy as np
from scipy.fft import dct

NUM_COEFFICIENTS = 13
WINDOW_SAMPLES, HOP_SAMPLES = 400, 160

_RATE_HZ = 16_000
_FFT_SAMPLES = 512
_NUM_FILTERS = 26
_PREEMPHASIS = 0.97
_LIFTER = 22


def mfcc(samples: np.ndarray) -> np.ndarray:
    """(rows, 13) float64 of `samples` (n,) at 16 kHz, int16 or floats on its scale; one row per 10 ms.

    Raises:
        ValueError: there is no sample.
    """
    if not len(samples):
        raise ValueError("no samples")
    power = np.square(np.abs(np.fft.rfft(_windows(_emphasised(samples)), _FFT_SAMPLES))) / _FFT_SAMPLES
    energy = _log(power.sum(axis=1))
    cepstrum = dct(_log(power @ mel_filters().T), type=2, axis=1, norm="ortho")[:, :NUM_COEFFICIENTS]
    cepstrum *= 1 + _LIFTER / 2 * np.sin(np.pi * np.arange(NUM_COEFFICIENTS) / _LIFTER)
    cepstrum[:, 0] = energy
    return cepstrum


def mel_filters() -> np.ndarray:
    """(26, 257) float64: each filter over the bins of the spectrum."""
    highest = 2595 * np.log10(1 + _RATE_HZ / 2 / 700)
    edges_hz = 700 * (10 ** (np.linspace(0, highest, _NUM_FILTERS + 2) / 2595) - 1)
    edges = np.floor((_FFT_SAMPLES + 1) * edges_hz / _RATE_HZ)
    bins = np.arange(_FFT_SAMPLES // 2 + 1)
    filters = np.zeros((_NUM_FILTERS, len(bins)))
    for number, (left, middle, right) in enumerate(zip(edges, edges[1:], edges[2:], strict=False)):
        rising, falling = (left <= bins) & (bins < middle), (middle <= bins) & (bins < right)
        filters[number, rising] = (bins[rising] - left) / (middle - left)
        filters[number, falling] = (right - bins[falling]) / (right - middle)
    return filters


def _emphasised(samples: np.ndarray) -> np.ndarray:
    samples = samples.astype(np.float64)
    return np.append(samples[:1], samples[1:] - _PREEMPHASIS * samples[:-1])


def _windows(samples: np.ndarray) -> np.ndarray:
    """(rows, 400), the last one filled up with zeros."""
    rows = 1 + max(0, -(-(len(samples) - WINDOW_SAMPLES) // HOP_SAMPLES))
    padded = np.pad(samples, (0, (rows - 1) * HOP_SAMPLES + WINDOW_SAMPLES - len(samples)))
    return np.lib.stride_tricks.sliding_window_view(padded, WINDOW_SAMPLES)[::HOP_SAMPLES]


def _log(values: np.ndarray) -> np.ndarray:
    return np.log(np.where(values == 0, np.finfo(np.float64).eps, values))
