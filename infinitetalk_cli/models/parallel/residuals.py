"""Step caching in a team: every process keeps what its own blocks added, and a snapshot of the sampler sees the whole.

So a snapshot does not depend on the number of processes, and another team, or one process, goes on from it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from torch import Tensor

from infinitetalk_cli.models.sampler_state import LazyTensors
from infinitetalk_cli.models.step_cache import BlockResiduals


class TeamResiduals(BlockResiduals):
    """A chunk's residuals as the leader's sampler sees them.

    `kept` gathers them from the team when its tensors are first read, which has to be before the next forward. What
    it is set to, the next forward gives to the team.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        self._gather: Callable[[], Sequence[Tensor]] | None = None
        self._num_bytes = 0
        super().__init__()

    @property
    def kept(self) -> Sequence[Tensor]:
        """One tensor for each of the transformer's streams, as in one process."""
        return self.restored if self._gather is None else LazyTensors(self._gather, self._num_bytes)

    @kept.setter
    def kept(self, tensors: Iterable[Tensor]) -> None:
        self.restored, self._gather = tuple(tensors), None

    def are_with_team(self, gather: Callable[[], Sequence[Tensor]], num_bytes: int) -> None:
        """The processes of the team have new ones, of `num_bytes` together, which `gather` brings."""
        self.restored, self._gather, self._num_bytes = (), gather, num_bytes
