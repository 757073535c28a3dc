"""What all measures share: why there may be no number, and frames in groups."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol

import numpy as np

from infinitetalk_cli.errors import DependencyError

Reason = Literal["no weights", "unavailable", "no face", "too short"]

FrameSource = Callable[[], Iterator[np.ndarray]]
"""Opens a fresh pass over the frames of a video, uint8 (h, w, 3) each."""


@dataclass(frozen=True)
class Missing:
    """Why there is no number: a reason for a table's cell, and a sentence with what to do about it."""

    reason: Reason
    remedy: str

    def error(self) -> DependencyError:
        """The same as an error, for a metric that was asked for by name."""
        return DependencyError(self.remedy)

    def as_dict(self) -> dict[str, str]:
        """Plain data."""
        return {"missing": self.reason, "remedy": self.remedy}


class Metric(Protocol):
    """Settings of a metric, without its networks."""

    name: ClassVar[str]
    presets: ClassVar[tuple[str, ...]]
    preset: str

    @property
    def needs(self) -> tuple[str, ...]:
        """Names of the weight files."""

    def available(self, folders: Sequence[Path]) -> Missing | None:
        """What is missing, looked up without opening anything large; None: nothing."""

    def load(self, folders: Sequence[Path], device: str = "cpu") -> Any:
        """The metric with its networks; a `DependencyError` if files are missing or not the right ones."""


def missing_extra(module: str, what: str) -> Missing | None:
    """`Missing` if `module`, part of the extra `eval`, is not installed."""
    if importlib.util.find_spec(module) is not None:
        return None
    return Missing("unavailable", f"{what} needs {module}: pip install 'infinitetalk[eval]'")


def batches(frames: Iterable[np.ndarray], size: int) -> Iterator[np.ndarray]:
    """Frames (h, w, 3) stacked to (up to `size`, h, w, 3), in order."""
    following = iter(frames)
    while group := list(islice(following, size)):
        yield np.stack(group)


def running_median(values: np.ndarray, taps: int) -> np.ndarray:
    """(n,) the median of `taps` (odd) values around each of `values` (n,); zeros lie beyond the ends."""
    padded = np.pad(values, taps // 2)
    return np.median(np.lib.stride_tricks.sliding_window_view(padded, taps), axis=1)
