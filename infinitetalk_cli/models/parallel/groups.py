"""Which processes make a team, and the process groups they talk through."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist

TIMEOUT_S = 600.0
"""How long a process waits for another within a forward. Between two exchanges lies less than one block's work, so only
a process that hangs, or whose machine has vanished without closing its connections, takes that long to be noticed;
the end of a process is noticed at once."""

IDLE_TIMEOUT = timedelta(days=30)
"""How long a follower waits for its leader's next word, which decodes, checks and writes in between."""


@dataclass(frozen=True)
class TeamShape:
    """The processes of a team by their ranks, the first of which leads.

    Process s of the stretches and g of the branches is `ranks[g * sequence + s]`: neighbours share a sequence, which
    exchanges most.
    """

    ranks: tuple[int, ...]
    guidance: int = 1
    sequence: int = 1

    def __post_init__(self) -> None:
        if len(self.ranks) != self.guidance * self.sequence:
            raise ValueError(f"{len(self.ranks)} processes are not {self.guidance} x {self.sequence}")

    def sequences(self) -> list[tuple[int, ...]]:
        """Ranks that share the same branches."""
        return [self.ranks[start : start + self.sequence] for start in range(0, len(self.ranks), self.sequence)]

    def columns(self) -> list[tuple[int, ...]]:
        """Ranks that hold the same stretch of tokens."""
        return [self.ranks[index :: self.sequence] for index in range(self.sequence)]


@dataclass(frozen=True, eq=False)
class TeamGroups:
    """What one process knows of its team; groups are None where nobody else would be in them."""

    shape: TeamShape
    index: int
    """Of this process in `shape.ranks`; 0 leads."""
    device: torch.device
    orders: dist.ProcessGroup | None = None
    """All processes of the team, by gloo on the CPU: the leader's orders."""
    everyone: dist.ProcessGroup | None = None
    """All processes of the team, for tensors on `device`."""
    sequence: dist.ProcessGroup | None = None
    guidance: dist.ProcessGroup | None = None

    @classmethod
    def alone(cls, device: torch.device) -> TeamGroups:
        """A team of one; torch.distributed is not used."""
        return cls(TeamShape((0,)), 0, device)

    @classmethod
    def make(cls, teams: Sequence[TeamShape], device: torch.device, timeout_s: float = TIMEOUT_S) -> TeamGroups:
        """The groups of the team that this process belongs to.

        Every process of `torch.distributed` calls this with the same `teams`, none of which share a process;
        one that belongs to none of them gets a ValueError after that. `device`: where this process's tensors are; all
        have the same type.
        """
        rank, timeout = dist.get_rank(), timedelta(seconds=timeout_s)
        backend = "nccl" if device.type == "cuda" else "gloo"
        found = None
        for team in teams:
            orders = _group(team.ranks, "gloo", IDLE_TIMEOUT)
            everyone = _group(team.ranks, backend, timeout)
            sequence = _mine(rank, [(ranks, _group(ranks, backend, timeout)) for ranks in team.sequences()])
            guidance = _mine(rank, [(ranks, _group(ranks, backend, timeout)) for ranks in team.columns()])
            if rank in team.ranks:
                found = cls(team, team.ranks.index(rank), device, orders, everyone, sequence, guidance)
        if found is None:
            raise ValueError(f"process {rank} belongs to none of the teams")
        return found

    @property
    def size(self) -> int:
        """Number of processes."""
        return len(self.shape.ranks)

    @property
    def is_leader(self) -> bool:
        """Whether this process gives the orders."""
        return self.index == 0

    @property
    def guidance_index(self) -> int:
        """Which of the shares of branches this process has."""
        return self.index // self.shape.sequence

    @property
    def sequence_index(self) -> int:
        """Which of the stretches of tokens this process has."""
        return self.index % self.shape.sequence

    def place(self, index: int) -> tuple[int, int]:
        """Share of branches, and stretch of tokens, of process `index` of the team."""
        return divmod(index, self.shape.sequence)

    def abandon(self) -> None:
        """Close the connections, so that processes that wait for this one end now; for a team that is broken."""
        for group in (self.orders, self.everyone, self.sequence, self.guidance):
            if group is not None:
                group.abort()


def split(total: int, parts: int) -> list[slice]:
    """`total` things in `parts` consecutive shares, the larger ones first; as `torch.tensor_split` and diffusers do."""
    small, larger = divmod(total, parts)
    stops = [small * (part + 1) + min(part + 1, larger) for part in range(parts)]
    return [slice(start, stop) for start, stop in zip([0, *stops], stops, strict=False)]


def _group(ranks: Sequence[int], backend: str, timeout: timedelta) -> dist.ProcessGroup | None:
    """A new group of `ranks`; all processes of the job come here, in the same order."""
    return dist.new_group(list(ranks), backend=backend, timeout=timeout) if len(ranks) > 1 else None


def _mine(rank: int, groups: Sequence[tuple[tuple[int, ...], dist.ProcessGroup | None]]) -> dist.ProcessGroup | None:
    return next((group for ranks, group in groups if rank in ranks), None)
