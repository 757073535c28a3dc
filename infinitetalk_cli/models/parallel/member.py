"""What leader and followers do alike: their own part of a forward."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import groupby

import torch
from torch import Tensor

from infinitetalk_cli.models.parallel.attention import Method, SharedAttention
from infinitetalk_cli.models.parallel.exchange import Channel, Traffic
from infinitetalk_cli.models.parallel.groups import TeamGroups, split
from infinitetalk_cli.models.parallel.orders import CacheOrder, Call
from infinitetalk_cli.models.parallel.shard import SequenceShard
from infinitetalk_cli.models.prepared import PreparedConditions
from infinitetalk_cli.models.step_cache import BlockResiduals
from infinitetalk_cli.models.transformer import InfiniteTalkTransformer3DModel


class TeamMember:
    """One process's transformer, with its share of branches and its stretch of tokens.

    Residuals of step caching stay where they were made: those of this process's branches and tokens.
    """

    def __init__(self, transformer: InfiniteTalkTransformer3DModel, groups: TeamGroups) -> None:
        self.transformer, self.groups, self.traffic = transformer, groups, Traffic()
        self.orders = None if groups.orders is None else Channel(groups.orders, self.traffic)
        self.everyone = None if groups.everyone is None else Channel(groups.everyone, self.traffic)
        self._sequence = None if groups.sequence is None else Channel(groups.sequence, self.traffic)
        self._guidance = None if groups.guidance is None else Channel(groups.guidance, self.traffic)
        self._attentions: dict[Method, SharedAttention] = {}
        self._residuals, self._residuals_number = BlockResiduals(), -1

    def grid(self, latents: Tensor) -> tuple[int, ...]:
        """Tokens of `latents` along frames, rows and columns."""
        patch = self.transformer.config.patch_size
        return tuple(size // of for size, of in zip(latents.shape[2:], patch, strict=True))

    def shard(self, latents: Tensor, method: Method) -> SequenceShard | None:
        """This process's stretch of the tokens of `latents`; None if it has all of them."""
        if self._sequence is None:
            return None
        if method not in self._attentions:
            device = self.groups.device
            self._attentions[method] = SharedAttention(self._sequence, self.traffic, device, method)
        return SequenceShard(self._sequence, self._attentions[method], self.grid(latents))

    def branches(self, num_branches: int) -> list[slice]:
        """Which branches each share of guidance evaluates."""
        return split(num_branches, self.groups.shape.guidance)

    def evaluate(self, call: Call, shard: SequenceShard | None, cache: CacheOrder | None) -> Tensor:
        """The outputs (k b, c, t, h, w) of all k branches, on every process of the team."""
        shares = self.branches(len(call.prepared))
        mine = call.prepared[shares[self.groups.guidance_index]]
        batch, grid = call.latents.shape[0], call.latents.shape[2:]
        residuals = None if cache is None else self.residuals(cache)
        output = call.latents.new_empty(0, self.transformer.config.out_channels, *grid, dtype=torch.float32)
        if mine:
            output = self._evaluate(call, mine, shard, residuals, reuse=cache is not None and cache.reuse)
        self.traffic.forwards += 1
        if self._guidance is None:
            return output
        sizes = [batch * (share.stop - share.start) for share in shares]
        return self._guidance.gather(output[None], sizes, "output")[0]

    def _evaluate(
        self,
        call: Call,
        prepared: Sequence[PreparedConditions],
        shard: SequenceShard | None,
        residuals: BlockResiduals | None,
        reuse: bool,
    ) -> Tensor:
        control = call.control
        with torch.no_grad():
            return self.transformer(
                call.latents,
                call.timestep,
                condition=call.condition,
                person_masks=call.person_masks,
                prepared=prepared,
                batch_branches=call.batch_branches,
                residuals=residuals,
                reuse_residuals=reuse,
                control=None if control is None else partial(control, shard=shard),
                shard=shard,
            ).sample

    def residuals(self, cache: CacheOrder) -> BlockResiduals:
        """Those of this process for the chunk of `cache`."""
        if cache.number != self._residuals_number:
            self._residuals, self._residuals_number = BlockResiduals(), cache.number
        return self._residuals

    def scatter(self, pieces: Sequence[Tensor], purpose: str) -> Tensor:
        """The leader's part: one of `pieces` for each process; its own comes back."""
        nothing = [(0,)] * (self.groups.size - 1)
        return self.everyone.swap(pieces, [pieces[0].shape, *nothing], purpose)[0]

    def take(self, shape: Sequence[int], dtype: torch.dtype, purpose: str) -> Tensor:
        """A follower's part: its own piece, of `shape`, of what the leader scatters."""
        nothing = torch.empty(0, dtype=dtype, device=self.groups.device)
        others = [(0,)] * (self.groups.size - 1)
        return self.everyone.swap([nothing] * self.groups.size, [shape, *others], purpose)[0]

    def restore(self, cache: CacheOrder, whole: Tensor | None, call: Call, shard: SequenceShard | None) -> None:
        """Every process takes its part of the `whole` residuals (k b, n, d) that the leader has from a snapshot."""
        mine = call.prepared[self.branches(len(call.prepared))[self.groups.guidance_index]]
        places = self.places(len(call.prepared), call.latents.shape[0], shard)
        if whole is not None and self.everyone is not None:
            own = self.scatter([whole[rows, tokens] for rows, tokens in places], "residuals")
        elif whole is not None:
            own = whole
        else:
            rows, tokens = places[self.groups.index]
            num_tokens = _length(tokens, cache.restored.shape[1])
            shape = (_length(rows, cache.restored.shape[0]), num_tokens, cache.restored.shape[2])
            own = self.take(shape, cache.restored.dtype, "residuals")
        self.residuals(cache).kept = own.split(rows_of_streams(mine, call.batch_branches, own.shape[0])) if mine else ()

    def gather_residuals(self, num_branches: int, shape: Sequence[int], shard: SequenceShard | None) -> Tensor:
        """The leader's part: everybody's residuals as a whole of `shape` (k b, n, d), branches in their order."""
        own = torch.cat(tuple(self._residuals.kept))
        if self.everyone is None:
            return own
        places = self.places(num_branches, shape[0] // num_branches, shard)
        shapes = [(_length(rows, shape[0]), _length(tokens, shape[1]), shape[2]) for rows, tokens in places]
        nothing = [own.new_empty(0)] * (self.groups.size - 1)
        whole = own.new_empty(*shape)
        for (rows, tokens), piece in zip(places, self.everyone.swap([own, *nothing], shapes, "residuals"), strict=True):
            whole[rows, tokens] = piece
        return whole

    def give_residuals(self) -> None:
        """A follower's part of `gather_residuals`."""
        nothing = torch.empty(0, dtype=self.transformer.stream_dtype, device=self.groups.device)
        own = torch.cat(tuple(self._residuals.kept)) if self._residuals.kept else nothing
        size = self.groups.size
        self.everyone.swap([own, *[nothing] * (size - 1)], [(0,)] * size, "residuals")

    def places(self, num_branches: int, batch: int, shard: SequenceShard | None) -> list[tuple[slice, slice]]:
        """Rows of (branches b, n, ...), and tokens, that every process has."""
        stretches = [slice(None)] if shard is None else shard.stretches
        shares = [slice(share.start * batch, share.stop * batch) for share in self.branches(num_branches)]
        pairs = map(self.groups.place, range(self.groups.size))
        return [(shares[guidance], stretches[sequence]) for guidance, sequence in pairs]

    def confirm(self) -> None:
        """Return when everybody is done with the forward, or fail because one has ended.

        On CUDA exchanges are only begun by the host, and would wait for a lost process until `timeout_s`; this hears
        of it at once. On the CPU an exchange is over when its call returns.
        """
        if self.orders is None or self.groups.device.type != "cuda":
            return
        if not self.groups.is_leader:
            torch.cuda.synchronize(self.groups.device)
        self.orders.largest(torch.zeros(1), "orders")


def rows_of_streams(prepared: Sequence[PreparedConditions], batched: bool, num_rows: int) -> list[int]:
    """How many of `num_rows` (k b) each of the transformer's streams has, `batched` or each branch alone."""
    batch = num_rows // len(prepared)
    if not batched:
        return [batch] * len(prepared)
    return [batch * len(list(group)) for _, group in groupby(prepared, key=lambda one: one.num_people > 1)]


def _length(stretch: slice, total: int) -> int:
    return len(range(*stretch.indices(total)))
