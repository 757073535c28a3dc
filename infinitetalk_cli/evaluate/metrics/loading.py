"""Networks with their published weights; every file is hashed, and opened from the very bytes that were hashed."""

from __future__ import annotations

import io
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from infinitetalk_cli.errors import DependencyError
from infinitetalk_cli.evaluate.metrics.metric_weights import METRIC_FILES, read_verified

Network = TypeVar("Network", bound=nn.Module)

_MEASURES_VERSION = 1
"""Raised when a measure gives another number for the same frames and files: kept features are then made anew."""

_COUNTER = "num_batches_tracked"
"""Of batch norm: nothing needs it for measuring, and older files lack it."""


def load_network(network: Network, name: str, folders: Sequence[Path], device: str) -> Network:
    """`network` with the tensors of the file `name`, ready to measure on `device`.

    Raises:
        DependencyError: the file is missing, another one, or holds other tensors than `network` has.
    """
    state = tensors_of(read_verified(name, folders), name)
    try:
        result = network.load_state_dict(state, strict=False)
    except RuntimeError as exc:  # a shape differs
        raise DependencyError(f"{name}: does not fit the network; place the published file") from exc
    missing = [key for key in result.missing_keys if not key.endswith(_COUNTER)]
    if missing or result.unexpected_keys:
        odd = ", ".join((missing or result.unexpected_keys)[:4])
        raise DependencyError(f"{name}: does not fit the network ({odd}); place the published file")
    return network.to(device).eval().requires_grad_(False)


def tensors_of(content: bytes, name: str) -> dict[str, Tensor]:
    """The named tensors of a pickled file; one that holds anything else is refused, and nothing in it runs.

    Raises:
        DependencyError: that is so.
    """
    try:
        state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as exc:
        raise DependencyError(f"{name}: holds no table of tensors; place the published file") from exc
    if not isinstance(state, dict) or not all(isinstance(tensor, Tensor) for tensor in state.values()):
        raise DependencyError(f"{name}: holds no table of tensors; place the published file")
    return state


def load_script(name: str, folders: Sequence[Path], device: str) -> torch.jit.ScriptModule:
    """The TorchScript file `name`.

    Raises:
        DependencyError: the file is missing, or another one: then it is not opened.
    """
    content = read_verified(name, folders)
    try:
        return torch.jit.load(io.BytesIO(content), map_location=device).eval()
    except RuntimeError as exc:
        raise DependencyError(f"{name}: torch {torch.__version__} cannot open it; report this") from exc


def load_onnx(name: str, folders: Sequence[Path], device: str) -> Any:
    """An onnxruntime session of the file `name`.

    Raises:
        DependencyError: onnxruntime is missing, or the file is missing or another one.
    """
    content = read_verified(name, folders)
    try:
        import onnxruntime
    except ImportError as exc:
        raise DependencyError("CSIM needs onnxruntime: pip install 'infinitetalk[eval]'") from exc
    providers = ["CUDAExecutionProvider", "CPUExecutionProvider"] if device.startswith("cuda") else None
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(content, options, providers=providers or ["CPUExecutionProvider"])
    except Exception as exc:  # onnxruntime's errors share no base class
        raise DependencyError(f"{name}: onnxruntime cannot open it ({str(exc).splitlines()[0]})") from exc


def identity_of(metric: str, preset: str, names: Sequence[str], **settings: Any) -> dict[str, Any]:
    """What decides a number, as plain data: for reports, and so that a resumed run knows what it may keep."""
    hashes = {name: METRIC_FILES[name].sha256 for name in names}
    return {"metric": metric, "version": _MEASURES_VERSION, "preset": preset, **settings, "files": hashes}
