"""Networks filled by the formula that the metrics' goldens share: no weights are stored, both sides compute them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from ..harness import Golden, GoldenError


def fill(network: nn.Module, golden: Golden, divisors: Mapping[str, float] | None = None) -> nn.Module:
    """`network` with every tensor of its state from the formula, compared with what the golden's JSON says of it.

    `divisors`: by what some tensors are divided, by name.
    """
    seed, recorded = golden.setting("seed"), golden.setting("weights")
    names = list(network.state_dict())
    if names != [entry["key"] for entry in recorded]:
        differing = set(names) ^ {entry["key"] for entry in recorded}
        raise GoldenError(f"{golden.path}: other tensors than ours, or another order: {sorted(differing)[:4]}")
    state = {}
    for entry, (name, tensor) in zip(recorded, network.state_dict().items(), strict=True):
        if list(tensor.shape) != entry["shape"]:
            raise AssertionError(f"{name}: shape {list(tensor.shape)}, recorded {entry['shape']}")
        values = _values(name, tensor.shape, seed, entry["k"]) / (divisors or {}).get(name, 1)
        state[name] = torch.from_numpy(np.asarray(values, np.float32)).to(tensor.dtype)
        _check(golden, entry, state[name])
    network.load_state_dict(state)
    return network.eval()


def _check(golden: Golden, entry: dict[str, Any], tensor: torch.Tensor) -> None:
    values = tensor.double().flatten()
    ours = [*values[: len(entry["first"])].tolist(), values.sum().item(), values.square().sum().item()]
    theirs = [*entry["first"], entry["sum"], entry["sumsq"]]
    if not np.allclose(ours, theirs, rtol=1e-9, atol=1e-9):
        raise GoldenError(f"{golden.path}: the formula gives {ours} for {entry['key']}, recorded {theirs}")


def _values(name: str, shape: torch.Size, seed: int, place: int) -> np.ndarray:
    """One tensor in float64. The kinds of tensors are told apart by their name and their dimensions."""
    if name.endswith("num_batches_tracked"):
        return np.zeros(shape)
    noise = _noise(seed, place, math.prod(shape)).reshape(shape)
    if name.endswith(("running_mean", "bias")):
        return 0.1 * noise
    if name.endswith("running_var"):
        return 1 + 0.4 * noise
    if len(shape) == 1:
        return 1 + 0.2 * noise
    return noise * np.sqrt(6 / math.prod(shape[1:]))


def _noise(seed: int, place: int, count: int) -> np.ndarray:
    """(count,) in [-1, 1): the index hashed with seed and place. 32-bit arithmetic wraps, as it should."""
    start = (place * 40503 + seed * 2246822519) & 0xFFFFFFFF
    bits = np.arange(count, dtype=np.uint32) * np.uint32(2654435761) + np.uint32(start)
    for _ in range(2):
        for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35), (16, 1)):
            bits ^= bits >> np.uint32(shift)
            bits *= np.uint32(factor)
    return bits * (2 / 2**32) - 1
