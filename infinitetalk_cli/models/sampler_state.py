"""What the sampler carries from step to step, so that an interrupted chunk goes on with its next step."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cache
from typing import Any, Protocol

import torch
from torch import Tensor

from infinitetalk_cli.models.sampling import ProjectedGuidance
from infinitetalk_cli.models.step_cache import BlockResiduals

VERSION = 1
"""Raised when the steps begin to depend on something else: states of other versions are foreign."""


class LazyTensors(Sequence[Tensor]):
    """Tensors that `fetch` brings when the first of them is read, and whose size is known before."""

    def __init__(self, fetch: Callable[[], Sequence[Tensor]], num_bytes: int) -> None:
        self._fetch, self.num_bytes = cache(fetch), num_bytes

    def __len__(self) -> int:
        return len(self._fetch())

    def __getitem__(self, index: int) -> Tensor:
        return self._fetch()[index]


@dataclass(frozen=True, eq=False)
class SamplerState:
    """The sampler after `num_done` steps: what the next ones depend on, besides what the chunk is made from.

    `latents` (1, c, t, h, w) float32; `guidance`: the running differences of `ProjectedGuidance`; `residuals`: those of
    the step cache, where the next step reuses them. The tensors are the sampler's own, on its device, and good
    until the next step: whoever wants to keep them copies them.
    """

    num_done: int
    latents: Tensor
    guidance: Mapping[str, Tensor] = field(default_factory=dict)
    residuals: Sequence[Tensor] = ()

    @property
    def num_bytes(self) -> int:
        """Size of all tensors."""
        residuals = self.residuals
        elsewhere = isinstance(residuals, LazyTensors)
        residual_bytes = residuals.num_bytes if elsewhere else sum(tensor.nbytes for tensor in residuals)
        return sum(tensor.nbytes for tensor in (self.latents, *self.guidance.values())) + residual_bytes

    def tensors(self) -> dict[str, Tensor]:
        """All tensors, each under a name of its own."""
        guidance = {f"guidance.{name}": tensor for name, tensor in self.guidance.items()}
        residuals = {f"residual.{index}": tensor for index, tensor in enumerate(self.residuals)}
        return {"latents": self.latents, **guidance, **residuals}

    @classmethod
    def from_tensors(cls, num_done: int, tensors: Mapping[str, Tensor]) -> SamplerState:
        """The state whose `tensors()` these are. `KeyError` if there are no latents."""
        guidance = {
            name.removeprefix("guidance."): tensor for name, tensor in tensors.items() if name.startswith("guidance.")
        }
        num_residuals = sum(name.startswith("residual.") for name in tensors)
        residuals = tuple(tensors[f"residual.{index}"] for index in range(num_residuals))
        return cls(num_done, tensors["latents"], guidance, residuals)

    def resume(
        self, device: torch.device, projected: ProjectedGuidance | None, residuals: BlockResiduals | None
    ) -> Tensor:
        """The latents on `device`; gives guidance and step cache back what they had."""
        if projected is not None:
            projected.running.update({name: tensor.to(device) for name, tensor in self.guidance.items()})
        if residuals is not None:
            residuals.kept = tuple(tensor.to(device) for tensor in self.residuals)
        return self.latents.to(device)

    def wait(self) -> None:
        """Return when the device has computed the tensors, so that copying them takes no longer than it should."""
        if self.latents.is_cuda:
            torch.cuda.synchronize(self.latents.device)


class StateKeeper(Protocol):
    """Keeps the state of one chunk's sampler where it survives the process.

    `key` names what the chunk is made from; it takes a while to compute, so it is asked for only where it is needed.
    """

    def kept(self, key: Callable[[], str]) -> SamplerState | None:
        """The state to go on from, on the CPU; None to begin."""

    def offer(self, key: Callable[[], str], state: SamplerState) -> None:
        """The state after another step, to be kept or not. What is kept has to be copied before this returns."""


class KeepsNothing:
    """Every chunk begins with its first step."""

    def kept(self, key: Callable[[], str]) -> SamplerState | None:
        """See `StateKeeper.kept`."""
        return None

    def offer(self, key: Callable[[], str], state: SamplerState) -> None:
        """See `StateKeeper.offer`."""


def state_of(
    num_done: int,
    runs: Sequence[bool],
    latents: Tensor,
    projected: ProjectedGuidance | None,
    residuals: BlockResiduals | None,
) -> SamplerState:
    """The state after `num_done` of the steps `runs` (whether the blocks run in each), without what is not read again.

    A step in which the blocks run renews the residuals; after the last one only the latents matter.
    """
    is_finished = num_done == len(runs)
    reuses = not is_finished and not runs[num_done]
    return SamplerState(
        num_done=num_done,
        latents=latents,
        guidance={} if projected is None or is_finished else dict(projected.running),
        residuals=residuals.kept if residuals is not None and reuses else (),
    )


def conditions_key(conditions: Any, settings: Any, runs: Sequence[bool]) -> str:
    """SHA-256 of all that decides the steps of a chunk but the model.

    `conditions` is a dataclass of tensors and plain values, such as `ChunkConditions`; `settings` has a full `repr`.
    The model is not read: states are kept beside chunks that were made with it.
    """
    digest = hashlib.sha256(f"sampler state {VERSION} {settings!r} {list(runs)}".encode())
    for each in fields(conditions):
        digest.update(f"\n{each.name} ".encode())
        _feed(digest, getattr(conditions, each.name))
    return digest.hexdigest()


def _feed(digest: Any, value: Any) -> None:
    if isinstance(value, Tensor):
        hash_tensor(digest, value)
    elif isinstance(value, (tuple, list)):
        digest.update(f"{len(value)} ".encode())
        for item in value:
            _feed(digest, item)
    else:
        digest.update(repr(value).encode())


def hash_tensor(digest: Any, tensor: Tensor) -> None:
    """Feed shape, number format and content of `tensor` into a `hashlib` digest."""
    digest.update(f"{tensor.dtype} {tuple(tensor.shape)} ".encode())
    digest.update(tensor.cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
