"""Frames, seconds and samples: the only place where one is turned into another.

Times are exact: `Fraction` seconds. Spans are half open, `[start, stop)`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

MODEL_RATE = Fraction(25)
"""Frames per second of every model here (the published audio embedding has one row per frame at 25 fps)."""

SPEECH_RATE_HZ = 16_000
"""Sample rate of the speech that drives the picture."""


@dataclass(frozen=True)
class FrameSpan:
    """Frames `[start, stop)` of some timeline."""

    start: int
    stop: int

    def __post_init__(self) -> None:
        if not 0 <= self.start <= self.stop:
            raise ValueError(f"not a frame span: [{self.start}, {self.stop})")

    def __len__(self) -> int:
        return self.stop - self.start


def frames_in(duration_s: Fraction, rate: Fraction = MODEL_RATE) -> int:
    """Number of frames that cover `duration_s`: the ceiling of the exact product."""
    return math.ceil(duration_s * rate)


def frame_time(index: int, rate: Fraction = MODEL_RATE) -> Fraction:
    """Time in seconds at which frame `index` appears."""
    return index / rate


def frame_at(time_s: Fraction, rate: Fraction = MODEL_RATE) -> int:
    """Index of the frame on screen at `time_s`."""
    return math.floor(time_s * rate)


def samples_in(duration_s: Fraction, rate_hz: int) -> int:
    """Number of audio samples that cover `duration_s`: the ceiling of the exact product."""
    return math.ceil(duration_s * rate_hz)


def parse_time(text: str) -> Fraction:
    """Seconds from `12.5`, `1:30`, `01:02:03.25` or `90/7`; `ValueError` for anything else."""
    try:
        seconds = Fraction(0)
        for part in text.strip().split(":"):
            if part.lstrip().startswith(("-", "+")):
                raise ValueError(f"{part} has a sign")
            seconds = seconds * 60 + Fraction(part)
    except (ValueError, ZeroDivisionError) as exc:
        raise ValueError(f"'{text}' is not a time; write seconds (12.5) or h:mm:ss (0:01:30)") from exc
    return seconds


def clock(seconds: Fraction | float) -> str:
    """A time for people: `1:02:03.4` or `2:03.4`."""
    tenths = round(float(seconds) * 10)
    minutes, rest = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    text = f"{minutes}:{rest / 10:04.1f}" if not hours else f"{hours}:{minutes:02d}:{rest / 10:04.1f}"
    return text
