"""What a measurement says. No torch."""

from __future__ import annotations

from statistics import median

from infinitetalk_cli.bench.flops import Flops
from infinitetalk_cli.bench.settings import BenchSettings, Frozen

PEAKS_BFLOAT16 = {
    "NVIDIA A100-SXM4-40GB": 312e12,
    "NVIDIA A100-SXM4-80GB": 312e12,
    "NVIDIA A100-PCIE-40GB": 312e12,
    "NVIDIA A100 80GB PCIe": 312e12,
    "NVIDIA H100 80GB HBM3": 989e12,
    "NVIDIA H100 PCIe": 756e12,
    "NVIDIA H200": 989e12,
    "NVIDIA L40S": 362e12,
    "NVIDIA GeForce RTX 4090": 165e12,
}
"""Dense bfloat16 operations per second with float32 sums, from NVIDIA's data sheets, by the device's name.

Figures that are stated with sparsity are halved. A device that is not listed is compared with its own matrix product
only.
"""


def known_peak(device_name: str, dtype: str) -> float | None:
    """Operations per second that the maker states for a device, if we are sure of them."""
    return PEAKS_BFLOAT16.get(device_name) if dtype == "bfloat16" else None


class Machine(Frozen):
    """What it ran on."""

    device: str
    device_name: str
    device_memory_bytes: int
    driver: str | None
    processor: str
    num_threads: int
    torch: str
    cuda: str | None
    diffusers: str
    infinitetalk: str


class Timing(Frozen):
    """Seconds of every timed forward; `first_s` is the one before them, which also makes the keys."""

    seconds: tuple[float, ...]
    first_s: float

    @property
    def median_s(self) -> float:
        """The middle one."""
        return median(self.seconds)


class Memory(Frozen):
    """`peak_bytes` by `kind`: "allocated on the device" during the forwards, or "resident in main memory" ever."""

    weights_bytes: int
    peak_bytes: int
    kind: str


class Utilisation(Frozen):
    """Operations per second of the forward, beside what the device can do.

    `matmul_flops_per_s` is this machine's own large square matrix product in the same number format; `peak_flops_per_s`
    the maker's figure, where it is known.
    """

    flops_per_s: float
    matmul_flops_per_s: float
    of_matmul: float
    peak_flops_per_s: float | None
    of_peak: float | None


class Parts(Frozen):
    """Seconds of one forward by part; they add up to the whole.

    `audio`: the whole branch, with its linear layers and, for two people, the map of who is where. `elementwise`: what
    is left of a block without products of matrices: norms, modulation, rotary codes, activations, sums.
    """

    self_attention: float = 0.0
    cross_attention: float = 0.0
    audio: float = 0.0
    linear: float = 0.0
    elementwise: float = 0.0
    embeddings_and_head: float = 0.0

    @property
    def total(self) -> float:
        """Of the whole forward."""
        return sum(self.model_dump().values())


class BenchReport(Frozen):
    """One measurement."""

    settings: BenchSettings
    machine: Machine
    num_parameters: int
    num_tokens: int
    timing: Timing
    flops: Flops
    utilisation: Utilisation
    memory: Memory
    parts: Parts | None
    """Of one more forward; None with offloading, where copies of weights would count to whatever waits for them."""


def utilisation(flops: Flops, timing: Timing, matmul: float, peak: float | None) -> Utilisation:
    """How well the device was used."""
    rate = flops.total / timing.median_s
    return Utilisation(
        flops_per_s=rate,
        matmul_flops_per_s=matmul,
        of_matmul=rate / matmul,
        peak_flops_per_s=peak,
        of_peak=None if peak is None else rate / peak,
    )
