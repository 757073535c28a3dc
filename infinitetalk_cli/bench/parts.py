"""Where the time of a forward goes, by a clock that is switched at the borders of modules."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from torch import nn

from infinitetalk_cli.bench.report import Parts
from infinitetalk_cli.models.attention_kernel import AttentionKernel
from infinitetalk_cli.models.transformer import InfiniteTalkTransformer3DModel


class PartClock:
    """Counts every moment to the part that is running; parts may lie inside each other.

    On CUDA the borders are events on the device, so nothing waits in between.
    """

    def __init__(self, device: torch.device) -> None:
        self._on_cuda = device.type == "cuda"
        self._running: list[str] = []
        self._borders: list[tuple[str | None, Any]] = []

    def enter(self, part: str) -> None:
        """`part` begins, inside whatever was running."""
        self._running.append(part)
        self._mark()

    def leave(self) -> None:
        """The part ends, and the one around it goes on."""
        self._running.pop()
        self._mark()

    def parts(self) -> Parts:
        """Time of each part so far."""
        if self._on_cuda:
            torch.cuda.synchronize()
        seconds: dict[str, float] = {}
        for (part, begin), (_, end) in zip(self._borders, self._borders[1:], strict=False):
            if part is not None:
                seconds[part] = seconds.get(part, 0.0) + self._between(begin, end)
        return Parts(**seconds)

    def _mark(self) -> None:
        part = self._running[-1] if self._running else None
        if self._on_cuda:
            event = torch.cuda.Event(enable_timing=True)
            event.record()
            self._borders.append((part, event))
        else:
            self._borders.append((part, time.perf_counter()))

    def _between(self, begin: Any, end: Any) -> float:
        return begin.elapsed_time(end) / 1e3 if self._on_cuda else end - begin


def part_of(name: str, module: nn.Module) -> str | None:
    """The part that begins with a module, by its name inside a block; None if it belongs to what is around it."""
    if name in ("audio_cross_attn", "person_positions"):
        return "audio"
    if name.startswith("audio_cross_attn"):
        return None
    if isinstance(module, AttentionKernel):
        return "self_attention" if name.startswith("attn1") else "cross_attention"
    return "linear" if isinstance(module, nn.Linear) else None


@contextmanager
def watched(transformer: InfiniteTalkTransformer3DModel, clock: PartClock) -> Iterator[None]:
    """`clock` counts what `transformer` does meanwhile."""
    borders: list[tuple[nn.Module, str]] = [(transformer, "embeddings_and_head")]
    for block in transformer.blocks:
        borders.append((block, "elementwise"))
        named = ((module, part_of(name, module)) for name, module in block.named_modules() if name)
        borders += [(module, part) for module, part in named if part is not None]
    with ExitStack() as stack:
        for module, part in borders:
            stack.callback(module.register_forward_pre_hook(_ignoring_arguments(partial(clock.enter, part))).remove)
            stack.callback(module.register_forward_hook(_ignoring_arguments(clock.leave)).remove)
        yield


def _ignoring_arguments(action: Callable[[], None]) -> Callable[..., None]:
    def hook(*_arguments: object) -> None:
        action()

    return hook
