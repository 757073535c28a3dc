"""How far the result has moved from the source, minute by minute."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean

SECONDS_PER_MINUTE = 60


@dataclass(frozen=True)
class DriftSample:
    """A frame of the result beside the source's own frame at the same time. All but `time_s` None: it is the source's.

    `delta_e`: mean CIEDE2000 of their palettes. `likeness`, and `face_likeness` where a face is found in both, as in
    `quality.likeness`. The two of the source say the same of its own frame a second earlier, in the same scene: so
    much changes by itself.
    """

    time_s: float
    delta_e: float | None = None
    likeness: float | None = None
    face_likeness: float | None = None
    source_delta_e: float | None = None
    source_likeness: float | None = None


@dataclass(frozen=True)
class DriftMinute:
    """Means over the samples of one minute, None without any; `num_kept` samples show the source's own frames."""

    minute: int
    num_samples: int
    num_kept: int
    delta_e: float | None
    delta_e_highest: float | None
    likeness: float | None
    likeness_lowest: float | None
    face_likeness: float | None
    source_delta_e: float | None
    source_likeness: float | None


def per_minute(samples: Sequence[DriftSample]) -> list[DriftMinute]:
    """One entry for every minute that has samples, in order."""
    minutes = sorted({int(sample.time_s // SECONDS_PER_MINUTE) for sample in samples})
    return [_minute(minute, [s for s in samples if s.time_s // SECONDS_PER_MINUTE == minute]) for minute in minutes]


def _minute(minute: int, samples: list[DriftSample]) -> DriftMinute:
    compared = [sample for sample in samples if sample.delta_e is not None]
    distances = [sample.delta_e for sample in compared if sample.delta_e is not None]
    likenesses = [sample.likeness for sample in compared if sample.likeness is not None]
    return DriftMinute(
        minute=minute,
        num_samples=len(samples),
        num_kept=len(samples) - len(compared),
        delta_e=_mean(distances),
        delta_e_highest=max(distances, default=None),
        likeness=_mean(likenesses),
        likeness_lowest=min(likenesses, default=None),
        face_likeness=_mean(sample.face_likeness for sample in compared),
        source_delta_e=_mean(sample.source_delta_e for sample in compared),
        source_likeness=_mean(sample.source_likeness for sample in compared),
    )


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return round(fmean(known), 4) if known else None
