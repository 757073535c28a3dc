"""Which device and number format the networks run on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from infinitetalk_cli.errors import DependencyError, ResourceError

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def resolve_device(name: str) -> torch.device:
    """`auto` is the first CUDA device, else the CPU; otherwise torch's own names (`cpu`, `cuda:1`).

    Raises:
        DependencyError: the device does not exist here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as exc:
        raise DependencyError(f"--device {name}: no such device; use auto, cpu, cuda or cuda:N") from exc
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise DependencyError(
            f"--device {name}: this machine has {torch.cuda.device_count()} CUDA devices that torch can use; "
            "use --device cpu, or install a CUDA build of torch"
        )
    if device.type not in ("cpu", "cuda"):
        raise DependencyError(f"--device {name}: only cpu and cuda are supported; use --device auto")
    return device


@contextmanager
def watching_memory(what: str) -> Iterator[None]:
    """A device that runs out of memory while doing `what` is a `ResourceError`."""
    try:
        yield
    except torch.OutOfMemoryError as exc:
        raise ResourceError(
            f"{what}: the device's memory ran out; finished chunks are kept. "
            "Close other programs on the device, or lower geometry.area_px in the profile, and run again"
        ) from exc
