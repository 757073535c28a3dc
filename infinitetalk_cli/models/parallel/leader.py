"""The transformer as its team's leader sees it: it is called like the one of a single process."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from math import prod
from types import TracebackType
from typing import Any, Self

import torch
from diffusers import ContextParallelConfig
from diffusers.models.modeling_outputs import Transformer2DModelOutput
from torch import Tensor, nn

from infinitetalk_cli.errors import DependencyError, ProfileError
from infinitetalk_cli.models.attention import SelfAttention
from infinitetalk_cli.models.camera_control import BoundControl
from infinitetalk_cli.models.parallel.attention import RING_KERNELS, Method
from infinitetalk_cli.models.parallel.exchange import Traffic
from infinitetalk_cli.models.parallel.groups import TeamGroups
from infinitetalk_cli.models.parallel.member import TeamMember, rows_of_streams
from infinitetalk_cli.models.parallel.orders import (
    CacheOrder,
    Call,
    Described,
    End,
    ForwardOrder,
    GatherResiduals,
    Numbers,
    branch_orders,
    control_order,
)
from infinitetalk_cli.models.parallel.residuals import TeamResiduals
from infinitetalk_cli.models.parallel.shard import SequenceShard
from infinitetalk_cli.models.prepared import PreparedConditions
from infinitetalk_cli.models.step_cache import BlockResiduals
from infinitetalk_cli.models.transformer import InfiniteTalkTransformer3DModel


class ParallelTransformer:
    """`transformer` evaluated by all processes of `groups`, of which this one leads and the others `follow`.

    A forward is collective: followers are told what changed since the last one, all compute, and everybody gets the
    whole output. Whatever is given, tensors and prepared conditions, is known to followers for as long as forwards
    go on reading it, and must stay as it is meanwhile (what was changed in place is noticed and sent anew).

    Raises:
        DependencyError, ProfileError: `method` cannot split this transformer's attention on this device.
        PeerError: in a forward, when a process of the team has ended or hangs. The team is of no use after that.
    """

    def __init__(
        self, transformer: InfiniteTalkTransformer3DModel, groups: TeamGroups, method: Method = "ulysses"
    ) -> None:
        if not groups.is_leader:
            raise ValueError("this process does not lead its team; it follows")
        if groups.shape.sequence > 1:
            require_method(method, transformer, groups.device)
        self._member, self._method, self._numbers = TeamMember(transformer, groups), method, Numbers()
        self._num_chunks = 0
        self._failure: BaseException | None = None
        self._is_closed = groups.size == 1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let the followers end. A team that has lost a process is left as it is."""
        if self._is_closed:
            return
        self._is_closed = True
        if self._failure is None:
            self._member.orders.tell(End())

    @property
    def transformer(self) -> InfiniteTalkTransformer3DModel:
        """This process's own."""
        return self._member.transformer

    @property
    def traffic(self) -> Traffic:
        """What this process has received of others so far."""
        return self._member.traffic

    @property
    def config(self) -> Any:
        """See `InfiniteTalkTransformer3DModel`."""
        return self.transformer.config

    @property
    def device(self) -> torch.device:
        """Where latents live."""
        return self.transformer.device

    @property
    def condition_layout(self) -> str:
        """See `InfiniteTalkTransformer3DModel`."""
        return self.transformer.condition_layout

    def modulations(self, timesteps: Tensor) -> Tensor:
        """See `InfiniteTalkTransformer3DModel`; this process's alone."""
        return self.transformer.modulations(timesteps)

    def prepare_conditions(
        self, text: Tensor | None, image: Tensor | None, audio: Tensor, num_people: int = 1
    ) -> PreparedConditions:
        """See `InfiniteTalkTransformer3DModel`."""
        return self.transformer.prepare_conditions(text, image, audio, num_people)

    def new_residuals(self) -> BlockResiduals:
        """What step caching keeps of one chunk, everywhere in the team."""
        self._num_chunks += 1
        return TeamResiduals(self._num_chunks)

    def __call__(
        self,
        latents: Tensor,
        timestep: Tensor,
        text: Tensor | None = None,
        image: Tensor | None = None,
        condition: Tensor | None = None,
        audio: Tensor | None = None,
        person_masks: Tensor | None = None,
        prepared: Sequence[PreparedConditions] | None = None,
        batch_branches: bool = False,
        residuals: TeamResiduals | None = None,
        reuse_residuals: bool = False,
        control: BoundControl | None = None,
        return_dict: bool = True,
    ) -> Transformer2DModelOutput | tuple[Tensor]:
        """As `InfiniteTalkTransformer3DModel.forward`; `residuals` are of `new_residuals`, and nothing is learned."""
        if prepared is None:
            num_people = audio.shape[0] // latents.shape[0]
            prepared = (self.prepare_conditions(text, image, audio, num_people),)
        call = Call(latents, timestep, condition, person_masks, tuple(prepared), control, batch_branches)
        shard = self._member.shard(latents, self._method)
        with torch.no_grad(), self._together():
            output = self._evaluate(call, shard, residuals, reuse_residuals)
        return Transformer2DModelOutput(sample=output) if return_dict else (output,)

    def _evaluate(
        self, call: Call, shard: SequenceShard | None, residuals: TeamResiduals | None, reuse: bool
    ) -> Tensor:
        member, cache, restored = self._member, None, None
        if residuals is not None:
            restored = torch.cat(residuals.restored) if reuse and residuals.restored else None
            described = None if restored is None else Described.of(restored)
            cache = CacheOrder(residuals.number, reuse, described)
        if member.everyone is not None:
            call = self._ordered(call, cache, shard)
        if restored is not None:
            member.restore(cache, restored, call, shard)
        output = member.evaluate(call, shard, cache)
        member.confirm()
        if residuals is not None and (restored is not None or not reuse):
            self._keep(residuals, call, shard)
        return output

    def _ordered(self, call: Call, cache: CacheOrder | None, shard: SequenceShard | None) -> Call:
        """Tell followers of `call`, and give them what they do not have; the call as this process itself reads it."""
        member, numbers = self._member, self._numbers
        order = ForwardOrder(
            latents=Described.of(call.latents),
            timestep=Described.of(call.timestep),
            condition=numbers.of(call.condition),
            person_masks=numbers.of(call.person_masks),
            branches=branch_orders(call.prepared, numbers),
            control=control_order(call.control, numbers),
            batch_branches=call.batch_branches,
            cache=cache,
            method=self._method,
            arrivals={number: Described.of(tensor) for number, tensor in numbers.new.items()},
        )
        member.orders.tell(order)
        for tensor in (call.latents, call.timestep):
            member.everyone.give(tensor, 0, "step")
        for number, tensor in numbers.new.items():
            if shard is not None and number in order.stretches():
                member.scatter([tensor[:, tokens] for _, tokens in member.places(1, 1, shard)], "camera")
            else:
                member.everyone.give(tensor, 0, "conditions")
        numbers.settle(order.named())
        return call.of_stretch(shard)

    def _keep(self, residuals: TeamResiduals, call: Call, shard: SequenceShard | None) -> None:
        """Let `residuals` know that the team has new ones."""
        grid, transformer = self._member.grid(call.latents), self.transformer
        num_rows = len(call.prepared) * call.latents.shape[0]
        width = transformer.config.num_attention_heads * transformer.config.attention_head_dim
        shape = (num_rows, prod(grid), width)
        streams = rows_of_streams(call.prepared, call.batch_branches, num_rows)
        gather = partial(self._gather, len(call.prepared), shape, streams, shard)
        residuals.are_with_team(gather, prod(shape) * transformer.stream_dtype.itemsize)

    def _gather(
        self, num_branches: int, shape: Sequence[int], streams: Sequence[int], shard: SequenceShard | None
    ) -> Sequence[Tensor]:
        """The whole residuals of `shape` (k b, n, d), in `streams` of so many rows."""
        with self._together():
            if self._member.orders is not None:
                self._member.orders.tell(GatherResiduals())
            return self._member.gather_residuals(num_branches, shape, shard).split(streams)

    @contextmanager
    def _together(self) -> Iterator[None]:
        """What is done by the whole team, or ends it: whoever leaves in between leaves the others waiting."""
        if self._failure is not None:
            raise self._failure
        try:
            yield
        except BaseException as exc:
            self._failure = exc
            self._member.groups.abandon()
            raise


def require_method(method: Method, network: nn.Module, device: torch.device) -> None:
    """Check that `network`'s self attention can be split by `method` on `device`.

    Raises:
        DependencyError: ring without CUDA, or with a diffusers that needs an even number of tokens for it.
        ProfileError: ring with a kernel that gives no log-sum-exp, or in float32.
    """
    if method == "ulysses":
        return
    if device.type != "cuda":
        raise DependencyError(f"ring attention needs CUDA devices (this is {device.type}); use ulysses")
    if "ring_anything" not in ContextParallelConfig.__dataclass_fields__:
        raise DependencyError("ring attention needs a newer diffusers (`pip install -U diffusers`); or use ulysses")
    for module in network.modules():
        if not isinstance(module, SelfAttention):
            continue
        if module.kernel.backend not in RING_KERNELS:
            raise ProfileError(
                "ring attention needs a kernel that gives the log-sum-exp; use --attention sdpa or flash, or ulysses"
            )
        if module.to_v.bias.dtype == torch.float32:
            raise ProfileError("ring attention goes with compute.dtype bfloat16 only; change it, or use ulysses")
