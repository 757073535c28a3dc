"""Pickled weights as safetensors: the same bits, never half a file, and no pickle is run."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from infinitetalk_cli.errors import DependencyError
from infinitetalk_cli.models import conversion
from infinitetalk_cli.models.conversion import convert
from infinitetalk_cli.progress import SilentProgress

TENSORS = {
    "half": torch.randn(3, 5).to(torch.bfloat16),
    "full": torch.randn(2, 3, 4),
    "turned": torch.randn(4, 6).T,
    "number": torch.tensor(4.6),
    "count": torch.arange(7),
    "mask": torch.tensor([True, False, True]),
    "empty": torch.zeros(0, 3),
}


@pytest.mark.parametrize("is_legacy", [False, True], ids=["archive", "before torch 1.6"])
def test_every_bit_arrives(tmp_path: Path, is_legacy: bool) -> None:
    source, target = tmp_path / "a.pth", tmp_path / "a.safetensors"
    torch.save(TENSORS, source, _use_new_zipfile_serialization=not is_legacy)
    convert(source, target, SilentProgress())
    written = load_file(target)
    assert written.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        assert written[name].dtype == tensor.dtype
        assert torch.equal(written[name], tensor)
    with safe_open(target, framework="pt") as file:
        assert file.metadata() == {"format": "pt"}  # transformers asks for it
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("tmp-")] == []


def test_tensors_of_shared_memory_are_each_written(tmp_path: Path) -> None:
    whole = torch.arange(12.0)
    torch.save({"whole": whole, "part": whole[3:6]}, tmp_path / "a.pth")
    convert(tmp_path / "a.pth", tmp_path / "a.safetensors", SilentProgress())
    assert load_file(tmp_path / "a.safetensors")["part"].tolist() == [3.0, 4.0, 5.0]


@pytest.mark.parametrize("kind", ["code", "no tensors", "cut short", "garbage"])
def test_what_cannot_be_converted(tmp_path: Path, kind: str) -> None:
    source, mark = tmp_path / "a.pth", tmp_path / "ran"

    class Trap:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (os.mkdir, (str(mark),))

    torch.save({"code": {"a": Trap()}, "no tensors": {"a": "text"}}.get(kind, TENSORS), source)
    if kind == "cut short":
        os.truncate(source, source.stat().st_size // 2)
    if kind == "garbage":
        source.write_bytes(b"<html>404</html>")
    with pytest.raises(DependencyError, match=r"a\.pth"):
        convert(source, tmp_path / "a.safetensors", SilentProgress())
    assert not mark.exists()
    assert [path.name for path in tmp_path.iterdir()] == ["a.pth"]


def test_an_interrupted_conversion_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save(TENSORS, tmp_path / "a.pth")

    def stopped(*_args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(conversion, "_compare", stopped)
    with pytest.raises(KeyboardInterrupt):
        convert(tmp_path / "a.pth", tmp_path / "a.safetensors", SilentProgress())
    assert [path.name for path in tmp_path.iterdir()] == ["a.pth"]


def test_a_copy_that_differs_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save({"a": torch.ones(4)}, tmp_path / "a.pth")
    monkeypatch.setattr(os, "fsync", lambda handle: os.pwrite(handle, b"\x01", os.fstat(handle).st_size - 1))
    with pytest.raises(DependencyError, match="did not arrive"):
        convert(tmp_path / "a.pth", tmp_path / "a.safetensors", SilentProgress())
    assert not (tmp_path / "a.safetensors").exists()
