"""Weights that wait in the computer's memory until they are needed, through diffusers' group offloading."""

from __future__ import annotations

import torch
from torch import nn


def offload_blocks(transformer: nn.Module, device: torch.device, *, with_stream: bool) -> None:
    """Keep `transformer` on the CPU and bring its blocks to `device` one by one; what is outside the blocks goes
    there and back with every call.

    `with_stream`: the next block travels while one computes, which needs its weights in page-locked memory. For
    quantized weights it is off: that combination is known to fail in several versions of diffusers and torchao.
    """
    from diffusers.hooks import apply_group_offloading

    apply_group_offloading(
        transformer,
        onload_device=device,
        offload_type="block_level",
        num_blocks_per_group=1,
        use_stream=with_stream,
        record_stream=with_stream,
    )


def offload_layers(network: nn.Module, device: torch.device) -> None:
    """Keep any other `network` on the CPU and bring its layers to `device` one by one.

    Each of these networks runs a few times per chunk, so that nothing is gained by sending layers ahead.
    """
    from diffusers.hooks import apply_group_offloading

    apply_group_offloading(network, onload_device=device, offload_type="leaf_level")
