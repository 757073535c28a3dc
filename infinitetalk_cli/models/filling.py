"""Puts weights into a network that was built without memory, one tensor at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from infinitetalk_cli.errors import DependencyError
from infinitetalk_cli.models.tensor_files import some_of


@dataclass(frozen=True)
class Placement:
    """Where the weights of a network go, and in which format.

    Weights with a part of their name in `float32_parts` stay in float32. `is_pinned`: in page-locked memory, from
    which a GPU reads on its own.
    """

    device: torch.device
    dtype: torch.dtype
    float32_parts: tuple[str, ...] = ()
    is_pinned: bool = False

    def dtype_of(self, name: str) -> torch.dtype:
        """The format of weight `name`."""
        return torch.float32 if set(self.float32_parts) & set(name.split(".")) else self.dtype


def without_memory() -> AbstractContextManager[None]:
    """Networks built inside have their parameters on the meta device; their buffers are real."""
    from accelerate import init_empty_weights

    return init_empty_weights(include_buffers=False)


def check_fit(
    network: nn.Module, found: Mapping[str, Tensor], where: str, remedy: str, may_miss: Iterable[str] = ()
) -> None:
    """Raise a `DependencyError` that lists what differs between the weights of `network` and those `found`."""
    expected = network.state_dict()
    missing = [name for name in expected if name not in found and name not in set(may_miss)]
    unexpected = [name for name in found if name not in expected]
    misshapen = [
        f"{name} is {_size(found[name])} instead of {_size(tensor)}"
        for name, tensor in expected.items()
        if name in found and found[name].shape != tensor.shape
    ]
    integers = [name for name in expected if name in found and not found[name].is_floating_point()]
    complaints = [
        f"{len(names)} {what} ({some_of(names)})"
        for names, what in (
            (missing, "missing"),
            (unexpected, "not known"),
            (misshapen, "of another shape"),
            (integers, "in whole numbers, as quantized by another program"),
        )
        if names
    ]
    if complaints:
        raise DependencyError(f"{where}: the weights do not fit the model: {'; '.join(complaints)}; {remedy}")


def fill(
    network: nn.Module,
    weights: Iterable[tuple[str, Tensor]],
    placement: Placement,
    change: Callable[[str, Tensor], Tensor] | None = None,
    finish: Callable[[str, nn.Module], None] | None = None,
) -> None:
    """Give `network` its `weights`, each converted and moved on its own; what needs neither stays memory-mapped.

    `change` sees every weight on its device, before it is rounded to its format; `finish` sees a module when its
    `weight` has arrived.
    """
    for name, read in weights:
        owner, _, leaf = name.rpartition(".")
        module = network.get_submodule(owner)
        tensor = read.to(placement.device)
        if change is not None:
            tensor = change(name, tensor)
        tensor = tensor.to(placement.dtype_of(name))
        if placement.is_pinned:
            tensor = tensor.pin_memory()
        elif finish is not None and tensor is read:
            tensor = read.clone()  # mapped, it would keep all of its file that was read for the large weights
        setattr(module, leaf, nn.Parameter(tensor, requires_grad=False))
        del read, tensor
        if finish is not None and leaf == "weight":
            finish(name, module)
    for buffer_name, buffer in list(network.named_buffers()):
        owner, _, leaf = buffer_name.rpartition(".")
        network.get_submodule(owner)._buffers[leaf] = buffer.to(placement.device)


def _size(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "a single number"
