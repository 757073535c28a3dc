"""Where a diarization pipeline is looked for, and what is said when it is not there."""

from __future__ import annotations

import sys
import types
from pathlib import Path

import pytest

from infinitetalk_cli.checkpoints.diarizer import FOLDER_NAME, REPOSITORY, locate_diarizer, require_diarization
from infinitetalk_cli.errors import DependencyError


@pytest.fixture(autouse=True)
def _empty_hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))


def pipeline_in(folder: Path) -> Path:
    for name in ("segmentation/pytorch_model.bin", "embedding/pytorch_model.bin", "plda/plda.npz", "README.md"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    (folder / "config.yaml").write_text("pipeline: {}")
    return folder


def test_a_named_folder_comes_first(tmp_path: Path) -> None:
    pipeline_in(tmp_path / "weights" / FOLDER_NAME)
    files = locate_diarizer(pipeline_in(tmp_path / "mine"), tmp_path / "weights")
    assert files.config == tmp_path / "mine" / "config.yaml"
    assert [path.name for path in files.weights] == ["pytorch_model.bin", "plda.npz", "pytorch_model.bin"]


def test_the_folder_of_weights_is_looked_into(tmp_path: Path) -> None:
    folder = pipeline_in(tmp_path / "weights" / FOLDER_NAME)
    assert locate_diarizer(None, tmp_path / "weights").config == folder / "config.yaml"


def test_the_hubs_cache_is_looked_into(tmp_path: Path) -> None:
    repository = tmp_path / "hub" / f"models--{REPOSITORY.replace('/', '--')}"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("0" * 40)
    folder = pipeline_in(repository / "snapshots" / ("0" * 40))
    assert locate_diarizer(None, tmp_path / "weights").config == folder / "config.yaml"


def test_missing_weights_say_how_to_get_them(tmp_path: Path) -> None:
    with pytest.raises(DependencyError) as caught:
        locate_diarizer(None, tmp_path / "weights")
    for words in (f"https://huggingface.co/{REPOSITORY}", "hf auth login", "hf download", "--diarizer DIR"):
        assert words in str(caught.value)


def test_a_folder_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").touch()
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(DependencyError, match=f"{folder}: holds no diarization pipeline"):
            locate_diarizer(folder, tmp_path)


@pytest.mark.parametrize("modules", [{"pyannote": None}, {"pyannote": types.ModuleType("pyannote")}])
def test_the_extra_is_named(modules: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    with pytest.raises(DependencyError, match=r"pip install 'infinitetalk\[diarize\]'"):
        require_diarization()
