"""Long arrays in files, read and written block by block.

A memory map would do as well, but its pages count as the program's memory for as long as there is room for them: an
hour of embeddings of the published size is 3 GB.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np

SAMPLE_BYTES = 4


class SampleFile:
    """Raw little-endian float32 samples: `len` and slices of it are those of an array (n,), `num_samples` at most."""

    def __init__(self, path: Path, num_samples: int | None = None) -> None:
        self._path = path
        length = path.stat().st_size // SAMPLE_BYTES
        self._length = length if num_samples is None else min(length, num_samples)

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, span: slice) -> np.ndarray:
        start, stop, step = span.indices(self._length)
        assert step == 1, "only unbroken stretches are read"
        return np.fromfile(self._path, "<f4", max(0, stop - start), offset=SAMPLE_BYTES * start)

    def __array__(self, dtype: np.dtype | None = None, copy: bool | None = None) -> np.ndarray:
        """All samples at once, for `np.asarray`."""
        return self[:].astype(dtype or np.float32, copy=False)

    def scale(self, factor: float, block_samples: int) -> None:
        """Multiply all samples in place; `OSError` if the file cannot be written."""
        with self._path.open("r+b") as file:
            for start in range(0, self._length, block_samples):
                block = self[start : start + block_samples] * np.float32(factor)
                file.seek(SAMPLE_BYTES * start)
                file.write(block.tobytes())


class RowWriter:
    """Writes the rows of an array one block after the other; see `writing_rows`."""

    def __init__(self, file: BinaryIO, num_values: int) -> None:
        self._file, self.missing = file, num_values

    def append(self, block: np.ndarray) -> None:
        """The next values, in the order of the array."""
        self.missing -= block.size
        self._file.write(np.ascontiguousarray(block, dtype="<f4").tobytes())


@contextmanager
def writing_rows(path: Path, shape: Sequence[int]) -> Iterator[RowWriter]:
    """An .npy file of float32 `shape`, to be filled from front to back; `OSError` if it cannot be written."""
    with path.open("wb") as file:
        header = {"descr": "<f4", "fortran_order": False, "shape": tuple(shape)}
        np.lib.format.write_array_header_1_0(file, header)
        writer = RowWriter(file, math.prod(shape))
        yield writer
        assert writer.missing == 0, f"{writer.missing} values of {tuple(shape)} are missing"
