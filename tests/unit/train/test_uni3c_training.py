"""The camera branch learns beside a frozen transformer: from twins, to the same bits after a stop."""

import json

import numpy as np
import pytest
import torch
from accelerate.state import AcceleratorState
from safetensors.torch import load_file, save_file
from test_training import AUDIO_CHANNELS, CHANNELS, TINY, Quiet, same

from infinitetalk_cli.checkpoints.files import CONTROL
from infinitetalk_cli.checkpoints.layouts import uni3c_files
from infinitetalk_cli.errors import ProfileError
from infinitetalk_cli.models.uni3c import Uni3CControlNet
from infinitetalk_cli.train import recipe as recipe_module
from infinitetalk_cli.train.build import build_transformer
from infinitetalk_cli.train.chunks import ChunkSampler
from infinitetalk_cli.train.config import load_settings
from infinitetalk_cli.train.flow import held_out_batch, judging
from infinitetalk_cli.train.loop import Trainer
from infinitetalk_cli.train.recipe import Recipe
from infinitetalk_cli.train.settings import Phase, Uni3CSettings
from infinitetalk_cli.train.steered_flow import SteeredBatch, SteeredTask, SteeredTransformer, build_branch, steered

SIZE = Uni3CSettings(conv_out_dim=16, dim=16, ffn_dim=32, num_heads=2, num_layers=1)
CONFIG = """
extends: nano-uni3c
name: small
world: {num_clips: 2, clips_per_shard: 2, clip_frames: 33, camera_motion: [0.9, 0.9], head_motion: [0.0, 0.0]}
uni3c: {conv_out_dim: 16, dim: 16, ffn_dim: 32, num_heads: 2, num_layers: 1}
flow:
  phases: [{num_steps: 2, chunk_frames: 9, batch_size: 1}]
  context_frames: 5
  warmup_steps: 1
  checkpoint_every: 2
  samples_every: null
  precision: "no"
  compile_blocks: false
"""


@pytest.fixture
def settings():
    flow = load_settings("nano-uni3c").flow
    phases = (Phase(num_steps=30, chunk_frames=13, batch_size=4),)
    update = {"phases": phases, "warmup_steps": 2, "checkpoint_every": 10, "precision": "no", "compile_blocks": False}
    return flow.model_copy(update={**update, "learning_rate": 0.01, "ema_decay": 0.5})


@pytest.fixture
def shards(tmp_path):
    """Clips whose latents are those of their twins, but for a sign: only the render tells them apart from noise."""
    generator = torch.Generator().manual_seed(0)
    latents = 0.7 * torch.randn(12, 8, CHANNELS, 4, 4, generator=generator)
    shard = {
        "latents": latents.half(), "singles": latents.half(), "render": -latents.half(),
        "render_singles": -latents.half(), "audio": torch.randn(12, 2, 29, AUDIO_CHANNELS, generator=generator).half(),
        "mouth": torch.rand(12, 4, 4, generator=generator),
    }  # fmt: skip
    save_file({name: values.contiguous() for name, values in shard.items()}, tmp_path / "shard-0000.safetensors")
    return [tmp_path / "shard-0000.safetensors"]


def trainer(shards, settings, folder):
    torch.manual_seed(settings.seed)
    main = build_transformer(TINY, CHANNELS, AUDIO_CHANNELS)
    torch.nn.init.normal_(main.proj_out.weight, std=0.1)
    model = SteeredTransformer(main, build_branch(SIZE, main))
    sampler = ChunkSampler(shards, settings, SteeredBatch, renders=True)
    judged = held_out_batch(ChunkSampler(shards, judging(settings), SteeredBatch, renders=True), 6, 13)
    return Trainer(model, SteeredTask({None: sampler}, settings, judged), settings, folder, cpu=True)


def test_only_the_branch_learns_and_the_loss_falls(shards, settings, tmp_path):
    one = trainer(shards, settings, tmp_path / "one")
    assert all(name.startswith("branch.") for name in one.weights)
    before = {name: tensor.clone() for name, tensor in one.bare_model.main.state_dict().items()}
    losses = [float(one.train_step()) for _ in range(30)]
    assert np.mean(losses[-8:]) < 0.9 * np.mean(losses[:8])
    same(before, dict(one.bare_model.main.state_dict()))
    figures = one.task.figures(one.bare_model, torch.device("cpu"))
    assert figures["camera_gain"] > 0.02


def test_it_begins_as_the_transformer_alone(shards, settings, tmp_path):
    one = trainer(shards, settings, tmp_path / "one")
    batch = one.task.batch(0, settings.phases[0], 0)
    condition, audio = torch.zeros(4, CHANNELS + 1, *batch.clean.shape[2:]), batch.audio
    timestep = torch.full((4,), 500.0)
    with torch.no_grad():
        call = steered(one.bare_model, batch.render)
        (output,) = call(batch.noise, timestep, condition=condition, audio=audio, return_dict=False)
        (plain,) = one.bare_model.main(batch.noise, timestep, condition=condition, audio=audio, return_dict=False)
    assert torch.equal(output, plain)


@pytest.fixture
def own_precision():
    """accelerate keeps one precision per process: trainings of other tests have chosen theirs."""
    AcceleratorState._reset_state(reset_partial_state=True)
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


def test_it_trains_in_bfloat16_too(own_precision, shards, settings, tmp_path):
    one = trainer(shards, settings.model_copy(update={"precision": "bf16"}), tmp_path / "one")
    assert all(one.train_step().isfinite() for _ in range(2))
    assert any(weight.any() for name, weight in one.weights.items() if "proj_out" in name and "weight" in name)


def test_a_resumed_training_equals_an_unbroken_one_bit_for_bit(shards, settings, tmp_path):
    straight = trainer(shards, settings, tmp_path / "straight")
    straight.run(Quiet(), stop_at=20)
    trainer(shards, settings, tmp_path / "broken").run(Quiet(), stop_at=10)
    killed = trainer(shards, settings, tmp_path / "broken")
    killed.train_step()
    resumed = trainer(shards, settings, tmp_path / "broken")
    assert resumed.step == 10
    resumed.run(Quiet(), stop_at=20)
    same(dict(straight.weights), dict(resumed.weights))
    same(straight.average, resumed.average)


def test_the_render_is_the_twin_of_the_very_frames(shards, settings):
    batch = ChunkSampler(shards, settings, SteeredBatch, renders=True).batch(3, settings.phases[0])
    assert torch.equal(batch.render[:, :, 1:], -batch.clean[:, :, 1:])
    assert batch.render.shape == batch.clean.shape


@pytest.mark.slow
def test_from_the_world_to_weights_that_dub(tmp_path, monkeypatch):
    """Twins share camera and scene and say other things; the weights are a nano with a branch of its own.

    `pytest -m slow tests/unit/train/test_uni3c_training.py`
    """
    config = tmp_path / "small.yaml"
    config.write_text(CONFIG)
    monkeypatch.setattr(recipe_module, "_HELD_OUT_CLIPS", 2)
    Recipe(load_settings(str(config)), tmp_path / "run", Quiet(), cpu=True).run()
    shard = load_file(tmp_path / "run" / "world" / "shard-0000.safetensors")
    frames, twin = shard["frames"].float(), shard["twin"].float()
    height = frames.shape[2]
    top = (frames - twin)[:, :, : height // 8].abs().mean()
    assert top < 0.02 * (frames[:, 1:] - frames[:, :-1]).abs().mean() < (frames - twin).abs().mean()
    weights = tmp_path / "run" / "weights"
    assert json.loads((weights / "uni3c" / "config.json").read_text())["num_layers"] == 1
    assert uni3c_files(weights / "uni3c").networks[CONTROL].layout == "ours"
    branch = Uni3CControlNet.from_pretrained(weights / "uni3c")
    assert any(linear.weight.any() for linear in branch.controlnet.proj_out), "it learned something"
    for part in ("transformer", "codec", "audio_encoder", "probe"):
        assert (weights / part / "config.json").is_file()
    lines = [json.loads(line) for line in (tmp_path / "run" / "flow" / "metrics.jsonl").read_text().splitlines()]
    assert "camera_gain" in lines[-1]


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ("world: {twins: false}", "twins"),
        ("uni3c: {num_heads: 5}", "does not divide into 5 heads"),
        ("flow: {i2v_share: 0.5}", "has no place beside section uni3c"),
    ],
)
def test_settings_that_do_not_go_together(change, complaint, tmp_path):
    path = tmp_path / "own.yaml"
    path.write_text(f"extends: nano-uni3c\n{change}\n")
    with pytest.raises(ProfileError, match=complaint):
        load_settings(str(path))
