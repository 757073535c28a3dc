"""`doctor`, `profiles` and `dub --dry-run` as people and scripts see them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from miniature import write_weights

from infinitetalk_cli import machine
from infinitetalk_cli.config.load import list_profiles
from infinitetalk_cli.machine import HostMemory

if TYPE_CHECKING:
    from conftest import RunCommand


@pytest.fixture
def sample(run_command: RunCommand, tmp_path: Path) -> tuple[str, ...]:
    """The arguments that dub the sample."""
    assert run_command("sample", tmp_path).exit_code == 0
    return ("dub", str(tmp_path / "in.mp4"), "--audio", str(tmp_path / "fr.wav"))


def test_doctor_is_one_document_and_exits_0(run_command: RunCommand):
    done = run_command("doctor", "--device", "cpu", "--json")
    assert done.exit_code == 0
    assert {row["name"] for row in done.document["profiles"]} == set(list_profiles())
    assert {"area", "name", "state", "text", "remedy"} == set(done.document["findings"][0])


def test_doctor_names_install_lines_and_verdicts(run_command: RunCommand):
    done = run_command("doctor", "--device", "cpu")
    assert done.exit_code == 0
    assert "infinitetalk models pull" in done.stdout
    assert "nano" in done.stdout and "runs" in done.stdout


def test_doctor_of_a_device_that_is_not_there_still_reports(run_command: RunCommand):
    done = run_command("doctor", "--device", "cuda:77", "--json")
    assert done.exit_code == 0
    device = next(line for line in done.document["findings"] if line["name"] == "device")
    assert device["state"] == "broken"


def test_profiles_are_listed_with_work_and_weights(run_command: RunCommand, tmp_path: Path):
    write_weights(tmp_path / "weights")
    done = run_command("profiles", "--weights-dir", tmp_path / "weights", "--json")
    rows = {row["name"]: row for row in done.document["profiles"]}
    assert rows["infinitetalk-480p"]["work"] == 1
    assert rows["infinitetalk-480p"]["weights_are_here"]
    assert not rows["fast"]["weights_are_here"]
    assert rows["draft"]["work"] < rows["fast"]["work"] < rows["infinitetalk-480p-8step"]["work"] < 1
    assert rows["nano"]["work"] is None and rows["nano"]["weights_are_here"]
    assert "infinitetalk-480p-lowmem" in run_command("profiles").stdout


def test_dry_run_forecasts_memory_by_phase(run_command: RunCommand, sample: tuple[str, ...]):
    document = run_command(*sample, "--dry-run", "--json").document
    assert document["memory"]["state"] == "fits"
    assert [phase["name"] for phase in document["memory"]["phases"]] == ["sound", "encode", "denoise", "decode"]
    assert document["generate_s"] is None  # nothing was measured yet
    text = run_command(*sample, "--dry-run").stdout
    assert "memory, as forecast: enough" in text and "denoise" in text


def test_a_job_that_will_not_fit_is_refused_before_it_starts(
    run_command: RunCommand, sample: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(machine, "host_memory", lambda: HostMemory(512 << 20, 128 << 20))
    assert run_command(*sample, "--dry-run", "--json").document["memory"]["state"] == "too much"
    done = run_command(*sample)
    assert done.exit_code == 6
    assert "nano needs about" in done.stderr and "--ignore-memory" in done.stderr
    assert not (tmp_path / "cache" / "audio_embedding").exists()


def test_the_forecast_can_be_overruled_and_then_knows_the_pace(
    run_command: RunCommand, sample: tuple[str, ...], small_profile: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(machine, "host_memory", lambda: HostMemory(512 << 20, 128 << 20))
    arguments = (*sample, "--profile", small_profile, "--end", "1")
    assert run_command(*arguments, "--ignore-memory").exit_code == 0
    other_seed = run_command(*arguments, "--seed", "7", "--dry-run", "--json").document
    assert other_seed["generate_s"] > 0
    other_steps = run_command(*arguments, "--steps", "3", "--dry-run", "--json").document
    assert other_steps["generate_s"] is None


def test_two_settings_that_exclude_each_other_are_one_sentence(run_command: RunCommand, sample: tuple[str, ...]):
    done = run_command(*sample, "--quantization", "int8", "--dry-run")
    assert (done.exit_code, "Traceback" in done.stderr) == (3, False)
    assert "not for nano" in done.stderr
    done = run_command(*sample, "--lora", "some.safetensors", "--dry-run")
    assert done.exit_code == 3 and "loras: not for family nano" in done.stderr
