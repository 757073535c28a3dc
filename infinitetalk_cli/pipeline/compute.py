"""Settles what a profile leaves to the device, before a job is planned: the fingerprint then holds concrete values."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from infinitetalk_cli.config.profile import ComputeProfile, Profile
from infinitetalk_cli.errors import DependencyError, ProfileError

if TYPE_CHECKING:
    from infinitetalk_cli.models.devices import DeviceFacts

PLAIN_ATTENTION = "sdpa"
"""What "auto" attention is everywhere: torch's own, which picks the fastest exact kernel that it has for the device."""


class Device:
    """A device by name, looked at when something depends on what it is; `facts` if they are known already.

    Raises:
        DependencyError: the device does not exist here.
    """

    def __init__(self, name: str, facts: DeviceFacts | None = None) -> None:
        self.name = name
        self._known = facts

    @cached_property
    def facts(self) -> DeviceFacts:
        """What it can do, and how much memory it has; asks torch."""
        if self._known is not None:
            return self._known
        from infinitetalk_cli.models.devices import device_facts

        return device_facts(self.name)

    def require_attention(self, compute: ComputeProfile) -> None:
        """Raise `DependencyError` or `ProfileError` if it has no such attention kernels."""
        from infinitetalk_cli.models.attention_backend import require_backend
        from infinitetalk_cli.models.devices import DTYPES, resolve_device

        require_backend(compute.attention, resolve_device(self.name), DTYPES[compute.dtype])


class Settled(NamedTuple):
    """A profile without "auto", and a sentence for everything the user should know about it."""

    profile: Profile
    notes: tuple[str, ...]


def settle(profile: Profile, device: Device, begun: ComputeProfile | None = None) -> Settled:
    """Put concrete values in place of "auto", and refuse what `device` cannot do.

    `begun` is what an unfinished run of the same job put there, perhaps on another machine: it is kept where the device
    can do it, so that the chunks it made still count.

    Raises:
        DependencyError: the device or a package for it is missing.
        ProfileError: two settings exclude each other.
    """
    notes: list[str] = []
    compute = profile.compute
    if compute.attention == "auto":
        compute = compute.model_copy(update={"attention": PLAIN_ATTENTION})
    elif compute.attention != PLAIN_ATTENTION:
        device.require_attention(compute)
    if compute.quantization == "auto":
        quantization, note = _quantization(compute, device.facts, begun)
        compute = compute.model_copy(update={"quantization": quantization})
        notes.append(note)
    _refuse_impossible(profile, compute, device)
    settled = profile.model_copy(update={"compute": compute})
    return Settled(settled, (*notes, *_remarks(settled, device)))


def _quantization(compute: ComputeProfile, facts: DeviceFacts, begun: ComputeProfile | None) -> tuple[str, str]:
    """What "auto" quantization becomes, and a sentence on why."""
    best = "fp8" if facts.multiplies_fp8 else "none"
    if begun is not None and begun.quantization != best:
        if begun.quantization == "fp8":
            return best, f"this job began with fp8, which {facts.name} does not multiply: the picture is made anew"
        return begun.quantization, f"quantization {begun.quantization}: this unfinished job began with it"
    if best == "fp8":
        return best, f"fp8: {facts.name} multiplies it"
    return best, f"no fp8 on {facts.name}: weights stay {compute.dtype}"


def _refuse_impossible(profile: Profile, compute: ComputeProfile, device: Device) -> None:
    if compute.quantization == "none":
        return
    if profile.model.family == "nano":
        raise ProfileError(f"compute.quantization {compute.quantization}: not for nano, which is small; use none")
    if compute.quantization == "fp8" and not device.facts.multiplies_fp8:
        raise DependencyError(
            f"compute.quantization fp8: {_described(device.facts)} does not multiply 8-bit floats "
            "(NVIDIA cards do from compute capability 8.9 on); use int8 or none"
        )


def _described(facts: DeviceFacts) -> str:
    if facts.capability is None:
        return facts.name
    return f"{facts.name} (compute capability {'.'.join(map(str, facts.capability))})"


def _remarks(profile: Profile, device: Device) -> Iterator[str]:
    compute = profile.compute
    if compute.dtype == "bfloat16" and not device.facts.multiplies_bfloat16:
        yield (
            f"bfloat16 is slow on {_described(device.facts)}, which multiplies it by way of other formats; "
            "compute.dtype float32 takes twice the memory"
        )
    if profile.memory.offload != "none" and device.facts.kind == "cpu":
        yield f"--offload {profile.memory.offload} has no effect: the networks run on the CPU, where the weights are"
