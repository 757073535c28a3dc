"""A dub whose weights are missing or damaged: exit code 5, one sentence, the command that helps, nothing executed."""

from __future__ import annotations

import os
from pathlib import Path

import miniature
import pytest
import synthetic
import torch
from synthetic import Clip


@pytest.fixture(autouse=True)
def empty_hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))


@pytest.fixture
def dub(tmp_path: Path, run_command):
    """Dub with the 480p profile, in miniature, and the weights below a folder; the sentence of its failure."""
    source = synthetic.make_clip(tmp_path / "source.mp4", Clip(num_frames=10))
    voice = synthetic.make_audio(tmp_path / "voice.wav", synthetic.speech(0.4))
    profile = tmp_path / "tiny.yaml"
    profile.write_text(
        "extends: infinitetalk-480p\ngeometry: {area_px: 4096}\ncompute: {dtype: float32}\n"
        "chunks: {num_frames: 5, context_frames: 1}\nsampling: {num_steps: 1}\n"
    )

    def run(weights: Path) -> str:
        output = tmp_path / "o.mp4"
        arguments = ("--audio", voice, "-o", output, "--profile", profile, "--weights-dir", weights)
        outcome = run_command("dub", source, *arguments, "--device", "cpu")
        assert outcome.exit_code == 5, outcome.stderr
        assert "Traceback" not in outcome.stderr
        assert not output.exists()
        (sentence,) = (line for line in outcome.stderr.splitlines() if line.startswith("error: "))
        return sentence

    return run


def test_nothing_was_pulled(dub, tmp_path: Path) -> None:
    sentence = dub(tmp_path / "weights")
    command = f"`infinitetalk models pull {miniature.BASE} {miniature.AUDIO_ENCODER} InfiniteTalk-single`"
    assert command in sentence


def test_shards_are_missing(dub, tmp_path: Path) -> None:
    root = miniature.write_weights(tmp_path / "weights")
    for number in (1, 3):
        (root / miniature.BASE / f"diffusion_pytorch_model-0000{number}-of-00003.safetensors").unlink()
    sentence = dub(root)
    assert "-00001-of-00003.safetensors missing" in sentence
    assert "-00003-of-00003.safetensors missing" in sentence
    assert "-00002-of-" not in sentence


def test_a_shard_was_cut_short(dub, tmp_path: Path) -> None:
    root = miniature.write_weights(tmp_path / "weights")
    shard = root / miniature.BASE / "diffusion_pytorch_model-00002-of-00003.safetensors"
    os.truncate(shard, shard.stat().st_size - 1)
    assert f"{shard.name} damaged" in dub(root)


def test_a_pickle_that_wants_to_run_code(dub, tmp_path: Path) -> None:
    root, mark = miniature.write_weights(tmp_path / "weights"), tmp_path / "ran"

    class Trap:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (os.mkdir, (str(mark),))

    torch.save({"token_embedding.weight": Trap()}, root / miniature.BASE / miniature.T5_FILE)
    assert "it could run code" in dub(root)
    assert not mark.exists()


def test_audio_weights_of_another_size(dub, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    root = miniature.write_weights(tmp_path / "weights")
    path = root / "InfiniteTalk" / "single" / "infinitetalk.safetensors"
    weights = load_file(path)
    weights["blocks.1.norm_x.bias"] = torch.zeros(33)
    save_file(weights, path)
    sentence = dub(root)
    assert "blocks.1.norm_x.bias" in sentence
    assert "infinitetalk models verify" in sentence


def test_weights_that_are_no_numbers(dub, tmp_path: Path) -> None:
    """Names and shapes are right, so only the picture tells; it must not be delivered."""
    from safetensors.torch import load_file, save_file

    root = miniature.write_weights(tmp_path / "weights")
    path = root / miniature.BASE / "diffusion_pytorch_model-00002-of-00003.safetensors"
    save_file({name: tensor * torch.nan for name, tensor in load_file(path).items()}, path)
    assert "the model made no picture" in dub(root)
