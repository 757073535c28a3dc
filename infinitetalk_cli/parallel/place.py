"""Which of several processes this one is, as launchers (accelerate, torchrun, a Slurm script) say it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from infinitetalk_cli.errors import DependencyError

_NAMES = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
_LOCAL_NAMES = ("LOCAL_RANK", "LOCAL_WORLD_SIZE")
_AGENT_STORE = "TORCHELASTIC_USE_AGENT_STORE"
_RESTARTS = "TORCHELASTIC_RESTART_COUNT"


@dataclass(frozen=True)
class Place:
    """Process `rank` of `num_processes`, of which `num_local` are on this machine, this one as `local_rank`.

    They meet at `address`:`port`; `launcher_serves`: somebody listens there already. `attempt` counts restarts.
    """

    rank: int
    num_processes: int
    local_rank: int
    num_local: int
    address: str
    port: int
    launcher_serves: bool = False
    attempt: int = 0

    @classmethod
    def of_environment(cls, environment: Mapping[str, str] | None = None) -> Place | None:
        """What the launcher said; None where this process was started alone.

        Raises:
            DependencyError: it said something that cannot be.
        """
        given = os.environ if environment is None else environment
        if not all(given.get(name) for name in _NAMES):
            return None
        try:
            rank, count, port, attempt = (
                int(given.get(name, "0")) for name in ("RANK", "WORLD_SIZE", "MASTER_PORT", _RESTARTS)
            )
            local_rank, num_local = (
                int(given.get(name, fallback)) for name, fallback in zip(_LOCAL_NAMES, (rank, count), strict=True)
            )
        except ValueError as exc:
            raise DependencyError(f"{', '.join((*_NAMES, *_LOCAL_NAMES))} in the environment: {exc}") from exc
        if not 0 <= rank < count or not 0 <= local_rank < num_local:
            raise DependencyError(
                f"the environment calls this process {rank} of {count} (RANK, WORLD_SIZE), which cannot be"
            )
        if count == 1:
            return None
        serves = given.get(_AGENT_STORE) == "True"
        return cls(rank, count, local_rank, num_local, given["MASTER_ADDR"], port, serves, attempt)

    @property
    def is_main(self) -> bool:
        """Whether this process leads all others."""
        return self.rank == 0

    @property
    def name(self) -> str:
        """For messages: counted from 1."""
        return f"process {self.rank + 1} of {self.num_processes}"

    @property
    def why(self) -> str:
        """How it is known, for whoever has these variables from something else."""
        return f"RANK={self.rank} and WORLD_SIZE={self.num_processes} are in the environment"

    def device(self, asked: str) -> str:
        """The device of this process, where the user asked for `asked`: one card for each process of a machine."""
        return asked if asked == "cpu" or ":" in asked else f"cuda:{self.local_rank}"
