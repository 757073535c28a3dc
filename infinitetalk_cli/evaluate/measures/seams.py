"""Whether the joints between chunks can be seen: steps of colour, of the picture behind its motion, of the motion.

Each figure is a robust z: how far the step at a joint is from those around it, (x - median) / (1.4826 MAD). The same is
asked of places that are no joints, and of the source, so that a cut or a gesture of the source counts as none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from infinitetalk_cli.evaluate.measures.trace import Trace

NEIGHBOURS = 12
SEEN = 5.0
_LEAST_SCALE = {"color": 0.02, "residual": 0.05, "momentum": 0.02}
"""Deviations below this (Lab, levels, pixels) are rounding: nothing is held against less."""


@dataclass(frozen=True)
class SeamFigures:
    """median and largest |z| of the joints, share with |z| > 5, largest |z| of as many places that are no joints."""

    median: float
    largest: float
    seen_share: float
    control_largest: float


def seam_positions(num_frames: int, chunk_frames: int = 81, context_frames: int = 9) -> list[int]:
    """First new frame of every chunk after the first one: 81 + 72 (c - 1) with the published numbers."""
    return list(range(chunk_frames, num_frames, max(1, chunk_frames - context_frames)))


def steps_of(trace: Trace, kind: str) -> np.ndarray:
    """(t,) by the frame b that a step leads to; NaN where there is none."""
    steps = np.full(trace.num_frames, np.nan)
    if kind == "color":
        steps[1:] = np.linalg.norm(np.diff(trace.color, axis=0), axis=1)
    elif kind == "residual":
        steps[1:] = trace.residual
    else:
        # F_{b-1} leads over the joint, so F_{b-1} - F_{b-2} is the change of motion at b.
        steps[2:] = trace.flow_change
    return steps


def robust_z(steps: np.ndarray, at: int, near_seam: np.ndarray, least_scale: float) -> float | None:
    """z of the step to frame `at` among its neighbours that are not next to a joint; None with too few of them."""
    around = [k for k in range(at - NEIGHBOURS, at + NEIGHBOURS + 1)
              if k != at and 0 <= k < len(steps) and not near_seam[k] and not np.isnan(steps[k])]  # fmt: skip
    if len(around) < NEIGHBOURS // 2 or np.isnan(steps[at]):
        return None
    others = steps[around]
    middle = np.median(others)
    spread = 1.4826 * np.median(np.abs(others - middle))
    return float((steps[at] - middle) / max(spread, least_scale))


def seam_figures(trace: Trace, seams: Sequence[int], kind: str) -> SeamFigures | None:
    """Figures of the joints at the frames `seams`; None if there is none to judge."""
    steps = steps_of(trace, kind)
    near = _near(seams, trace.num_frames)
    found = _all_z(steps, seams, near, kind)
    if not found:
        return None
    controls = _all_z(steps, _between(seams, trace.num_frames), near, kind)
    sizes = np.abs(found)
    largest_control = float(np.max(np.abs(controls))) if controls else 0.0
    return SeamFigures(float(np.median(sizes)), float(sizes.max()), float((sizes > SEEN).mean()), largest_control)


def seam_values(made: Trace, source: Trace, seams: Sequence[int]) -> dict[str, float]:
    """All three kinds, with the source's own figure at the same frames; empty where there is no joint."""
    values = {}
    for kind in ("color", "residual", "momentum"):
        figures, beside = seam_figures(made, seams, kind), seam_figures(source, seams, kind)
        if figures is None or beside is None:
            return {}
        values |= {
            f"{kind}_z": figures.largest,
            f"{kind}_z_median": figures.median,
            f"{kind}_seen": figures.seen_share,
            f"{kind}_z_control": figures.control_largest,
            f"{kind}_z_source": beside.largest,
        }
    return values


def _all_z(steps: np.ndarray, places: Sequence[int], near: np.ndarray, kind: str) -> list[float]:
    every = (robust_z(steps, place, near, _LEAST_SCALE[kind]) for place in places if 0 < place < len(steps))
    return [z for z in every if z is not None]


def _near(seams: Sequence[int], num_frames: int) -> np.ndarray:
    near = np.zeros(num_frames, bool)
    for seam in seams:
        near[max(0, seam - 1) : seam + 2] = True
    return near


def _between(seams: Sequence[int], num_frames: int) -> list[int]:
    """As many places as joints, halfway between them."""
    edges = [0, *seams, num_frames]
    middles = [(first + last) // 2 for first, last in pairwise(edges) if last - first > 4]
    return middles[: len(seams)]
