"""Builds the transformer, runs it, and writes down what it took."""

from __future__ import annotations

import gc
import math
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import torch
from torch import Tensor, nn

from infinitetalk_cli.bench.build import Finish, empty_transformer, fill_randomly, random_inputs, weight_bytes
from infinitetalk_cli.bench.flops import forward_flops
from infinitetalk_cli.bench.parts import PartClock, watched
from infinitetalk_cli.bench.report import BenchReport, Machine, Memory, Parts, Timing, known_peak, utilisation
from infinitetalk_cli.bench.settings import BenchSettings
from infinitetalk_cli.errors import ResourceError
from infinitetalk_cli.models.devices import DTYPES, device_facts, resolve_device
from infinitetalk_cli.models.transformer import InfiniteTalkTransformer3DModel
from infinitetalk_cli.progress import Progress

_MATMUL_SIDE = {"cpu": 2048, "cuda": 8192}
_MATMUL_REPEATS = 5

_SMALLER = "try --offload blocks, --quantization int8, a smaller --size or a smaller --latent"


@torch.no_grad()
def measure(settings: BenchSettings, device_name: str, progress: Progress) -> BenchReport:
    """Time, operations, memory and parts of a forward of the transformer with random weights.

    Raises:
        DependencyError: the device, or a package that the settings ask for, is missing.
        ProfileError: two settings exclude each other.
        ResourceError: memory does not suffice.
    """
    from infinitetalk_cli.models.attention_backend import use_attention
    from infinitetalk_cli.models.compiling import compile_blocks, require_compiler

    device, dtype = resolve_device(device_name), DTYPES[settings.dtype]
    if settings.compile:
        require_compiler(device, is_offloaded=settings.offload != "none")
    if settings.offload != "none" and device.type == "cpu":
        progress.note("--offload has nowhere to take blocks from or to: the device is the CPU itself")
    progress.start("bench", 4 + settings.repeats)
    with _on(device), _watching_memory(settings, device):
        matmul = matmul_rate(device, dtype)
        progress.advance()
        transformer = empty_transformer(settings.dimensions)
        use_attention(transformer, settings.attention, device, dtype)
        num_parameters = sum(parameter.numel() for parameter in transformer.parameters())
        weights = _build(transformer, settings, device, dtype)
        progress.advance()
        inputs = random_inputs(transformer, settings, device)
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        first_s = _timed(transformer, inputs, device)
        progress.advance()
        parts = _split(transformer, inputs, device) if settings.offload == "none" else None
        progress.advance()
        if settings.compile:
            compile_blocks(transformer)
            first_s = _timed(transformer, inputs, device)
        seconds = []
        for _ in range(settings.repeats):
            seconds.append(_timed(transformer, inputs, device))
            progress.advance()
        peak_bytes, kind = _peak_memory(device)
        matmul = max(matmul, matmul_rate(device, dtype))  # before and after: other programs may be busy
    timing, flops = Timing(seconds=tuple(seconds), first_s=first_s), forward_flops(settings)
    machine = describe_machine(device_name)
    return BenchReport(
        settings=settings,
        machine=machine,
        num_parameters=num_parameters,
        num_tokens=math.prod(settings.grid),
        timing=timing,
        flops=flops,
        utilisation=utilisation(flops, timing, matmul, known_peak(machine.device_name, settings.dtype)),
        memory=Memory(weights_bytes=weights, peak_bytes=peak_bytes, kind=kind),
        parts=parts,
    )


def _build(
    transformer: InfiniteTalkTransformer3DModel, settings: BenchSettings, device: torch.device, dtype: torch.dtype
) -> int:
    """Give it weights, in the place and the form that the settings say; the bytes they take."""
    home = device if settings.offload == "none" else torch.device("cpu")
    _require_room(transformer, settings, device, home, dtype)
    finish: Finish | None = None
    if settings.quantization != "none":
        from infinitetalk_cli.models.quantize import make_quantizer

        finish = make_quantizer(settings.quantization, device, dtype)
    fill_randomly(transformer, home, dtype, finish)
    gc.collect()
    if settings.offload == "blocks":
        from infinitetalk_cli.models.offload import offload_blocks

        offload_blocks(transformer, device, with_stream=device.type == "cuda" and settings.quantization == "none")
    return sum(_bytes_of(parameter) for parameter in transformer.parameters())


def _bytes_of(weight: Tensor) -> int:
    """Bytes that a weight takes; a quantized one is several tensors."""
    if hasattr(weight, "__tensor_flatten__"):
        names, _ = weight.__tensor_flatten__()
        return sum(_bytes_of(getattr(weight, name)) for name in names)
    return weight.numel() * weight.itemsize


def _require_room(
    transformer: InfiniteTalkTransformer3DModel,
    settings: BenchSettings,
    device: torch.device,
    home: torch.device,
    dtype: torch.dtype,
) -> None:
    """Refuse at once what cannot fit, rather than fill the machine's memory first."""
    needed = weight_bytes(transformer, dtype) / (1 if settings.quantization == "none" else dtype.itemsize)
    if home == device:  # the feed-forward's hidden layer before and after its activation, the largest there is
        needed += 2 * math.prod(settings.grid) * settings.dimensions.ffn_dim * dtype.itemsize
    facts = device_facts(str(home))
    if needed > facts.free_bytes:
        raise ResourceError(
            f"bench: needs more than {needed / 1e9:.1f} GB, and {facts.name} has {facts.free_bytes / 1e9:.1f} GB "
            f"free; {_SMALLER}"
        )


def _timed(transformer: nn.Module, inputs: dict[str, object], device: torch.device) -> float:
    """Seconds of one forward, until the device is done."""
    began_s = time.perf_counter()
    transformer(**inputs)
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - began_s


def _split(transformer: InfiniteTalkTransformer3DModel, inputs: dict[str, object], device: torch.device) -> Parts:
    clock = PartClock(device)
    with watched(transformer, clock):
        transformer(**inputs)
    return clock.parts()


def matmul_rate(device: torch.device, dtype: torch.dtype) -> float:
    """Operations per second of a large square matrix product: the best of several."""
    side = _MATMUL_SIDE[device.type]
    a, b = torch.randn(2, side, side, device=device).to(dtype)
    best_s = math.inf
    for _ in range(1 + _MATMUL_REPEATS):
        began_s = time.perf_counter()
        a @ b
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        best_s = min(best_s, time.perf_counter() - began_s)
    return 2 * side**3 / best_s


def _peak_memory(device: torch.device) -> tuple[int, str]:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device), "allocated on the device"
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit, "resident in main memory"


def describe_machine(device_name: str) -> Machine:
    """Hardware and versions."""
    import diffusers

    from infinitetalk_cli import __version__
    from infinitetalk_cli.machine import processor_name

    facts = device_facts(device_name)
    return Machine(
        device=facts.kind,
        device_name=facts.name,
        device_memory_bytes=facts.memory_bytes,
        driver=facts.driver,
        processor=processor_name(),
        num_threads=torch.get_num_threads(),
        torch=torch.__version__,
        cuda=torch.version.cuda,
        diffusers=diffusers.__version__,
        infinitetalk=__version__,
    )


def _on(device: torch.device) -> torch.cuda.device | nullcontext[None]:
    """Events and streams belong to the current device."""
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()


@contextmanager
def _watching_memory(settings: BenchSettings, device: torch.device) -> Iterator[None]:
    try:
        yield
    except torch.OutOfMemoryError as exc:
        raise ResourceError(
            f"bench: {device} ran out of memory with size {settings.size} and {math.prod(settings.grid)} tokens; "
            f"{_SMALLER}"
        ) from exc
