"""What a leader tells its followers, and what of a forward's inputs they already have.

Inputs are numbered when they are first used. An order names all that its forward reads, tensors it does not repeat
included; followers keep these and drop the rest. So texts travel once in a job, picture, sound and masks once in a
chunk, and a step's order is followed by latents and timestep alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.weak import WeakIdKeyDictionary

from infinitetalk_cli.models.camera_control import BoundControl
from infinitetalk_cli.models.parallel.attention import Method
from infinitetalk_cli.models.parallel.shard import SequenceShard
from infinitetalk_cli.models.prepared import Attended, PreparedConditions
from infinitetalk_cli.models.uni3c import Uni3CControlNet


class Described(NamedTuple):
    """A tensor that follows an order."""

    shape: tuple[int, ...]
    dtype: torch.dtype

    @classmethod
    def of(cls, tensor: Tensor) -> Described:
        return cls(tuple(tensor.shape), tensor.dtype)

    def empty(self, device: torch.device) -> Tensor:
        """Room for it."""
        return torch.empty(self.shape, dtype=self.dtype, device=device)


@dataclass(frozen=True)
class BranchOrder:
    """`PreparedConditions` by numbers."""

    text: int | None
    image: int | None
    audio: int
    num_people: int


@dataclass(frozen=True)
class ControlOrder:
    """`BoundControl` by numbers; of its mask tokens every process gets its own stretch."""

    mask_channels: int
    render_latents: int
    mask_tokens: int | None
    strength: float


@dataclass(frozen=True)
class CacheOrder:
    """What step caching does in this forward: `number` of the chunk's residuals, whether they are reused instead of
    the blocks, and, where the leader took them from a snapshot, how they look as a whole."""

    number: int
    reuse: bool
    restored: Described | None = None


@dataclass(frozen=True)
class ForwardOrder:
    """Evaluate the transformer. First come latents and timestep, then `arrivals` by their numbers."""

    latents: Described
    timestep: Described
    condition: int | None
    person_masks: int | None
    branches: tuple[BranchOrder, ...]
    control: ControlOrder | None
    batch_branches: bool
    cache: CacheOrder | None
    method: Method
    arrivals: Mapping[int, Described]

    def named(self) -> set[int]:
        """Numbers of all that this forward reads."""
        numbers = {self.condition, self.person_masks}
        for branch in self.branches:
            numbers |= {branch.text, branch.image, branch.audio}
        if self.control is not None:
            numbers |= {self.control.mask_channels, self.control.render_latents, self.control.mask_tokens}
        return numbers - {None}

    def stretches(self) -> set[int]:
        """Numbers of what is not given whole."""
        return set() if self.control is None else {self.control.mask_tokens} - {None}


@dataclass(frozen=True)
class GatherResiduals:
    """Give the leader what step caching kept, for a snapshot."""


@dataclass(frozen=True)
class End:
    """There is no more work."""


@dataclass(frozen=True, eq=False)
class Call:
    """The inputs of a forward; all but the camera's mask tokens are the same on every process."""

    latents: Tensor
    timestep: Tensor
    condition: Tensor | None
    person_masks: Tensor | None
    prepared: tuple[PreparedConditions, ...]
    control: BoundControl | None
    batch_branches: bool

    def of_stretch(self, shard: SequenceShard | None) -> Call:
        """The same with the mask tokens of `shard` alone."""
        if shard is None or self.control is None or self.control.mask_tokens is None:
            return self
        control = replace(self.control, mask_tokens=shard.own(self.control.mask_tokens))
        return replace(self, control=control)


class Numbers:
    """Numbers for tensors and other inputs, for as long as they live; it keeps nothing alive.

    A tensor that was changed in place is another one.
    """

    def __init__(self) -> None:
        self._known: Any = WeakIdKeyDictionary()
        self._next = 0
        self._held: set[int] = set()
        self.new: dict[int, Tensor] = {}
        """What followers do not have yet, since the last `settle`."""

    def of(self, thing: Tensor | Attended | None) -> int | None:
        """The number of `thing`; None for None."""
        if thing is None:
            return None
        tensor = thing.embeddings if isinstance(thing, Attended) else thing
        version = 0 if tensor.is_inference() else tensor._version
        number, known_version = self._known.get(thing, (None, None))
        if number is None or version != known_version:
            number, self._next = self._next, self._next + 1
            self._known[thing] = (number, version)
        if number not in self._held:
            self.new[number] = tensor
        return number

    def settle(self, named: set[int]) -> None:
        """Followers now have what is `named`, and nothing else."""
        self._held, self.new = named, {}


def branch_orders(prepared: Iterable[PreparedConditions], numbers: Numbers) -> tuple[BranchOrder, ...]:
    """The branches of a step by numbers."""
    return tuple(
        BranchOrder(numbers.of(one.text), numbers.of(one.image), numbers.of(one.audio), one.num_people)
        for one in prepared
    )


def control_order(control: BoundControl | None, numbers: Numbers) -> ControlOrder | None:
    """The bound camera branch by numbers."""
    if control is None:
        return None
    tensors = (control.mask_channels, control.render_latents, control.mask_tokens)
    return ControlOrder(*map(numbers.of, tensors), control.strength)


class Received:
    """What a follower has been given, by number."""

    def __init__(self) -> None:
        self._tensors: dict[int, Tensor] = {}
        self._attended: dict[int, Attended] = {}

    def update(self, arrived: Mapping[int, Tensor], named: set[int]) -> None:
        """Take what `arrived`, and drop all that is not `named`."""
        self._tensors = {number: tensor for number, tensor in {**self._tensors, **arrived}.items() if number in named}
        self._attended = {number: attended for number, attended in self._attended.items() if number in named}

    def call(self, order: ForwardOrder, latents: Tensor, timestep: Tensor, camera: Uni3CControlNet | None) -> Call:
        """The inputs of `order`."""
        prepared = tuple(
            PreparedConditions(self._keys(one.text), self._keys(one.image), self._keys(one.audio), one.num_people)
            for one in order.branches
        )
        return Call(
            latents=latents,
            timestep=timestep,
            condition=self._tensor(order.condition),
            person_masks=self._tensor(order.person_masks),
            prepared=prepared,
            control=self._control(order.control, camera),
            batch_branches=order.batch_branches,
        )

    def _control(self, order: ControlOrder | None, camera: Uni3CControlNet | None) -> BoundControl | None:
        if order is None:
            return None
        if camera is None:
            raise ValueError("the camera branch is to steer, and this follower was given none")
        tensors = (self._tensor(number) for number in (order.mask_channels, order.render_latents, order.mask_tokens))
        return BoundControl(camera, *tensors, order.strength)

    def _tensor(self, number: int | None) -> Tensor | None:
        return None if number is None else self._tensors[number]

    def _keys(self, number: int | None) -> Attended | None:
        """The same object as long as it is named, for it holds the keys that blocks made."""
        if number is None:
            return None
        if number not in self._attended:
            self._attended[number] = Attended(self._tensors[number])
        return self._attended[number]
