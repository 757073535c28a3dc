"""Integrated loudness after ITU-R BS.1770-4, for sound of any length in constant memory.

Filters and block edges are those of pyloudnorm, so that levels agree with tracks prepared by it.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.signal import lfilter

BLOCK_S = 0.4
STEPS_PER_BLOCK = 4
"""Blocks overlap by 75 %: each starts one step of 0.1 s after the one before."""

ABSOLUTE_GATE_LUFS = -70.0
RELATIVE_GATE_LU = -10.0
_OFFSET_LUFS = -0.691
_SAMPLES_AT_ONCE = 1 << 20


def integrated_loudness(samples: np.ndarray, rate_hz: int) -> float | None:
    """Loudness in LUFS of mono `samples` (n,), float, possibly a memory map; None for silence.

    Sound shorter than one block of 0.4 s counts as one block of its own length.
    """
    powers = block_powers(samples, rate_hz)
    audible = powers[_lufs(powers) >= ABSOLUTE_GATE_LUFS]
    if not audible.size:
        return None
    gate = _lufs(audible.mean()) + RELATIVE_GATE_LU
    levels = _lufs(audible)
    loud = audible[(levels > gate) & (levels > ABSOLUTE_GATE_LUFS)]
    return float(_lufs(loud.mean())) if loud.size else None


def gain_to(target_lufs: float, loudness_lufs: float | None) -> float:
    """Factor that brings sound of `loudness_lufs` to `target_lufs`; 1 for silence."""
    return 1.0 if loudness_lufs is None else 10 ** ((target_lufs - loudness_lufs) / 20)


def block_powers(samples: np.ndarray, rate_hz: int) -> np.ndarray:
    """Mean square of the weighted sound in every gating block, float64."""
    if len(samples) < BLOCK_S * rate_hz:
        return step_energies(samples, rate_hz, np.array([0, len(samples)])) / max(1, len(samples))
    duration_s = len(samples) / rate_hz
    step_s = BLOCK_S / STEPS_PER_BLOCK
    num_blocks = int(np.round((duration_s - BLOCK_S) / step_s)) + 1
    steps = np.arange(num_blocks + STEPS_PER_BLOCK)
    edges = (BLOCK_S * (steps / STEPS_PER_BLOCK) * rate_hz).astype(np.int64)
    energies = step_energies(samples, rate_hz, edges)
    blocks = np.lib.stride_tricks.sliding_window_view(energies, STEPS_PER_BLOCK)
    return blocks.sum(axis=1) / (BLOCK_S * rate_hz)


def step_energies(samples: np.ndarray, rate_hz: int, edges: np.ndarray) -> np.ndarray:
    """Sums of squares of the weighted sound between consecutive `edges` (k + 1,): (k,) float64."""
    energies = np.zeros(len(edges) - 1)
    filters = k_weighting(rate_hz)
    states = [np.zeros(2) for _ in filters]
    stop = min(len(samples), int(edges[-1]))
    for start in range(0, stop, _SAMPLES_AT_ONCE):
        weighted = np.asarray(samples[start : min(stop, start + _SAMPLES_AT_ONCE)], dtype=np.float64)
        for index, (numerator, denominator) in enumerate(filters):
            weighted, states[index] = lfilter(numerator, denominator, weighted, zi=states[index])
        inside = edges[(edges > start) & (edges < start + len(weighted))] - start
        first = int(np.searchsorted(edges, start, side="right")) - 1
        energies[first : first + len(inside) + 1] += np.add.reduceat(weighted**2, [0, *inside])
    return energies


def k_weighting(rate_hz: int) -> tuple[tuple[np.ndarray, np.ndarray], ...]:
    """Numerators and denominators of the two filters: a shelf of 4 dB above 1.5 kHz, a high pass at 38 Hz.

    Second-order sections after R. Bristow-Johnson's "Cookbook formulae for audio EQ biquad filter
    coefficients".
    """
    return _high_shelf(1500.0, gain_db=4.0, q=1 / math.sqrt(2), rate_hz=rate_hz), _high_pass(38.0, 0.5, rate_hz)


def _high_shelf(corner_hz: float, gain_db: float, q: float, rate_hz: int) -> tuple[np.ndarray, np.ndarray]:
    amplitude = 10 ** (gain_db / 40)
    cosine, alpha = _angle(corner_hz, q, rate_hz)
    plus, minus, slope = amplitude + 1, amplitude - 1, 2 * math.sqrt(amplitude) * alpha
    numerator = amplitude * np.array(
        [plus + minus * cosine + slope, -2 * (minus + plus * cosine), plus + minus * cosine - slope]
    )
    denominator = np.array([plus - minus * cosine + slope, 2 * (minus - plus * cosine), plus - minus * cosine - slope])
    return numerator / denominator[0], denominator / denominator[0]


def _high_pass(corner_hz: float, q: float, rate_hz: int) -> tuple[np.ndarray, np.ndarray]:
    cosine, alpha = _angle(corner_hz, q, rate_hz)
    numerator = np.array([(1 + cosine) / 2, -(1 + cosine), (1 + cosine) / 2])
    denominator = np.array([1 + alpha, -2 * cosine, 1 - alpha])
    return numerator / denominator[0], denominator / denominator[0]


def _angle(corner_hz: float, q: float, rate_hz: int) -> tuple[float, float]:
    omega = 2 * math.pi * corner_hz / rate_hz
    return math.cos(omega), math.sin(omega) / (2 * q)


def _lufs(power: np.ndarray | float) -> np.ndarray:
    with np.errstate(divide="ignore"):
        return _OFFSET_LUFS + 10 * np.log10(power)
