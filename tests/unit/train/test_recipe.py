"""The steps that make a model, on a world of a few seconds: a curriculum, and a run that goes on from another one's."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file
from test_training import Quiet

from infinitetalk_cli.errors import DependencyError, InputError
from infinitetalk_cli.train import recipe as recipe_module
from infinitetalk_cli.train.config import load_settings
from infinitetalk_cli.train.recipe import Recipe

CONFIG = """
extends: ablation-m3
name: small
world: {num_clips: 2, clips_per_shard: 2, clip_frames: 33, head_motion: [0, 0.1], camera_motion: [0, 0]}
worlds:
  restless: {head_motion: [0.4, 0.4], num_clips: 1}
transformer:
  {num_attention_heads: 2, attention_head_dim: 12, ffn_dim: 32, num_layers: 1, audio_hidden_dim: 16,
   audio_token_dim: 64, audio_tokens: 4}
flow:
  init_from: null
  phases:
    - {num_steps: 2, chunk_frames: 9, batch_size: 2, crop_latents: 4}
    - {num_steps: 1, chunk_frames: 9, batch_size: 1, world: restless}
  context_frames: 5
  warmup_steps: 1
  checkpoint_every: 2
  precision: "no"
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A finished run and its configuration's file."""
    folder = tmp_path_factory.mktemp("run")
    config = folder / "small.yaml"
    config.write_text(CONFIG)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recipe_module, "_HELD_OUT_CLIPS", 2)
        Recipe(load_settings(str(config)), folder, Quiet(), cpu=True).run()
    return folder


def transformer_of(folder):
    return load_file(folder / "transformer" / "diffusion_pytorch_model.safetensors")


def test_each_phase_has_its_world(run):
    calm, restless = (load_file(run / name / "shard-0000.safetensors") for name in ("world", "world_restless"))
    assert len(calm["frames"]) == 2
    assert len(restless["frames"]) == 1

    def change(shard):
        return (shard["frames"][0, 1:].float() - shard["frames"][0, :-1].float()).abs().mean()

    assert change(restless) > 1.5 * change(calm)  # the same person and words, and more motion
    assert torch.equal(calm["waveform"][0], restless["waveform"][0])
    lines = [json.loads(line) for line in (run / "flow" / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [2, 3]


def test_parts_are_those_of_the_shipped_nano(run):
    for name in ("codec", "audio_encoder", "probe"):
        assert (run / "weights" / name / "config.json").exists()


def test_a_run_goes_on_from_another_ones_weights(run, tmp_path):
    config = tmp_path / "next.yaml"
    steps = "[{num_steps: 1, chunk_frames: 9, batch_size: 1, world: restless}]"
    config.write_text(
        f"extends: {run}/small.yaml\ntransformer: null\nflow: {{init_from: {run}, learning_rate: 1.0e-9, "
        f"weight_decay: 0.0, phases: {steps}}}\n"
    )
    for name in ("world", "world_restless", "world_held_out", "latents", "latents_restless", "latents_held_out"):
        shutil.copytree(run / name, tmp_path / name)
    recipe = Recipe(load_settings(str(config)), tmp_path, Quiet(), cpu=True)
    recipe.run(("audio", "codec_basis", "flow"))
    before, after = transformer_of(run), transformer_of(tmp_path)
    assert all(torch.allclose(before[name], after[name], atol=1e-6) for name in before)


def test_what_was_made_otherwise_is_not_mixed_in(run, tmp_path):
    config = tmp_path / "other.yaml"
    config.write_text(f"extends: {run}/small.yaml\nworld: {{head_motion: [0, 0.2]}}\n")
    with pytest.raises(InputError, match=r"its world was made with head_motion \[0\.?0?, 0\.1\]"):
        Recipe(load_settings(str(config)), run, Quiet(), cpu=True).run(("world",))


def test_weights_that_are_not_there_are_named(tmp_path, run):
    config = tmp_path / "lost.yaml"
    config.write_text(f"extends: {run}/small.yaml\ntransformer: null\nflow: {{init_from: nowhere}}\n")
    recipe = Recipe(load_settings(str(config)), run, Quiet(), cpu=True)
    with pytest.raises(DependencyError, match="nowhere: holds no trained transformer"):
        recipe.run(("flow",))


def test_clips_made_with_other_settings_are_not_taken(run, tmp_path):
    config = tmp_path / "other.yaml"
    config.write_text(CONFIG.replace("head_motion: [0, 0.1]", "head_motion: [0.5, 0.5]"))
    with pytest.raises(InputError, match="world was made with head_motion"):
        Recipe(load_settings(str(config)), tmp_path / "out", Quiet(), data=run / "world", cpu=True).run(("world",))


def test_nothing_is_exported_from_nothing(run, tmp_path):
    with pytest.raises(InputError, match="run step flow first"):
        Recipe(load_settings(str(run / "small.yaml")), tmp_path, Quiet(), cpu=True).run(("export",))
