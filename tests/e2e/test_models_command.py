"""`infinitetalk models` as a user runs it: list, pull, verify, path, convert."""

from __future__ import annotations

import json
from pathlib import Path

import hub
import miniature
import pytest
from safetensors.torch import load_file, save_file


@pytest.fixture(autouse=True)
def empty_hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = miniature.write_weights(tmp_path / "weights")
    monkeypatch.setenv("INFINITETALK_WEIGHTS", str(root))
    return root


def test_list_shows_all_and_what_is_here(run_command, weights: Path) -> None:
    outcome = run_command("models", "list", "--json")
    assert outcome.exit_code == 0
    models = {row["name"]: row for row in outcome.document["models"]}
    assert models[miniature.BASE]["complete"]
    assert models[miniature.BASE]["origin"] == "weights folder"
    assert models[miniature.BASE]["size_here_bytes"] > 10_000
    assert "infinitetalk-480p" in models[miniature.BASE]["profiles"]
    assert not models["Wan2.1-I2V-14B-720P"]["complete"]
    assert models["chinese-wav2vec2-base"]["licence"] == "MIT"
    table = run_command("models", "list", "infinitetalk-480p").stdout
    assert "InfiniteTalk-single" in table
    assert "InfiniteTalk-multi" not in table


def test_verify_good_and_damaged(run_command, weights: Path) -> None:
    good = run_command("models", "verify", "infinitetalk-480p")
    assert good.exit_code == 0, good.stderr
    assert "transformer: 87 tensors, good" in good.stdout
    shard = weights / miniature.BASE / "diffusion_pytorch_model-00003-of-00003.safetensors"
    tensors = load_file(shard)
    gone = tensors.popitem()[0]
    save_file(tensors, shard)
    bad = run_command("models", "verify", miniature.BASE, "InfiniteTalk-multi")
    assert bad.exit_code == 5
    assert f"1 tensors missing: {gone}" in bad.stdout
    assert f"models pull {miniature.BASE}`" in bad.stderr
    document = run_command("models", "verify", miniature.BASE, "--json").document
    assert (document["status"], document["exit_code"]) == ("damaged", 5)
    assert document["models"][0]["networks"][0]["missing"] == [gone]


def test_path(run_command, weights: Path) -> None:
    outcome = run_command("models", "path", "InfiniteTalk-multi", "chinese-wav2vec2-base")
    assert outcome.stdout.splitlines() == [
        str(weights / "InfiniteTalk" / "multi" / "infinitetalk.safetensors"),
        str(weights / "chinese-wav2vec2-base"),
    ]
    missing = run_command("models", "path", "FusionX-I2V-14B")
    assert missing.exit_code == 5
    assert "`infinitetalk models pull FusionX-I2V-14B`" in missing.stderr


def test_convert_once(run_command, weights: Path) -> None:
    assert len(run_command("models", "convert", miniature.BASE, "--json").document["files"]) == 3
    for file in (weights / miniature.BASE).glob("*.pth"):
        file.unlink()
    again = run_command("models", "convert", miniature.BASE)
    assert (again.exit_code, again.stdout) == (0, "")
    assert run_command("models", "verify", miniature.BASE).exit_code == 0


def test_pull(run_command, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commit = "d" * 40
    with hub.serve(monkeypatch, tmp_path / "hub") as served:
        served.add_folder("MeiGen-AI/InfiniteTalk", weights / "InfiniteTalk", commit)
        elsewhere = tmp_path / "elsewhere"
        planned = run_command("models", "pull", "InfiniteTalk-single", "--weights-dir", elsewhere, "--dry-run")
        assert planned.exit_code == 0, planned.stderr
        assert f"from MeiGen-AI/InfiniteTalk at {commit[:12]} into {elsewhere}" in planned.stderr
        assert not elsewhere.exists()
        pulled = run_command("models", "pull", "InfiniteTalk-single", "--weights-dir", elsewhere, "--json")
        assert pulled.document["models"][0]["commit"] == commit
    place = elsewhere / "InfiniteTalk" / "single" / "infinitetalk.safetensors"
    assert place.read_bytes() == (weights / "InfiniteTalk" / "single" / "infinitetalk.safetensors").read_bytes()
    listed = run_command("models", "list", "InfiniteTalk-single", "--weights-dir", elsewhere, "--json").document
    assert listed["models"][0]["layouts"]["original"]["commit"] == commit
    assert json.loads((elsewhere / "pins.json").read_text())["MeiGen-AI/InfiniteTalk"]["commit"] == commit


def test_nothing_to_pull_for_the_built_in_model(run_command) -> None:
    outcome = run_command("models", "pull", "nano")
    assert outcome.exit_code == 0
    assert "built in" in outcome.stdout


@pytest.mark.parametrize("command", ["pull", "verify", "path", "convert"])
def test_a_misspelt_name(run_command, command: str) -> None:
    outcome = run_command("models", command, "InfiniteTalk-sngle")
    assert outcome.exit_code == 5
    assert "did you mean 'InfiniteTalk-single'?" in outcome.stderr
    assert "Traceback" not in outcome.stderr


def test_built_in_weights_are_checked_too(run_command) -> None:
    outcome = run_command("models", "verify", "nano", "--json")
    (model,) = outcome.document["models"]
    assert outcome.exit_code == 0 and model["good"]
    assert [report["tensors"] > 10 for report in model["networks"]] == [True, True, True]
    assert run_command("models", "path", "nano").stdout.strip() == model["place"]
