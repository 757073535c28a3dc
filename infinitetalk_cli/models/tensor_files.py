"""Tensors of weight files, read one at a time; files larger than the memory will do."""

from __future__ import annotations

import logging
import pickle
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from infinitetalk_cli.errors import DependencyError, writing_to

logger = logging.getLogger(__name__)

_RENEW_BYTES = 1 << 30
"""After so much was read the file is mapped anew, so that pages we only passed through count no longer as ours."""


class TensorFiles(Mapping[str, Tensor]):
    """The tensors of several .safetensors or .pth files by name; where files share a name, the later file wins.

    A tensor is read when it is asked for, memory-mapped: as it is it costs no memory of its own. Names come in the
    order of the files. `layout` has the same names with tensors on the meta device: shapes and dtypes, known without
    reading. `rename` turns the names in the files into those used here. Nothing but tensors is ever unpickled.

    Raises:
        DependencyError: a file is missing, cut short, or holds anything but named tensors.
    """

    def __init__(self, paths: Sequence[Path], rename: Callable[[str], str] = str) -> None:
        self._places: dict[str, tuple[Path, str]] = {}
        self.layout: dict[str, Tensor] = {}
        for path in paths:
            with reading_weights(path):
                found = _layout_of(path)
            names = {rename(key): key for key in found}
            replaced = [name for name in names if name in self._places]
            if replaced:
                logger.info("%s replaces %d weights of earlier files (%s)", path, len(replaced), some_of(replaced))
            for name in replaced:  # so that it moves to its new place in the order
                del self._places[name], self.layout[name]
            self._places |= {name: (path, key) for name, key in names.items()}
            self.layout |= {name: found[key] for name, key in names.items()}
        self._open_path: Path | None = None
        self._read: Callable[[str], Tensor] | None = None
        self._bytes_read = 0

    def __getitem__(self, name: str) -> Tensor:
        path, key = self._places[name]
        with reading_weights(path):
            if self._read is None or path != self._open_path or self._bytes_read >= _RENEW_BYTES:
                self._read = None  # let go of the old mapping first
                self._read, self._open_path, self._bytes_read = _reader_of(path), path, 0
            tensor = self._read(key)
        self._bytes_read += tensor.nbytes
        return tensor

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


@contextmanager
def reading_weights(path: Path) -> Iterator[None]:
    """Whatever goes wrong while weights are read at `path` is a `DependencyError`."""
    try:
        yield
    except torch.OutOfMemoryError:
        raise  # a RuntimeError as well, but no damage
    except FileNotFoundError as exc:
        raise DependencyError(f"{path}: is missing; download it again") from exc
    except pickle.UnpicklingError as exc:
        raise DependencyError(
            f"{path}: holds more than tensors, or is damaged; it is not opened, because it could run code; "
            "download it again from where it was published"
        ) from exc
    except (OSError, EOFError, LookupError, ValueError, RuntimeError, SafetensorError) as exc:
        raise DependencyError(f"{path}: cannot be read ({first_line(exc)}); download it again") from exc


def some_of(names: Sequence[str], limit: int = 4) -> str:
    """The first of `names`, and how many more there are."""
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more


def first_line(exc: Exception) -> str:
    """What an exception says, in one line."""
    return next(iter(str(exc).strip().splitlines()), type(exc).__name__)


def _layout_of(path: Path) -> dict[str, Tensor]:
    if path.suffix != ".safetensors":
        return {name: tensor.to("meta") for name, tensor in _load_pickled(path).items()}
    with safe_open(path, framework="pt") as file:
        slices = {name: file.get_slice(name) for name in file.offset_keys()}
        return {
            name: torch.empty(part.get_shape(), dtype=_DTYPES[part.get_dtype()], device="meta")
            for name, part in slices.items()
        }


def _reader_of(path: Path) -> Callable[[str], Tensor]:
    if path.suffix == ".safetensors":
        return safe_open(path, framework="pt").get_tensor
    return _load_pickled(path).__getitem__


def _load_pickled(path: Path) -> dict[str, Tensor]:
    # Only archives of torch 1.6 and later can be mapped.
    weights = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    if not isinstance(weights, dict) or not all(isinstance(tensor, Tensor) for tensor in weights.values()):
        raise ValueError("not a table of named tensors")
    return weights


_DTYPES = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn, "F8_E5M2": torch.float8_e5m2,
    "I64": torch.int64, "I32": torch.int32, "I16": torch.int16, "I8": torch.int8, "U8": torch.uint8, "BOOL": torch.bool,
}  # fmt: skip
"""safetensors' names of number formats."""


def save_whole(tensors: dict[str, Tensor], path: Path, metadata: dict[str, str] | None = None) -> None:
    """Write a safetensors file that is there whole or not at all.

    Raises:
        ResourceError: the disk is full.
        OutputError: `path` cannot be written.
    """
    with writing_to(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        partial.write_bytes(save(tensors, metadata))  # safetensors itself hides why a file could not be written
        partial.rename(path)
