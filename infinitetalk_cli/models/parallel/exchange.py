"""What the processes of a team give each other: counted, and the loss of one of them as our error."""

from __future__ import annotations

import pickle
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import prod
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from infinitetalk_cli.errors import PeerError


@dataclass
class Traffic:
    """Bytes that this process has received from others, by what they were for.

    Received bytes do not depend on how a collective passes them on; over a whole team they equal those sent.
    """

    received: Counter[str] = field(default_factory=Counter)
    forwards: int = 0

    def add(self, purpose: str, num_bytes: int) -> None:
        """Count `num_bytes` received."""
        self.received[purpose] += num_bytes

    @property
    def total(self) -> int:
        """Bytes for all purposes."""
        return self.received.total()


@contextmanager
def with_all_alive() -> Iterator[None]:
    """What torch says when another process has ended or hangs, as a `PeerError`: the job can be resumed."""
    try:
        yield
    except torch.OutOfMemoryError:
        raise  # a RuntimeError as well, but this process's own
    except RuntimeError as exc:
        raise PeerError(
            "another process of this job has ended or no longer answers, its own log says why; finished chunks are "
            "kept, run the same command again, with as many processes or another number"
        ) from exc


class Channel:
    """The collectives of one process group."""

    def __init__(self, group: dist.ProcessGroup, traffic: Traffic) -> None:
        self.group, self._traffic = group, traffic
        self.size, self.rank = dist.get_world_size(group), dist.get_rank(group)

    @torch.compiler.disable
    def swap(self, given: Sequence[Tensor], shapes: Sequence[Sequence[int]], purpose: str) -> list[Tensor]:
        """`given[r]` goes to process r of the group, and a tensor of `shapes[r]` comes from it; both may be empty."""
        sent = torch.cat([piece.reshape(-1) for piece in given])
        sizes = [prod(shape) for shape in shapes]
        received = sent.new_empty(sum(sizes))
        with with_all_alive():
            dist.all_to_all_single(received, sent, sizes, [piece.numel() for piece in given], group=self.group)
        self._traffic.add(purpose, (received.numel() - sizes[self.rank]) * received.element_size())
        return [piece.view(*shape) for piece, shape in zip(received.split(sizes), shapes, strict=True)]

    @torch.compiler.disable
    def gather(self, x: Tensor, sizes: Sequence[int], purpose: str) -> Tensor:
        """The `x` of all processes one after the other along dimension 1, where process r has `sizes[r]`.

        All travel with the largest of these sizes.
        """
        largest = max(sizes)
        padded = x.new_zeros(x.shape[0], largest, *x.shape[2:])
        padded[:, : x.shape[1]] = x
        received = [torch.empty_like(padded) for _ in sizes]
        with with_all_alive():
            dist.all_gather(received, padded, group=self.group)
        self._traffic.add(purpose, (self.size - 1) * padded.nbytes)
        return torch.cat([piece[:, :size] for piece, size in zip(received, sizes, strict=True)], dim=1)

    @torch.compiler.disable
    def give(self, x: Tensor, source: int, purpose: str) -> Tensor:
        """`x` of the process `source` of the group, for all; the others give an `x` to write into."""
        x = x.contiguous()
        with with_all_alive():
            dist.broadcast(x, group_src=source, group=self.group)
        if self.rank != source:
            self._traffic.add(purpose, x.nbytes)
        return x

    @torch.compiler.disable
    def largest(self, x: Tensor, purpose: str) -> Tensor:
        """The largest of all processes' `x`, number by number; written into `x`."""
        with with_all_alive():
            dist.all_reduce(x, dist.ReduceOp.MAX, group=self.group)
        self._traffic.add(purpose, (self.size - 1) * x.nbytes)
        return x

    def tell(self, message: Any) -> None:
        """A small message of process 0 for all others; a group on the CPU."""
        payload = torch.frombuffer(bytearray(pickle.dumps(message)), dtype=torch.uint8)
        self.give(torch.tensor([payload.numel()]), 0, "orders")
        self.give(payload, 0, "orders")

    def hear(self) -> Any:
        """The next message of process 0, however long it takes."""
        size = int(self.give(torch.zeros(1, dtype=torch.int64), 0, "orders"))
        payload = self.give(torch.zeros(size, dtype=torch.uint8), 0, "orders")
        return pickle.loads(payload.numpy().tobytes())
