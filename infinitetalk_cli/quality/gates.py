"""Whether a chunk may be kept: its figures against limits, and which of several attempts is the best."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from infinitetalk_cli.quality.measures import ChunkMeasures

NOT_A_NUMBER = "no picture (NaN or infinity)"


@dataclass(frozen=True)
class Limits:
    """The highest figures a chunk may have; see `ChunkMeasures`. Black frames are never right."""

    frozen_frames: int
    color_step: float
    color_reference: float
    seam: float
    mouth_in_silence: float


@dataclass(frozen=True)
class Verdict:
    """Why a chunk fails, in words; `excess` orders attempts that fail: the less the better, 0 passes."""

    reasons: tuple[str, ...]
    excess: float

    @property
    def passes(self) -> bool:
        """Whether nothing is wrong."""
        return not self.reasons


def judge(measures: ChunkMeasures, num_frames: int, limits: Limits) -> Verdict:
    """The verdict on a chunk of `num_frames` new frames. Black frames weigh more than anything that can be seen."""
    failures = list(_failures(measures, limits))
    excess = sum(share for _, share in failures)
    if measures.black_frames:
        excess += 10.0 + 100.0 * measures.black_frames / num_frames
        failures.insert(0, (f"{measures.black_frames} frames black or empty", 0.0))
    return Verdict(tuple(reason for reason, _ in failures), round(excess, 3))


def best_of(verdicts: Sequence[Verdict | None]) -> int | None:
    """The place of the best attempt, the earliest of equals; None marks one without a picture, and is never best."""
    pictured = [(verdict.excess, place) for place, verdict in enumerate(verdicts) if verdict is not None]
    return min(pictured)[1] if pictured else None


def _failures(measures: ChunkMeasures, limits: Limits) -> Iterator[tuple[str, float]]:
    """(reason, how many times the limit) of every figure above its limit."""
    for name, said in (
        ("frozen_frames", "frozen for {:g} frames while the voice speaks"),
        ("color_step", "colours jump by Delta E {:.1f}"),
        ("color_reference", "colours are Delta E {:.1f} from the reference frame"),
        ("seam", "the first frame changes {:.1f} times as much as usual"),
        ("mouth_in_silence", "the mouth moves {:.1f} times as much as the face in silence"),
    ):
        value, limit = getattr(measures, name), getattr(limits, name)
        if value is not None and value > limit:
            yield said.format(value), value / limit
