"""Step caching: while the timestep embedding changes little, the blocks' last contribution is used again.

Which steps run depends on the timesteps alone, not on the picture: the blocks' modulation is a function of the
timestep. So a whole schedule is decided before its first step, all guidance branches of a step decide alike, and
nothing is read back from the device in between. What the blocks added is kept for every branch apart. (The public
code counts forwards modulo three instead; with two branches per step it mixes what belongs to one with the other.)
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from torch import Tensor

POLYNOMIALS = {
    "480": (2.57151496e5, -3.54229917e4, 1.40286849e3, -13.5890334, 0.132517977),
    "720": (8.10705460e3, 2.13393892e3, -3.72934672e2, 16.6203073, -0.0417769401),
}
"""From the change of the modulation to the expected change of the output, highest power first; published."""


@dataclass(frozen=True)
class StepCacheSettings:
    """When the blocks run again: at the latest once the expected changes since then add up to `threshold`."""

    threshold: float
    polynomial: tuple[float, ...]
    warmup_steps: int


class StepDecision(NamedTuple):
    """Whether the blocks run in a step, and the expected change that decided (0 while warming up)."""

    runs: bool
    expected_change: float


def decide_steps(
    modulations: Tensor, settings: StepCacheSettings, forced: Collection[int] = ()
) -> tuple[StepDecision, ...]:
    """The decision for every step of a chunk, from the modulations (steps, 6, d) of its timesteps.

    In the steps `forced` the blocks run whatever is expected: something else than the timestep changes there.
    """
    modulations = modulations.cpu()
    changes = [relative_change(old, new) for old, new in pairwise(modulations)]
    return tuple(_decisions(changes, len(modulations), settings, forced))


def _decisions(
    changes: list[float], num_steps: int, settings: StepCacheSettings, forced: Collection[int]
) -> Iterator[StepDecision]:
    expected = 0.0
    for step in range(num_steps):
        if step < settings.warmup_steps:
            yield StepDecision(True, 0.0)
            continue
        expected += _evaluate(settings.polynomial, changes[step - 1])
        runs = expected >= settings.threshold or step in forced
        yield StepDecision(runs, expected)
        expected = 0.0 if runs else expected


def relative_change(old: Tensor, new: Tensor) -> float:
    """Mean absolute change from `old` to `new`, relative to `old`."""
    return ((new - old).abs().mean() / old.abs().mean()).item()


def _evaluate(polynomial: tuple[float, ...], at: float) -> float:
    value = 0.0
    for coefficient in polynomial:
        value = value * at + coefficient
    return value


class BlockResiduals:
    """What all blocks together last added to the tokens, for every group of branches; fresh in every chunk.

    At 480p this is 33600 tokens x 5120 channels x 2 bytes = 344 MB per branch in bfloat16.
    """

    def __init__(self) -> None:
        self.kept: tuple[Tensor, ...] = ()

    def keep(self, x: Tensor, streams: tuple[Tensor, ...]) -> None:
        """Remember how the blocks took the shared tokens `x` to `streams`."""
        self.kept = tuple(stream - x for stream in streams)

    def add_to(self, x: Tensor) -> tuple[Tensor, ...]:
        """What the blocks would give for `x` if they added what they last did."""
        assert self.kept, "the first step of a chunk always runs"
        return tuple(x + residual for residual in self.kept)
