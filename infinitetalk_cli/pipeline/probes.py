"""What this machine has: one small probe for each part, none of which may stop the others."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from infinitetalk_cli.machine import host_memory, num_processors, processor_name
from infinitetalk_cli.pipeline.compute import Device

State = Literal["ok", "note", "missing", "broken"]

PACKAGE = "infinitetalk"
LOW_DISK_BYTES = 5_000_000_000
_GPU_QUERY = ("--query-gpu=name,memory.total,driver_version", "--format=csv,noheader,nounits")
_GPU_TIMEOUT_S = 3.0
_NOT_FOR_USERS = {"test"}


@dataclass(frozen=True)
class Finding:
    """One line of the report; `remedy` says what to do where something is missing or broken."""

    area: str
    name: str
    state: State
    text: str
    remedy: str = ""

    def as_dict(self) -> dict[str, str]:
        """Plain data, for `--json`."""
        return asdict(self)


Probe = Callable[[], Iterable[Finding]]


def machine_probes(device: Device, cache_root: Path) -> Iterator[tuple[str, str, Probe]]:
    """(area, name, probe) of everything that depends on no profile."""
    yield "machine", "system", probe_system
    yield "machine", "processor", probe_processor
    yield "machine", "memory", probe_memory
    yield "machine", "disk", partial(probe_disk, cache_root)
    yield "gpu", "driver", probe_driver
    yield "gpu", "torch", probe_torch
    yield "gpu", "device", partial(probe_device, device)
    yield "attention", "kernels", partial(probe_attention, device)
    yield "codecs", "encoders", probe_encoders
    yield "codecs", "hardware", probe_hardware_codecs
    yield "extras", "packages", probe_extras
    yield "extras", "torchaudio", probe_torchaudio


def run_probe(area: str, name: str, probe: Probe) -> list[Finding]:
    """What `probe` finds; that it fails is a finding as well."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return list(probe())
    except Exception as exc:  # whatever a broken driver or library raises
        return [Finding(area, name, "broken", f"{type(exc).__name__}: {first_line(exc)}")]


def first_line(exc: BaseException) -> str:
    """The first line of an error's text."""
    return next(iter(str(exc).strip().splitlines()), "no explanation")


def probe_system() -> Iterator[Finding]:
    """Operating system and Python."""
    python = ".".join(map(str, sys.version_info[:3]))
    yield Finding("machine", "system", "ok", f"{platform.platform()}, Python {python}")


def probe_processor() -> Iterator[Finding]:
    """Processor and the cores we may use."""
    yield Finding("machine", "processor", "ok", f"{processor_name()}, {num_processors()} cores")


def probe_memory() -> Iterator[Finding]:
    """Main memory."""
    memory = host_memory()
    text = f"{memory.total_bytes / 1e9:.1f} GB, {memory.available_bytes / 1e9:.1f} GB free"
    yield Finding("machine", "memory", "ok", text)


def probe_disk(cache_root: Path) -> Iterator[Finding]:
    """Room where the cache is or will be."""
    folder = next(path for path in (cache_root, *cache_root.parents) if path.exists())
    free_bytes = shutil.disk_usage(folder).free
    text = f"{free_bytes / 1e9:.1f} GB free for the cache in {cache_root}"
    if not os.access(folder, os.W_OK):
        yield Finding("machine", "disk", "broken", f"{folder} cannot be written", "choose another with --cache-dir")
    elif free_bytes < LOW_DISK_BYTES:
        yield Finding("machine", "disk", "note", text, "free some, or choose another with --cache-dir")
    else:
        yield Finding("machine", "disk", "ok", text)


def probe_driver() -> Iterator[Finding]:
    """NVIDIA GPUs as their driver sees them, whatever torch was built for."""
    program = shutil.which("nvidia-smi")
    if program is None:
        yield Finding("gpu", "driver", "note", "no NVIDIA driver (no nvidia-smi): networks run on the CPU")
        return
    done = subprocess.run([program, *_GPU_QUERY], capture_output=True, text=True, timeout=_GPU_TIMEOUT_S, check=False)
    if done.returncode:
        said = (done.stdout + done.stderr).strip().splitlines()
        yield Finding(
            "gpu", "driver", "broken", f"nvidia-smi: {said[0] if said else done.returncode}", "see nvidia-smi"
        )
        return
    for line in done.stdout.strip().splitlines():
        name, memory_mib, version = (word.strip() for word in line.split(","))
        text = f"{name}, {int(memory_mib) * 2**20 / 1e9:.0f} GB, driver {version}"
        yield Finding("gpu", "driver", "ok", text)


def probe_torch() -> Iterator[Finding]:
    """torch, and what it was built for."""
    import torch

    built_for = f"CUDA {torch.version.cuda}" if torch.version.cuda else "the CPU"
    has_driver = shutil.which("nvidia-smi") is not None
    if has_driver and not torch.cuda.is_available():
        remedy = "install a CUDA build, see https://pytorch.org/get-started/locally"
        yield Finding("gpu", "torch", "broken", f"{torch.__version__} for {built_for} cannot use the GPU", remedy)
    else:
        yield Finding("gpu", "torch", "ok", f"{torch.__version__}, built for {built_for}")


def probe_device(device: Device) -> Iterator[Finding]:
    """The device that --device names, and its number formats."""
    facts = device.facts
    memory = f"{facts.memory_bytes / 1e9:.1f} GB, {facts.free_bytes / 1e9:.1f} GB free"
    capability = "" if facts.capability is None else f", compute capability {'.'.join(map(str, facts.capability))}"
    yield Finding("gpu", "device", "ok", f"{facts.kind}: {facts.name}{capability}, {memory}")
    bfloat16 = "multiplied in hardware" if facts.multiplies_bfloat16 else "not in hardware: slow"
    yield Finding("gpu", "bfloat16", "ok" if facts.multiplies_bfloat16 else "note", bfloat16)
    fp8 = "multiplied in hardware" if facts.multiplies_fp8 else "not on this device"
    yield Finding("gpu", "fp8", "ok" if facts.multiplies_fp8 else "note", fp8)


def probe_attention(device: Device) -> Iterator[Finding]:
    """Attention kernels; on a CPU there are torch's own only, and nothing need be imported to know it."""
    if device.facts.kind == "cpu":
        yield Finding("attention", "sdpa", "ok", "torch's own; the others need a CUDA device")
        return
    from infinitetalk_cli.models.attention_backend import backend_states
    from infinitetalk_cli.models.devices import resolve_device

    for backend in backend_states(resolve_device(device.name)):
        state: State = "ok" if backend.usable else "missing"
        yield Finding("attention", backend.name, state, backend.reason or "can be used")


def probe_encoders() -> Iterator[Finding]:
    """The encoders that `--codec` can name, in the FFmpeg that PyAV brings."""
    import av
    from av.codec import Codec

    from infinitetalk_cli.media.containers import ENCODERS

    yield Finding("codecs", "PyAV", "ok", f"{av.__version__}, FFmpeg {av.ffmpeg_version_info}")
    for name, encoder in ENCODERS.items():
        try:
            text = Codec(encoder.name, "w").long_name
        except ValueError:
            remedy = "install PyAV's own wheel: pip install --force-reinstall --only-binary av av"
            yield Finding("codecs", name, "missing", f"this FFmpeg has no {encoder.name}", remedy)
        else:
            yield Finding("codecs", name, "ok", f"{encoder.name}: {text}")


def probe_hardware_codecs() -> Iterator[Finding]:
    """Encoders of graphics cards that FFmpeg was built with; whether they run only the card can tell."""
    import av

    kinds = ("nvenc", "qsv", "amf", "vaapi", "videotoolbox", "v4l2m2m")
    found = sorted(name for name in av.codecs_available if name.endswith(tuple(f"_{kind}" for kind in kinds)))
    text = f"built in: {', '.join(found)}" if found else "none built in"
    yield Finding("codecs", "hardware", "note", f"{text}; infinitetalk uses the encoders above")


def probe_extras() -> Iterator[Finding]:
    """The optional parts of this package, and what of them is installed."""
    from importlib import metadata

    from packaging.requirements import Requirement

    for extra in sorted(set(metadata.metadata(PACKAGE).get_all("Provides-Extra") or ()) - _NOT_FOR_USERS):
        wanted = [Requirement(line) for line in metadata.requires(PACKAGE) or ()]
        wanted = [need for need in wanted if need.marker and need.marker.evaluate({"extra": extra})]
        wanted = [need for need in wanted if not need.marker.evaluate({"extra": ""}) and need.name != PACKAGE]
        if not wanted:  # another name of an extra
            continue
        lacking = [str(need).split(";")[0].strip() for need in wanted if not _is_installed(need.name, need.specifier)]
        if lacking:
            install = f"pip install '{PACKAGE}[{extra}]'"
            yield Finding("extras", extra, "missing", f"not installed: {', '.join(lacking)}", install)
        else:
            have = ", ".join(f"{need.name} {metadata.version(need.name)}" for need in wanted)
            yield Finding("extras", extra, "ok", have)


def _is_installed(name: str, versions: object) -> bool:
    from importlib import metadata

    try:
        return metadata.version(name) in versions  # type: ignore[operator]
    except metadata.PackageNotFoundError:
        return False


def probe_torchaudio() -> Iterator[Finding]:
    """Not needed by us, but by pyannote.audio; a build for another torch fails on import."""
    from importlib.util import find_spec

    if find_spec("torchaudio") is None:
        return
    try:
        import torchaudio
    except Exception as exc:
        remedy = "install the build that belongs to this torch, or remove it: pip uninstall torchaudio"
        yield Finding("extras", "torchaudio", "broken", f"cannot be imported: {first_line(exc)}", remedy)
    else:
        yield Finding("extras", "torchaudio", "ok", str(torchaudio.__version__))
