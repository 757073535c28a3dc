"""The doctor reports whatever it finds, and no broken part keeps it from the others."""

from __future__ import annotations

import builtins
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch
from miniature import write_weights

from infinitetalk_cli.config.load import list_profiles
from infinitetalk_cli.machine import HostMemory
from infinitetalk_cli.models.devices import DeviceFacts
from infinitetalk_cli.pipeline import doctor, probes
from infinitetalk_cli.pipeline.compute import Device
from infinitetalk_cli.pipeline.doctor import examine, judge
from infinitetalk_cli.pipeline.probes import Finding, run_probe

HOPPER = DeviceFacts(
    "cuda", "H100", 85_000_000_000, 84_000_000_000, multiplies_bfloat16=True, capability=(9, 0), driver="999.1"
)


def found(findings: list[Finding] | tuple[Finding, ...], name: str) -> Finding:
    return next(finding for finding in findings if finding.name == name)


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    return write_weights(tmp_path / "weights")


def test_a_whole_report(tmp_path: Path):
    report = examine("auto", tmp_path / "cache", tmp_path / "weights")
    areas = {finding.area for finding in report.findings}
    assert areas == {"machine", "gpu", "attention", "codecs", "extras", "weights"}
    assert {verdict.name for verdict in report.verdicts} == set(list_profiles())
    nano = next(verdict for verdict in report.verdicts if verdict.name == "nano")
    assert nano.runs
    assert not [finding for finding in report.findings if finding.state == "broken"]
    assert not (tmp_path / "cache").exists()


def test_a_probe_that_fails_is_one_line_of_the_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def fail(*args: object) -> None:
        raise RuntimeError("the driver is upset\nwith details")

    monkeypatch.setattr(probes, "host_memory", fail)
    monkeypatch.setattr(torch.cuda, "is_available", fail)
    report = examine("auto", tmp_path / "cache", tmp_path / "weights")
    broken = {finding.name: finding.text for finding in report.findings if finding.state == "broken"}
    assert broken["memory"] == broken["device"] == "RuntimeError: the driver is upset"
    assert found(report.findings, "h264").state == "ok"
    assert all("cannot be judged" in verdict.text for verdict in report.verdicts)


def test_a_torch_that_cannot_be_imported_does_not_stop_the_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    real_import = builtins.__import__

    def without_torch(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "torch":
            raise OSError("libtorch.so: undefined symbol")
        return real_import(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_torch)
    (torch_line,) = run_probe("gpu", "torch", probes.probe_torch)
    assert (torch_line.state, torch_line.text) == ("broken", "OSError: libtorch.so: undefined symbol")


def test_a_gpu_that_torch_cannot_use_is_broken_with_a_remedy(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(probes.shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    (line,) = run_probe("gpu", "torch", probes.probe_torch)
    assert line.state == "broken" and "CUDA build" in line.remedy


@pytest.mark.parametrize(
    ("returncode", "output", "state", "text"),
    [
        (0, "NVIDIA H100, 81559, 550.1\n", "ok", "NVIDIA H100, 86 GB, driver 550.1"),
        (9, "NVIDIA-SMI has failed\nmore", "broken", "nvidia-smi: NVIDIA-SMI has failed"),
        (0, "[N/A]\n", "broken", "ValueError"),
    ],
)
def test_the_driver_says_what_it_sees(
    returncode: int, output: str, state: str, text: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(probes.shutil, "which", lambda name: f"/usr/bin/{name}")
    done = subprocess.CompletedProcess([], returncode, stdout=output, stderr="")
    monkeypatch.setattr(probes.subprocess, "run", lambda *args, **kwargs: done)
    (line,) = run_probe("gpu", "driver", probes.probe_driver)
    assert line.state == state and text in line.text


def test_a_driver_that_hangs_is_left_alone(monkeypatch: pytest.MonkeyPatch):
    def hang(*args: object, **kwargs: object) -> None:
        raise subprocess.TimeoutExpired("nvidia-smi", 3)

    monkeypatch.setattr(probes.shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(probes.subprocess, "run", hang)
    assert run_probe("gpu", "driver", probes.probe_driver)[0].state == "broken"


def test_a_torchaudio_of_another_build_is_broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "torchaudio.py").write_text("raise OSError('undefined symbol: _ZN3c10')\n")
    monkeypatch.syspath_prepend(tmp_path)
    (line,) = run_probe("extras", "torchaudio", probes.probe_torchaudio)
    assert line.state == "broken" and "undefined symbol" in line.text and "pip uninstall torchaudio" in line.remedy


def test_extras_name_their_install_line(monkeypatch: pytest.MonkeyPatch):
    from importlib import metadata

    class Metadata:
        def get_all(self, key: str) -> list[str]:
            return ["gpu", "old", "test", "here"]

    needs = [
        "numpy>=1", 'no-such-package>=2; extra == "gpu"', 'infinitetalk[gpu]; extra == "old"',
        'numpy>=1; extra == "here"', 'pytest; extra == "test"',
    ]  # fmt: skip
    monkeypatch.setattr(metadata, "metadata", lambda name: Metadata())
    monkeypatch.setattr(metadata, "requires", lambda name: needs)
    lines = {line.name: line for line in run_probe("extras", "packages", probes.probe_extras)}
    assert set(lines) == {"gpu", "here"}
    assert (lines["gpu"].state, lines["gpu"].remedy) == ("missing", "pip install 'infinitetalk[gpu]'")
    assert lines["here"].state == "ok"


def test_a_cache_that_cannot_be_written_is_broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(probes.os, "access", lambda *args: False)
    assert next(iter(probes.probe_disk(tmp_path / "a" / "b"))).state == "broken"


def test_weights_are_found_or_named(weights: Path):
    lines = list(doctor.probe_weights(weights))
    assert found(lines, "Wan2.1-I2V-14B-480P").state == "ok"
    lora = found(lines, "lightx2v-I2V-14B-480P")
    assert (lora.state, lora.remedy) == ("missing", "infinitetalk models pull lightx2v-I2V-14B-480P")
    next((weights / "Wan2.1-I2V-14B-480P").glob("*-00002-of-*.safetensors")).unlink()
    base = found(list(doctor.probe_weights(weights)), "Wan2.1-I2V-14B-480P")
    assert base.state == "broken" and "00002-of" in base.text


def test_verdicts_tell_missing_weights_from_missing_memory(weights: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(doctor, "host_memory", lambda: HostMemory(64_000_000_000, 60_000_000_000))
    large = Device("cuda", HOPPER)
    assert judge("infinitetalk-480p", large, weights).runs
    without_lora = judge("fast", large, weights)
    assert not without_lora.runs
    assert without_lora.missing == ("lightx2v-I2V-14B-480P",)
    assert "memory would do" in without_lora.text
    small = DeviceFacts("cuda", "small", 8 << 30, 8 << 30, multiplies_bfloat16=True, capability=(8, 6))
    nowhere = judge("infinitetalk-480p", Device("cuda", small), weights.parent / "nothing")
    assert not nowhere.runs
    assert "weights missing" in nowhere.text and "would need" in nowhere.text
