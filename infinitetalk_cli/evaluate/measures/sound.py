"""Length of a result and whether its sound is the one it was given, in its place."""

from __future__ import annotations

import numpy as np
from scipy.signal import correlate

REACH_S = 1.0
OTHER_SOUND_BELOW = 0.5
"""Correlation below which a result's sound is another one; coding alone leaves more than 0.9."""
RATE_HZ = 16000


def sound_offset(heard: np.ndarray, given: np.ndarray) -> tuple[float, float]:
    """(seconds by which `heard` is late against `given`, correlation there); mono at 16 kHz, searched up to 1 s."""
    count = min(len(heard), len(given))
    one, other = heard[:count].astype(float), given[:count].astype(float)
    scale = float(np.sqrt((one**2).sum() * (other**2).sum()))
    if scale < 1e-9:
        return 0.0, 0.0
    curve = correlate(one, other, mode="full", method="fft") / scale
    reach = min(count - 1, round(REACH_S * RATE_HZ))
    near = curve[count - 1 - reach : count + reach]
    at = int(near.argmax())
    return (at - reach) / RATE_HZ, float(near[at])


def file_values(
    num_frames: int, source_frames: int, heard: np.ndarray, given: np.ndarray, rate_fps: float = 25.0
) -> dict[str, float | None]:
    """`frames_off` against the source; `sound_longer_s` than the picture; where the new sound is (None: silent)."""
    offset_s, likeness = sound_offset(heard, given)
    return {
        "frames_off": float(num_frames - source_frames),
        "sound_longer_s": len(heard) / RATE_HZ - num_frames / rate_fps,
        "sound_offset_s": offset_s if likeness else None,  # silence is nowhere, not in its place
        "sound_r": likeness,
    }
