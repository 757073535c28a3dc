"""Self attention of tokens that are split over processes: Ulysses, or ring.

Ulysses swaps stretches for heads: each process gets all tokens of its heads, attends, and swaps back. Ring leaves
queries where they are, shows every process all keys and values, and joins the parts by their log-sum-exp.

Who does what, and why:
- diffusers' context parallelism does Ulysses where tokens and heads split evenly and it knows the kernel (torch's,
  FlashAttention 2, SageAttention), on any device, and ring (its "ring anything", which takes any number of tokens)
  with a kernel that gives the log-sum-exp: FlashAttention 2, or the one inside torch, both on CUDA. It is given the
  process group directly, because its own set-up makes new groups in all processes of a job, and teams come apart.
- `_swapped` does Ulysses everywhere else. For uneven stretches diffusers asks for their lengths in four exchanges per
  attention, each of which makes a GPU wait, and fills heads up with zeros that travel (3 heads on 2 processes: a third
  more; on 4 it refuses). Here the lengths follow from the grid, nothing is filled up, queries, keys and values go in
  one exchange, a process may have no head at all, and any kernel serves (FlashAttention 3).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from diffusers import ContextParallelConfig
from diffusers.models._modeling_parallel import ParallelConfig
from diffusers.models.attention_dispatch import AttentionBackendName
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh

from infinitetalk_cli.models.attention_kernel import AttentionKernel
from infinitetalk_cli.models.parallel.exchange import Channel, Traffic, with_all_alive
from infinitetalk_cli.models.parallel.groups import split

Method = Literal["ulysses", "ring"]

ULYSSES_OF_DIFFUSERS = frozenset({AttentionBackendName.NATIVE, AttentionBackendName.FLASH, AttentionBackendName.SAGE})
RING_KERNELS = {
    AttentionBackendName.NATIVE: AttentionBackendName._NATIVE_FLASH,
    AttentionBackendName.FLASH: AttentionBackendName.FLASH,
}
"""Kernels with a log-sum-exp that compute what the chosen one does: torch's own dispatcher gives none, its
FlashAttention does."""


class SharedAttention:
    """Self attention of the processes of `channel`, all of which call it with their own stretches."""

    def __init__(self, channel: Channel, traffic: Traffic, device: torch.device, method: Method) -> None:
        self._channel, self._traffic, self.method = channel, traffic, method
        if method == "ulysses":
            config = ContextParallelConfig(ulysses_degree=channel.size)
        else:
            config = ContextParallelConfig(ring_degree=channel.size, ring_anything=True)
        mesh = DeviceMesh.from_group(channel.group, device.type)
        config._world_size = channel.size
        config._ulysses_mesh = config._ring_mesh = mesh
        config._ulysses_local_rank = config._ring_local_rank = channel.rank
        self._config = ParallelConfig(context_parallel_config=config)

    def __call__(
        self, kernel: AttentionKernel, q_bnhd: Tensor, k_bnhd: Tensor, v_bnhd: Tensor, sizes: Sequence[int]
    ) -> Tensor:
        """What `kernel` gives for the own stretches (b, n, h, d) among all; `sizes` are the n of all processes."""
        num_heads, size = q_bnhd.shape[2], self._channel.size
        if self.method == "ring":
            return self._ring(kernel, q_bnhd, k_bnhd, v_bnhd, sizes)
        if num_heads % size or len(set(sizes)) > 1 or kernel.backend not in ULYSSES_OF_DIFFUSERS:
            return self._swapped(kernel, q_bnhd, k_bnhd, v_bnhd, sizes)
        with with_all_alive():
            out = kernel(q_bnhd, k_bnhd, v_bnhd, self._config)
        self._traffic.add("attention", 4 * q_bnhd.nbytes * (size - 1) // size)
        return out

    def _swapped(
        self, kernel: AttentionKernel, q_bnhd: Tensor, k_bnhd: Tensor, v_bnhd: Tensor, sizes: Sequence[int]
    ) -> Tensor:
        """Ulysses with any number of tokens and heads, in two exchanges."""
        batch, num_own, num_heads, width = q_bnhd.shape
        heads = split(num_heads, self._channel.size)
        num_mine = _length(heads[self._channel.rank])
        three = torch.stack((q_bnhd, k_bnhd, v_bnhd))
        shapes = [(3, batch, size, num_mine, width) for size in sizes]
        pieces = self._channel.swap([three[:, :, :, each] for each in heads], shapes, "attention")
        q_bnhd, k_bnhd, v_bnhd = torch.cat(pieces, dim=2)
        out = kernel(q_bnhd, k_bnhd, v_bnhd) if num_mine else q_bnhd
        shapes = [(batch, num_own, _length(each), width) for each in heads]
        return torch.cat(self._channel.swap(out.split(list(sizes), dim=1), shapes, "attention"), dim=2)

    def _ring(
        self, kernel: AttentionKernel, q_bnhd: Tensor, k_bnhd: Tensor, v_bnhd: Tensor, sizes: Sequence[int]
    ) -> Tensor:
        """Keys and values of all, shown to all; they travel with the largest stretch."""
        with with_all_alive():
            out = kernel(q_bnhd, k_bnhd, v_bnhd, self._config, RING_KERNELS[kernel.backend])
        per_token = (k_bnhd.nbytes + v_bnhd.nbytes) // k_bnhd.shape[1]
        self._traffic.add("attention", (self._channel.size - 1) * max(sizes) * per_token)
        return out


def ulysses_minimum(sizes: Sequence[int], num_heads: int, head_dim: int, element_size: int) -> list[int]:
    """Bytes that each process has to receive for one self attention (b = 1) of stretches of `sizes` tokens.

    Process r needs the queries, keys and values of its h_r heads at the n - n_r tokens of the others, and the outputs
    of its n_r tokens for the h - h_r heads of the others: `(3 (n - n_r) h_r + n_r (h - h_r)) d` numbers. Evenly split
    over p processes, that is `4 n h d (p - 1) / p^2` for each.
    """
    heads = [_length(each) for each in split(num_heads, len(sizes))]
    total = sum(sizes)
    return [
        (3 * (total - size) * mine + size * (num_heads - mine)) * head_dim * element_size
        for size, mine in zip(sizes, heads, strict=True)
    ]


def _length(stretch: slice) -> int:
    return stretch.stop - stretch.start
