"""Mouth and head against sound and source, without landmarks: how dark the mouth is tells how far it is open.

Correlations are small even for perfect lips, because loudness is not opening; so each is held against the same curves
moved apart by more than a second.
"""

from __future__ import annotations

import numpy as np

from infinitetalk_cli.evaluate.measures.series import (
    FEWEST_FRAMES,
    RATE,
    correlation,
    highpass,
    lagged,
    loudness,
    null_shifts,
    peak_of,
    percentile,
)
from infinitetalk_cli.evaluate.measures.trace import Trace

REACH_FRAMES = 15


def lag_values(made: Trace, samples: np.ndarray) -> dict[str, float] | None:
    """Lag of the mouth behind the sound (`samples` (n,) at 16 kHz) and how sure it is; None if it is too short.

    `lag_frames` positive: the picture is late. `peak_r` at that lag; `percentile` of it among shifted sounds, each with
    its own best lag; `r_at_zero` without any.
    """
    heard_frames = min(made.num_frames, int(len(samples) / (16000 / RATE)))
    if heard_frames < FEWEST_FRAMES:
        return None
    seen = highpass(made.opening[:heard_frames])
    heard = highpass(loudness(samples, heard_frames))
    curve = lagged(seen, heard, REACH_FRAMES)
    place, height = peak_of(curve)
    null = np.array(
        [lagged(np.roll(seen, shift), heard, REACH_FRAMES).max() for shift in null_shifts(heard_frames)[::4]]
    )
    return {
        "lag_frames": place - REACH_FRAMES,
        "peak_r": height,
        "r_at_zero": float(curve[REACH_FRAMES]),
        "percentile": percentile(height, null),
    }


def copying_values(made: Trace, source: Trace) -> dict[str, float] | None:
    """How much mouth and head follow the source's at the same time; None if it is too short.

    With another voice the mouth should not (`mouth_leakage` near 0); what only paints lips has `pose_copying` 1.
    """
    count = min(made.num_frames, source.num_frames)
    if count < FEWEST_FRAMES:
        return None
    mouths = (highpass(trace.opening[:count]) for trace in (made, source))
    heads = [np.cumsum(trace.head_step[: count - 1]) for trace in (made, source)]
    across, down = (correlation(*(highpass(part(head)) for head in heads)) for part in (np.real, np.imag))
    return {"mouth_leakage": correlation(*mouths), "pose_copying": (across + down) / 2}
