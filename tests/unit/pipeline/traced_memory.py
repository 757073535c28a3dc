"""What a computation needs at its peak, found by running it on tensors that have shapes and no values."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from infinitetalk_cli.models.attention import rotation_3d


class Traced(NamedTuple):
    """Bytes at the peak, and those of tensors that somebody still holds afterwards, the result left aside."""

    peak_bytes: int
    held_bytes: int


class _Meter(TorchDispatchMode):
    """Counts the bytes of every storage that an operation makes, until nobody holds it any more."""

    def __init__(self) -> None:
        super().__init__()
        self.peak_bytes = self.live_bytes = 0
        self._sizes: dict[int, int] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        known = {key for key, _ in _storages((args, kwargs))}
        for key, storage in _storages(result):
            if key not in known and key not in self._sizes:
                self._sizes[key] = storage.nbytes()
                self.live_bytes += storage.nbytes()
                weakref.finalize(storage, self._forget, key)
        self.peak_bytes = max(self.peak_bytes, self.live_bytes)
        return result

    def _forget(self, key: int) -> None:
        self.live_bytes -= self._sizes.pop(key)


class _FusedAttention(TorchFunctionMode):
    """Attention as fused kernels do it: nothing but the result takes memory."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.nn.functional.scaled_dot_product_attention:
            query, _, value = (*args, *(kwargs or {}).values())[:3]
            return query.new_empty(*query.shape[:-1], value.shape[-1])
        return func(*args, **(kwargs or {}))


@contextmanager
def shapes_only() -> Iterator[None]:
    """Inside, tensors have shapes and formats but no values, and take no memory."""
    from torch._subclasses.fake_tensor import FakeTensorMode

    rotation_3d.cache_clear()
    try:
        with FakeTensorMode(), torch.no_grad():
            yield
    finally:
        rotation_3d.cache_clear()  # its tables have no values either


def peak_bytes(run: Callable[[], object]) -> int:
    """Most bytes that tensors made by `run` take at once."""
    return traced(run).peak_bytes


def traced(run: Callable[[], object]) -> Traced:
    """What the tensors made by `run` take; inside `shapes_only` nothing is really computed."""
    with _FusedAttention(), _Meter() as meter:
        result = run()
        del result
    return Traced(meter.peak_bytes, meter.live_bytes)


def _storages(values: Any) -> Iterator[tuple[int, torch.UntypedStorage]]:
    for value in tree_leaves(values):
        if isinstance(value, torch.Tensor):
            storage = value.untyped_storage()
            yield storage._cdata, storage
