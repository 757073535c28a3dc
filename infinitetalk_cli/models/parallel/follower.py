"""What the processes of a team do that do not lead it."""

from __future__ import annotations

import torch

from infinitetalk_cli.models.parallel.exchange import Traffic
from infinitetalk_cli.models.parallel.groups import TeamGroups
from infinitetalk_cli.models.parallel.member import TeamMember
from infinitetalk_cli.models.parallel.orders import Described, End, ForwardOrder, GatherResiduals, Received
from infinitetalk_cli.models.parallel.shard import SequenceShard
from infinitetalk_cli.models.transformer import InfiniteTalkTransformer3DModel
from infinitetalk_cli.models.uni3c import Uni3CControlNet


def follow(
    transformer: InfiniteTalkTransformer3DModel, groups: TeamGroups, control: Uni3CControlNet | None = None
) -> Traffic:
    """Take part in the leader's forwards until it says that there are no more; what was received for them.

    `transformer` and `control`, the camera branch where a job has one, have the leader's weights.

    Raises:
        PeerError: the leader or another process of the team has ended or hangs.
    """
    if groups.is_leader:
        raise ValueError("this process leads its team; it does not follow")
    follower = _Follower(TeamMember(transformer, groups), control)
    try:
        with torch.no_grad():
            while follower.does(follower.member.orders.hear()):
                pass
    except BaseException:
        groups.abandon()
        raise
    return follower.member.traffic


class _Follower:
    def __init__(self, member: TeamMember, control: Uni3CControlNet | None) -> None:
        self.member, self._control, self._received = member, control, Received()

    def does(self, order: ForwardOrder | GatherResiduals | End) -> bool:
        """Carry out one order; whether there will be more."""
        match order:
            case End():
                return False
            case GatherResiduals():
                self.member.give_residuals()
            case ForwardOrder():
                self._take_part(order)
        return True

    def _take_part(self, order: ForwardOrder) -> None:
        member = self.member
        latents, timestep = (self._take(described, "step") for described in (order.latents, order.timestep))
        shard = member.shard(latents, order.method)
        arrived = {}
        for number, described in order.arrivals.items():
            if shard is not None and number in order.stretches():
                arrived[number] = self._take_stretch(described, shard)
            else:
                arrived[number] = self._take(described, "conditions")
        self._received.update(arrived, order.named())
        call = self._received.call(order, latents, timestep, self._control)
        if order.cache is not None and order.cache.restored is not None:
            member.restore(order.cache, None, call, shard)
        member.evaluate(call, shard, order.cache)
        member.confirm()

    def _take(self, described: Described, purpose: str) -> torch.Tensor:
        return self.member.everyone.give(described.empty(self.member.groups.device), 0, purpose)

    def _take_stretch(self, described: Described, shard: SequenceShard) -> torch.Tensor:
        """This process's tokens of `described` (b, n, d)."""
        batch, _, width = described.shape
        return self.member.take((batch, shard.num_own, width), described.dtype, "camera")
