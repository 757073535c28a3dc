"""Whether colours and sharpness move away from the source's over time; light that changes in both cancels out."""

from __future__ import annotations

import numpy as np

from infinitetalk_cli.evaluate.measures.series import RATE, end_minus_start, theil_sen
from infinitetalk_cli.evaluate.measures.trace import Trace
from infinitetalk_cli.quality.colour import delta_e


def drift_curves(made: Trace, source: Trace) -> dict[str, np.ndarray]:
    """By frame: `delta_e` CIEDE2000 of the background's mean colours, `lightness` and `chroma` made less source, and
    `sharpness`, log variance of the Laplacian, made less source."""
    count = min(made.num_frames, source.num_frames)
    one, other = made.background_color[:count], source.background_color[:count]
    chroma = np.hypot(one[:, 1], one[:, 2]) - np.hypot(other[:, 1], other[:, 2])
    return {
        "delta_e": delta_e(one, other),
        "lightness": one[:, 0] - other[:, 0],
        "chroma": chroma,
        "sharpness": made.sharpness[:count] - source.sharpness[:count],
    }


def drift_values(made: Trace, source: Trace) -> dict[str, float]:
    """Mean Delta E, slopes per minute (Theil-Sen), and ends less starts (15 % each)."""
    curves = drift_curves(made, source)
    minutes = np.arange(len(curves["delta_e"])) / RATE / 60
    values = {"delta_e_mean": float(curves["delta_e"].mean())}
    for name, curve in curves.items():
        values[f"{name}_per_min"] = theil_sen(curve, minutes)
        values[f"{name}_end"] = end_minus_start(curve)
    return values
