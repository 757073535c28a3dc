"""Chunk files give back what went in."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from synthetic import truncate

from infinitetalk_cli.errors import InputError, OutputError
from infinitetalk_cli.media.lossless import read_frames, write_frames

RATE = Fraction(30_000, 1001)


def noise(num_frames: int, height: int = 66, width: int = 98) -> list[np.ndarray]:
    random = np.random.default_rng(0)
    return [random.integers(0, 256, (height, width, 3), dtype=np.uint8) for _ in range(num_frames)]


@pytest.mark.parametrize("size", [(66, 98), (33, 47), (448, 448)])
def test_every_byte_comes_back(tmp_path: Path, size: tuple[int, int]):
    frames = noise(5, *size)
    assert write_frames(tmp_path / "c.mkv", iter(frames), RATE) == 5
    back = list(read_frames(tmp_path / "c.mkv"))
    np.testing.assert_array_equal(back, frames)


@pytest.mark.parametrize(("start", "stop"), [(0, 3), (9, 12), (5, None), (4, 4)])
def test_a_stretch(tmp_path: Path, start: int, stop: int | None):
    frames = noise(12)
    write_frames(tmp_path / "c.mkv", iter(frames), RATE)
    back = list(read_frames(tmp_path / "c.mkv", start, stop))
    assert len(back) == len(frames[start:stop])
    assert all(np.array_equal(a, b) for a, b in zip(back, frames[start:stop], strict=True))


def test_equal_frames_give_equal_files(tmp_path: Path):
    for name in ("a.mkv", "b.mkv"):
        write_frames(tmp_path / name, iter(noise(4)), RATE)
    assert (tmp_path / "a.mkv").read_bytes() == (tmp_path / "b.mkv").read_bytes()


def test_missing_frames_are_noticed(tmp_path: Path):
    write_frames(tmp_path / "c.mkv", iter(noise(4)), RATE)
    with pytest.raises(InputError, match="holds 4 frames, not 5"):
        list(read_frames(tmp_path / "c.mkv", 0, 5))


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_file_cut_short_is_noticed(tmp_path: Path, share: float):
    write_frames(tmp_path / "c.mkv", iter(noise(4)), RATE)
    with pytest.raises(InputError, match=r"cut\.mkv"):
        list(read_frames(truncate(tmp_path / "c.mkv", share, tmp_path / "cut.mkv"), 0, 4))


def test_no_folder_to_write_to(tmp_path: Path):
    with pytest.raises(OutputError, match="cannot be written"):
        write_frames(tmp_path / "missing" / "c.mkv", iter(noise(1)), RATE)
