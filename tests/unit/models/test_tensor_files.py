"""Reading weight files tensor by tensor: which file wins, nothing but tensors, damage as one sentence."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from infinitetalk_cli.errors import DependencyError
from infinitetalk_cli.models import tensor_files
from infinitetalk_cli.models.tensor_files import TensorFiles


def write(path: Path, **tensors: torch.Tensor) -> Path:
    if path.suffix == ".safetensors":
        save_file(tensors, path)
    else:
        torch.save(tensors, path)
    return path


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_later_file_wins_and_says_so(suffix: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    first = write(tmp_path / f"first{suffix}", a=torch.zeros(2, 3), b=torch.ones(4))
    second = write(tmp_path / f"second{suffix}", a=torch.full((3,), 7.0, dtype=torch.bfloat16))
    with caplog.at_level(logging.INFO):
        files = TensorFiles([first, second])
    assert list(files) == ["b", "a"]
    assert files["a"].tolist() == [7, 7, 7] and files["b"].tolist() == [1, 1, 1, 1]
    assert {name: (tuple(t.shape), t.dtype, t.device.type) for name, t in files.layout.items()} == {
        "a": ((3,), torch.bfloat16, "meta"),
        "b": ((4,), torch.float32, "meta"),
    }
    assert f"second{suffix} replaces 1 weights" in caplog.text


def test_names_of_two_worlds_meet_under_ours(tmp_path: Path) -> None:
    first = write(tmp_path / "1.safetensors", **{"theirs.x": torch.zeros(1)})
    second = write(tmp_path / "2.safetensors", **{"ours.x": torch.ones(1)})
    files = TensorFiles([first, second], rename=lambda key: key.replace("theirs", "ours"))
    assert {name: tensor.item() for name, tensor in files.items()} == {"ours.x": 1.0}


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_long_reading_lets_go_of_what_was_read(suffix: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(tensor_files, "_RENEW_BYTES", 1)
    expected = {name: torch.randn(5, 5) for name in "abc"}
    files = TensorFiles([write(tmp_path / f"w{suffix}", **expected)])
    read = dict(files.items())  # also those of an earlier mapping stay valid
    assert all(torch.equal(read[name], tensor) for name, tensor in expected.items())


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.parametrize("share", [0.0, 0.05, 0.5, 0.99])
def test_file_cut_short(suffix: str, share: float, tmp_path: Path) -> None:
    path = write(tmp_path / f"w{suffix}", a=torch.randn(100, 10))
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(DependencyError, match=f"w{suffix}: .*download it again"):
        TensorFiles([path])


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(DependencyError, match="is missing"):
        TensorFiles([tmp_path / "nothing.safetensors"])


class Intruder:
    """Runs code where pickles are trusted."""

    def __reduce__(self) -> tuple:
        return Path.touch, (Path("intruded"),)


def test_code_in_a_pickle_is_not_run(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"a": Intruder()}, tmp_path / "w.pth")
    with pytest.raises(DependencyError, match="holds more than tensors"):
        TensorFiles([tmp_path / "w.pth"])
    assert not Path("intruded").exists()


@pytest.mark.parametrize("content", [[torch.zeros(1)], {"a": {"b": torch.zeros(1)}}, {"a": 3}])
def test_pickle_of_another_structure(content: object, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(DependencyError, match="not a table of named tensors"):
        TensorFiles([tmp_path / "w.pth"])


def test_archive_of_an_old_torch(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(2)}, tmp_path / "w.bin", _use_new_zipfile_serialization=False)
    assert TensorFiles([tmp_path / "w.bin"])["a"].tolist() == [1, 1]
