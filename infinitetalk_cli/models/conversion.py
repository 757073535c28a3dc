"""Pickled weights as safetensors: opened faster, mapped without reading, and unable to hold anything but tensors."""

from __future__ import annotations

import json
import os
import secrets
import struct
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from infinitetalk_cli.errors import DependencyError, writing_to
from infinitetalk_cli.models.tensor_files import TensorFiles
from infinitetalk_cli.progress import Progress

_CODES = {
    torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16",
    torch.float8_e4m3fn: "F8_E4M3", torch.float8_e5m2: "F8_E5M2",
    torch.int64: "I64", torch.int32: "I32", torch.int16: "I16", torch.int8: "I8", torch.uint8: "U8", torch.bool: "BOOL",
}  # fmt: skip
"""safetensors' names of number formats."""

_ALIGNMENT = 8
"""The header ends at a multiple of this, so that mapped numbers are aligned."""


def convert(source: Path, target: Path, progress: Progress) -> None:
    """Write the tensors of pickled `source` to safetensors file `target`, under the same names, and compare them.

    One tensor at a time is in memory. `target` appears when it is complete and checked, or not at all.

    Raises:
        DependencyError: the source is damaged, or holds more than tensors.
        ResourceError, OutputError: the target cannot be written.
    """
    tensors = TensorFiles([source])
    header, order = _header(source, tensors.layout)
    num_bytes = sum(tensor.nbytes for tensor in tensors.layout.values())
    temporary = target.with_name(f"tmp-{secrets.token_hex(4)}-{target.name}")
    try:
        with writing_to(target):
            progress.start(f"converting {source.name}", num_bytes)
            with temporary.open("xb") as file:
                file.write(header)
                for name in order:
                    file.write(_bytes_of(tensors[name]).numpy())
                    progress.advance(tensors.layout[name].nbytes)
                file.flush()
                os.fsync(file.fileno())
        _compare(tensors, temporary, progress, num_bytes)
        with writing_to(target):
            os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


def _header(source: Path, layout: Mapping[str, Tensor]) -> tuple[bytes, list[str]]:
    """The file's head and the order of its tensors: wide numbers first, so that all are aligned."""
    foreign = {tensor.dtype for tensor in layout.values()} - _CODES.keys()
    if foreign:
        raise DependencyError(f"{source}: holds numbers of type {foreign.pop()}, which safetensors cannot keep")
    order = sorted(layout, key=lambda name: (-layout[name].dtype.itemsize, name))
    entries: dict[str, object] = {"__metadata__": {"format": "pt"}}
    offset = 0
    for name in order:
        tensor = layout[name]
        entries[name] = {
            "dtype": _CODES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [offset, offset + tensor.nbytes],
        }
        offset += tensor.nbytes
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    return struct.pack("<Q", len(text)) + text, order


def _compare(source: Mapping[str, Tensor], path: Path, progress: Progress, num_bytes: int) -> None:
    """Read the written file with the library and compare every bit."""
    written = TensorFiles([path])
    progress.start(f"checking {path.name}", num_bytes)
    for name, tensor in source.items():
        copy = written[name]
        if copy.dtype != tensor.dtype or copy.shape != tensor.shape or not torch.equal(*map(_bytes_of, (copy, tensor))):
            raise DependencyError(f"{path}: tensor {name} did not arrive as it was; check the disk and convert again")
        progress.advance(tensor.nbytes)


def _bytes_of(tensor: Tensor) -> Tensor:
    return tensor.detach().contiguous().reshape(-1).view(torch.uint8)
