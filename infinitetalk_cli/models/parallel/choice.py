"""How a team of processes shares one transformer: branches of guidance, stretches of tokens, or both.

Branches on different processes exchange nothing but the result of a step. Stretches of tokens exchange queries, keys,
values and outputs in every block, but split evenly whatever the number of branches is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil

ATTENTION_SHARE = 0.5
"""Of a branch's operations, those of self attention: 4 n^2 d of 4 n^2 d + (16 + 4 f) n d^2 in a block, with n = 33600
tokens of width d = 5120 and a feed-forward f = 2.7 times as wide, is 0.50 (480p, the 14B model)."""
EXCHANGE_COST = 0.1
"""Time to exchange queries, keys, values and outputs of all tokens in all blocks, in evaluations on one process: an
assumption, not a measurement. For 480p and the 14B model these are 4 n d x 40 blocks x 2 bytes = 55 GB against 1900
TFLOP, or 0.3 s at 200 GB/s against 5 s at 400 TFLOP/s."""


@dataclass(frozen=True)
class TeamChoice:
    """`guidance` x `sequence` processes around one transformer, and why."""

    guidance: int
    sequence: int
    reason: str

    @property
    def num_processes(self) -> int:
        """How many of the offered processes have work."""
        return self.guidance * self.sequence


def choose_team(num_processes: int, num_forwards: int, num_heads: int, num_layers: int = 40) -> TeamChoice:
    """The fastest use of `num_processes` for one chunk, of which a step takes `num_forwards` evaluations.

    The time of a step, in evaluations on one process, is that of the process with most work: its branches, less the
    first self attention that the branches of a process share, times its share of the tokens, in self attention of the
    `num_heads`; and what it exchanges. Never more stretches than heads, for a process without a head would idle in
    half of the work. Among equals: most branches apart, then fewest processes.
    """
    if num_processes < 1 or num_forwards < 1:
        raise ValueError(f"{num_processes} processes for {num_forwards} forwards; both are at least 1")
    best = min(
        _candidates(num_processes, num_forwards, num_heads),
        key=lambda team: (
            step_time(*team, num_forwards, num_heads, num_layers),
            -team[0],
            team[1],
        ),
    )
    return TeamChoice(*best, _reason(*best, num_processes, num_forwards, num_heads))


def _candidates(num_processes: int, num_forwards: int, num_heads: int) -> Iterator[tuple[int, int]]:
    for guidance in range(1, min(num_processes, num_forwards) + 1):
        for sequence in range(1, min(num_processes // guidance, num_heads) + 1):
            yield guidance, sequence


def step_time(guidance: int, sequence: int, num_forwards: int, num_heads: int, num_layers: int = 40) -> float:
    """What a step takes a team, in evaluations of the transformer on one process."""
    branches = ceil(num_forwards / guidance)
    attention = ATTENTION_SHARE * (branches - (branches - 1) / num_layers) * ceil(num_heads / sequence) / num_heads
    rest = (1 - ATTENTION_SHARE) * branches / sequence
    return attention + rest + EXCHANGE_COST * branches * (sequence - 1) / sequence**2


def _reason(guidance: int, sequence: int, num_processes: int, num_forwards: int, num_heads: int) -> str:
    """One phrase for a plan."""
    idle = num_processes - guidance * sequence
    spare = f"; {idle} of {num_processes} processes would gain nothing" if idle else ""
    if guidance == sequence == 1:
        return ("one process" if num_processes == 1 else "one process is enough") + spare
    branches = f"{num_forwards} guidance forwards on {guidance} processes" if guidance > 1 else ""
    tokens = f"tokens and {num_heads} heads split over {sequence} processes"
    if sequence == 1:
        return branches + spare
    if guidance == 1:
        one = num_forwards == 1
        why = "a step takes one forward" if one else f"{num_forwards} forwards do not divide as well"
        return f"{tokens}: {why}{spare}"
    return f"{branches.replace('processes', 'groups')}, in each {tokens}{spare}"
