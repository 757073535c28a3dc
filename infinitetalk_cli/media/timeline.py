"""When each frame of a source is on screen: exact times, kept as integers of one time base."""

from __future__ import annotations

import math
import zipfile
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from infinitetalk_cli.errors import InputError, writing_to


@dataclass(frozen=True, eq=False)
class SourceTimeline:
    """Times of a source's frames, counted from the file's presentation start, in units of `time_base` seconds.

    `pts (n,)` int64 rises strictly; `end` is where the last frame ends; `keyframes (n,)` bool tells where decoding
    can begin. `is_seekable` is false where time stamps came from counting, so that reading starts at the front.
    """

    pts: np.ndarray
    end: int
    time_base: Fraction
    keyframes: np.ndarray
    is_seekable: bool = True

    def __post_init__(self) -> None:
        assert len(self.pts) == len(self.keyframes) > 0
        assert np.all(np.diff(self.pts) > 0)

    @staticmethod
    def still() -> SourceTimeline:
        """The timeline of a still image: one frame at 0 with no duration."""
        return SourceTimeline(np.zeros(1, np.int64), 0, Fraction(1), np.ones(1, bool), is_seekable=False)

    @property
    def num_frames(self) -> int:
        """Number of frames."""
        return len(self.pts)

    @property
    def duration_s(self) -> Fraction:
        """End of the last frame, in seconds from the presentation start."""
        return self.end * self.time_base

    def time_of(self, index: int) -> Fraction:
        """Seconds from the presentation start at which frame `index` appears."""
        return int(self.pts[index]) * self.time_base

    def frame_index_at(self, time_s: Fraction) -> int:
        """The frame on screen at `time_s`: the last that appeared by then, the first before any did."""
        ticks = (time_s / self.time_base).__floor__()
        return max(0, int(np.searchsorted(self.pts, ticks, side="right")) - 1)

    def keyframe_before(self, index: int) -> int:
        """The last frame up to `index` at which decoding can begin, 0 if none is known."""
        places = np.flatnonzero(self.keyframes[: index + 1])
        return int(places[-1]) if len(places) else 0

    def save(self, path: Path) -> None:
        """Write an .npz file that `load` reads."""
        header = np.array([self.end, self.time_base.numerator, self.time_base.denominator, self.is_seekable], np.int64)
        with writing_to(path), path.open("wb") as file:
            np.savez(file, pts=self.pts, keyframes=self.keyframes, header=header)

    @staticmethod
    def load(path: Path) -> SourceTimeline:
        """Read what `save` wrote; `InputError` if it is damaged."""
        try:
            with np.load(path, allow_pickle=False) as data:
                end, numerator, denominator, is_seekable = (int(value) for value in data["header"])
                pts, keyframes = data["pts"], data["keyframes"]
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as exc:
            raise InputError(f"{path}: not a readable timeline; delete it and run again") from exc
        return SourceTimeline(pts, end, Fraction(numerator, denominator), keyframes, bool(is_seekable))


def common_time_base(first: Fraction, second: Fraction) -> Fraction:
    """The largest unit of which both are whole multiples."""
    denominator = math.lcm(first.denominator, second.denominator)
    return Fraction(math.gcd(int(first * denominator), int(second * denominator)), denominator)
