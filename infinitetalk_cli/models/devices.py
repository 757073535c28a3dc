"""Which device the networks run on, and what it can do."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from infinitetalk_cli.errors import DependencyError, ResourceError

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}

FP8_CAPABILITY = (8, 9)
"""NVIDIA's compute capability from which tensor cores multiply 8-bit floats (Ada, Hopper and later)."""
BFLOAT16_CAPABILITY = (8, 0)
"""The same for bfloat16 (Ampere and later)."""

_DRIVER_FILE = Path("/sys/module/nvidia/version")


@dataclass(frozen=True)
class DeviceFacts:
    """What is known of a device before anything is put on it.

    `free_bytes` is what no other program uses at the moment (what torch keeps here is used again); on a CPU it is the
    memory that programs can still have.
    `capability` and `driver` are those of a CUDA device. `multiplies_bfloat16`: in hardware, not by way of float32.
    """

    kind: Literal["cpu", "cuda"]
    name: str
    memory_bytes: int
    free_bytes: int
    multiplies_bfloat16: bool
    capability: tuple[int, int] | None = None
    driver: str | None = None

    @property
    def multiplies_fp8(self) -> bool:
        """Whether 8-bit floats are multiplied in hardware."""
        return self.capability is not None and self.capability >= FP8_CAPABILITY


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


def device_facts(name: str) -> DeviceFacts:
    """What torch says of the device that `resolve_device(name)` is.

    Raises:
        DependencyError: the device does not exist here, or its driver does not answer.
    """
    device = resolve_device(name)
    return _cpu_facts() if device.type == "cpu" else _cuda_facts(device)


def _cpu_facts() -> DeviceFacts:
    from infinitetalk_cli.machine import host_memory

    memory = host_memory()
    able = torch.cpu.get_capabilities()
    return DeviceFacts(
        kind="cpu",
        name=str(able.get("cpu_name") or platform.processor() or platform.machine()),
        memory_bytes=memory.total_bytes,
        free_bytes=memory.available_bytes,
        multiplies_bfloat16=any(able.get(unit) for unit in ("amx_bf16", "avx512_bf16", "bf16")),
    )


def _cuda_facts(device: torch.device) -> DeviceFacts:
    try:
        properties = torch.cuda.get_device_properties(device)
        free_bytes, total_bytes = torch.cuda.mem_get_info(device)
    except RuntimeError as exc:
        raise DependencyError(
            f"{device}: the CUDA driver does not answer ({str(exc).splitlines()[0]}); "
            "look at `nvidia-smi`, or use --device cpu"
        ) from exc
    capability = (properties.major, properties.minor)
    return DeviceFacts(
        kind="cuda",
        name=properties.name,
        memory_bytes=total_bytes,
        free_bytes=free_bytes + torch.cuda.memory_reserved(device),
        multiplies_bfloat16=capability >= BFLOAT16_CAPABILITY,
        capability=capability,
        driver=driver_version(),
    )


def driver_version() -> str | None:
    """Version of the NVIDIA driver, where the system tells it without starting anything."""
    try:
        return _DRIVER_FILE.read_text(encoding="ascii").strip() or None
    except (OSError, UnicodeDecodeError):
        return None


@contextmanager
def watching_memory(what: str) -> Iterator[None]:
    """A device that runs out of memory while doing `what` is a `ResourceError`."""
    try:
        yield
    except torch.OutOfMemoryError as exc:
        raise ResourceError(
            f"{what}: the device's memory ran out; finished chunks are kept. "
            "Close other programs on the device, or choose a profile that needs less "
            "(`--offload blocks`, `--profile infinitetalk-480p-lowmem`), and run again"
        ) from exc
