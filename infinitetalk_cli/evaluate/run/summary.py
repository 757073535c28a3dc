"""From figures of clips to figures of a split: means with intervals, and distances between sets."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from infinitetalk_cli.evaluate.intervals import estimate
from infinitetalk_cli.evaluate.metrics import frechet
from infinitetalk_cli.evaluate.tables.columns import COLUMNS
from infinitetalk_cli.evaluate.tables.results import ClipResult, SetValue, Summary


def summarise(clips: Sequence[ClipResult]) -> dict[str, Summary]:
    """Every column that some clip has, over the clips that have it."""
    summary = {}
    for column in COLUMNS:
        metric, _, name = column.key.partition(".")
        values = [
            value
            for clip in clips
            if metric in clip.metrics and (value := clip.metrics[metric].values.get(name)) is not None
        ]
        if values:
            mean = estimate(values)
            summary[column.key] = Summary(
                mean=mean.value, median=float(np.median(values)), low=mean.low, high=mean.high, n=len(values)
            )
    return summary


def distances(name: str, rows: list[tuple[np.ndarray, np.ndarray]], missing: str) -> dict[str, SetValue]:
    """Frechet and kernel distance of the rows of all clips, with intervals over clips."""
    keys = {"fid": ("fid.fid", "fid.kid"), "fvd": ("fvd.fvd", "fvd.kernel")}[name]
    if len(rows) < 2 and (not rows or sum(len(made) for made, _ in rows) < 2):
        return {key: SetValue(missing=missing, n=len(rows)) for key in keys}
    made, source = [pair[0] for pair in rows], [pair[1] for pair in rows]
    samples = sum(len(part) for part in made)
    values = {}
    for key, distance, interval in (
        (keys[0], frechet.frechet_distance, frechet.frechet_interval),
        (keys[1], frechet.kernel_distance, frechet.kernel_interval),
    ):
        scale = 1000.0 if key == "fid.kid" else 1.0
        low, high = interval(made, source) if len(rows) > 1 else (None, None)
        values[key] = SetValue(
            value=scale * float(distance(made, source)),
            low=None if low is None else scale * float(low),
            high=None if high is None else scale * float(high),
            n=len(rows),
            samples=samples,
        )
    return values
