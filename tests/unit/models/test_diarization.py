"""The door to pyannote.audio: with a small fake of its interface, and with the real pipeline where it is installed."""

from __future__ import annotations

import os
import pickle
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

from infinitetalk_cli.errors import DependencyError
from infinitetalk_cli.models.diarization import Diarizer, Turn
from infinitetalk_cli.models.spans import Span
from infinitetalk_cli.progress import SilentProgress


class Segment(NamedTuple):
    """As pyannote.core's."""

    start: float
    end: float


class Annotation:
    """As pyannote.core's, as far as it is asked."""

    def itertracks(self, yield_label: bool) -> Iterator[tuple[Segment, str, str]]:
        assert yield_label
        yield Segment(-0.01, 0.5), "_", "SPEAKER_01"
        yield Segment(0.4, 1.0), "_", "SPEAKER_00"


class Pipeline:
    """As pyannote.audio 4's: made of a folder, moved to a device, called with samples, answers with an object."""

    folder: Path

    @classmethod
    def from_pretrained(cls, checkpoint: Path) -> Pipeline:
        assert os.environ["TORCH_FORCE_WEIGHTS_ONLY_LOAD"] == "1", "checkpoints are read as plain data"
        if not (checkpoint / "config.yaml").is_file():
            raise OSError("no config.yaml\nin there")
        pipeline = cls()
        pipeline.folder = checkpoint
        return pipeline

    def to(self, device: torch.device) -> None:
        assert device == torch.device("cpu")

    def __call__(self, file: dict[str, Any], *, min_speakers: int, max_speakers: int, hook: Any) -> Any:
        assert file["waveform"].shape == (1, 16_000) and file["waveform"].dtype == torch.float32
        assert (file["sample_rate"], min_speakers, max_speakers) == (16_000, 1, 2)
        hook("segmentation", None, file=file, total=3, completed=0)
        hook("segmentation", None, file=file, total=3, completed=32)
        hook("speaker_counting", object(), file=file)
        return types.SimpleNamespace(speaker_diarization=Annotation())


@pytest.fixture
def fake_pyannote(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The package in miniature; returns what was set in it."""
    told: dict[str, Any] = {}
    modules = {name: types.ModuleType(name) for name in (
        "pyannote", "pyannote.audio", "pyannote.audio.telemetry", "pyannote.audio.core", "pyannote.audio.core.task",
    )}  # fmt: skip
    modules["pyannote.audio"].Pipeline = Pipeline
    modules["pyannote.audio.telemetry"].set_telemetry_metrics = lambda enabled: told.update(telemetry=enabled)
    for name in ("Problem", "Resolution", "Specifications"):
        setattr(modules["pyannote.audio.core.task"], name, type(name, (), {}))
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    return told


class Counted(SilentProgress):
    def __init__(self) -> None:
        self.steps: list[object] = []

    def start(self, what: str, total: int | None = None, done: int = 0) -> None:
        self.steps.append((what, total))

    def advance(self, steps: int = 1) -> None:
        self.steps.append(steps)


def test_turns_in_samples_and_progress_in_steps(tmp_path: Path, fake_pyannote: dict[str, Any]) -> None:
    (tmp_path / "config.yaml").touch()
    progress = Counted()
    turns = Diarizer(tmp_path, torch.device("cpu")).turns(np.zeros(16_000, np.float32), progress)
    assert turns == [Turn("SPEAKER_01", Span(0, 8000)), Turn("SPEAKER_00", Span(6400, 16_000))]
    assert progress.steps == [("finding who speaks: segmentation", 3), 3]
    assert fake_pyannote == {"telemetry": False}
    assert "TORCH_FORCE_WEIGHTS_ONLY_LOAD" not in os.environ


def test_a_folder_that_is_no_pipeline(tmp_path: Path, fake_pyannote: dict[str, Any]) -> None:
    with pytest.raises(DependencyError, match=r"cannot load this pipeline \(no config.yaml\); .* download it again"):
        Diarizer(tmp_path, torch.device("cpu"))


def test_without_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyannote", None)
    with pytest.raises(DependencyError, match=r"pip install 'infinitetalk\[diarize\]'"):
        Diarizer(tmp_path, torch.device("cpu"))


# With the real package: a pipeline in the published layout, with random weights.


@pytest.fixture(scope="module")
def random_pipeline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("pyannote.audio", reason="needs the extra infinitetalk[diarize]", exc_type=ImportError)
    import yaml
    from pyannote.audio.core.task import Problem, Resolution, Specifications
    from pyannote.audio.models.embedding import WeSpeakerResNet34
    from pyannote.audio.models.segmentation import PyanNet

    folder = tmp_path_factory.mktemp("pipeline")
    torch.manual_seed(0)
    segmentation = PyanNet(lstm={"hidden_size": 8, "num_layers": 1}, linear={"hidden_size": 8, "num_layers": 1})
    segmentation.specifications = Specifications(
        problem=Problem.MONO_LABEL_CLASSIFICATION, resolution=Resolution.FRAME, duration=10.0,
        classes=["1", "2", "3"], powerset_max_classes=2, permutation_invariant=True,
    )  # fmt: skip
    embedding = WeSpeakerResNet34()
    embedding.specifications = Specifications(
        problem=Problem.REPRESENTATION, resolution=Resolution.CHUNK, duration=5.0, classes=["a", "b"]
    )
    for name, model in (("segmentation", segmentation), ("embedding", embedding)):
        model.build()
        _save_checkpoint(model, folder / name)
    rng = np.random.default_rng(0)
    (folder / "plda").mkdir()
    lda = rng.standard_normal((256, 128))
    np.savez(folder / "plda" / "xvec_transform.npz", mean1=np.zeros(256), mean2=np.zeros(128), lda=lda)
    np.savez(folder / "plda" / "plda.npz", mu=np.zeros(128), tr=np.eye(128), psi=np.linspace(3, 0.1, 128))
    params = {
        "clustering": "VBxClustering", "segmentation": "$model/segmentation", "embedding": "$model/embedding",
        "plda": "$model/plda", "embedding_exclude_overlap": True,
    }  # fmt: skip
    config = {
        "pipeline": {"name": "pyannote.audio.pipelines.SpeakerDiarization", "params": params},
        "params": {
            "clustering": {"threshold": 0.6, "Fa": 0.07, "Fb": 0.8},
            "segmentation": {"min_duration_off": 0.0},
        },
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    return folder


def _save_checkpoint(model: Any, folder: Path, **more: object) -> None:
    import lightning

    folder.mkdir(exist_ok=True)
    checkpoint = {
        "state_dict": model.state_dict(), "hyper_parameters": dict(model.hparams), "epoch": 0, "global_step": 0,
        "pytorch-lightning_version": lightning.__version__, **more,
    }  # fmt: skip
    model.on_save_checkpoint(checkpoint)
    torch.save(checkpoint, folder / "pytorch_model.bin")


def test_the_real_pipeline_runs_from_a_local_folder(random_pipeline: Path) -> None:
    diarizer = Diarizer(random_pipeline, torch.device("cpu"))
    samples = np.random.default_rng(0).standard_normal(12 * 16_000).astype(np.float32)
    progress = Counted()
    turns = diarizer.turns(samples, progress)
    assert ("finding who speaks: segmentation", 3) in progress.steps
    assert len({turn.speaker for turn in turns}) <= 2
    assert all(0 <= turn.span.start < turn.span.stop <= len(samples) + 1600 for turn in turns)
    assert os.environ["PYANNOTE_METRICS_ENABLED"] == "false"


class _Evil:
    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, (os.environ["EVIL_FOLDER"],)


def test_code_in_a_checkpoint_is_not_executed(
    random_pipeline: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shutil

    monkeypatch.setenv("EVIL_FOLDER", str(tmp_path / "executed"))
    evil = Path(shutil.copytree(random_pipeline, tmp_path / "evil"))
    checkpoint = torch.load(evil / "segmentation" / "pytorch_model.bin", weights_only=False)
    torch.save({**checkpoint, "callbacks": _Evil()}, evil / "segmentation" / "pytorch_model.bin", pickle_module=pickle)
    with pytest.raises(DependencyError, match="cannot load this pipeline"):
        Diarizer(evil, torch.device("cpu"))
    assert not (tmp_path / "executed").exists()
