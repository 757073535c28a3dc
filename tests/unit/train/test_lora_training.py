"""LoRA fine-tuning from videos to a file for `dub --lora`, on the published model in miniature."""

import hashlib
import json
from fractions import Fraction

import miniature
import pytest
import torch
from footage import Shot, join
from safetensors.torch import load_file
from talking import write_talk
from test_training import Quiet

from infinitetalk_cli.checkpoints.locate import locate_model
from infinitetalk_cli.config.model import LoraFile
from infinitetalk_cli.config.profile import ComputeProfile, MemoryProfile
from infinitetalk_cli.errors import DependencyError
from infinitetalk_cli.models.published import PublishedModel
from infinitetalk_cli.train.adapters import add_adapters
from infinitetalk_cli.train.config import load_settings
from infinitetalk_cli.train.lora_recipe import LoraRecipe
from infinitetalk_cli.train.published_clips import caption
from infinitetalk_cli.train.videos import SourceFile

pytest.importorskip("peft")

CONFIG = """
extends: lora-infinitetalk
name: tiny
dtype: float32
prompt: a person is talking
videos: {area_px: 1024, clip_frames: 29, crop: whole, held_out_share: 0.5}
lora: {rank: 4, alpha: 8.0}
flow:
  phases: [{num_steps: 16, chunk_frames: 9, batch_size: 2}]
  accumulate: 2
  context_frames: 5
  references_per_clip: 2
  learning_rate: 0.02
  warmup_steps: 2
  checkpoint_every: 4
  samples_every: 16
  gradient_checkpointing: false
"""


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return miniature.write_weights(tmp_path_factory.mktemp("weights"))


@pytest.fixture(scope="module")
def talks(tmp_path_factory):
    folder = tmp_path_factory.mktemp("talks")
    for seed in (1, 2):
        film = join([Shot(seed, 2.5)], Fraction(25))
        write_talk(folder / f"{seed}.mkv", film, Fraction(25))
    (folder / "2.txt").write_text("a bright woman is speaking\n")
    return folder


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    path = tmp_path_factory.mktemp("config") / "tiny.yaml"
    path.write_text(CONFIG)
    return load_settings(str(path))


@pytest.fixture(scope="module")
def trained(settings, talks, weights, tmp_path_factory):
    """A finished run."""
    recipe = LoraRecipe(settings, tmp_path_factory.mktemp("run"), Quiet(), talks, weights, cpu=True)
    recipe.run()
    return recipe


def transformer(weights, *loras):
    files = locate_model(miniature.model_profile(loras=tuple(LoraFile(file=str(path)) for path in loras)), weights)
    return PublishedModel(files, torch.device("cpu"), ComputeProfile(dtype="float32"), MemoryProfile()).transformer()


def answer(model):
    torch.manual_seed(3)
    inputs = [torch.randn(1, 16, 3, 4, 4), torch.tensor([731.5]), torch.randn(1, 5, 32), torch.randn(1, 5, 160)]
    condition, audio = torch.randn(1, 20, 3, 4, 4), torch.randn(1, 9, 5, 2, 16)
    with torch.no_grad():
        return model(*inputs, condition, audio).sample


def hash_of(tensors):
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(name.encode() + tensors[name].numpy().tobytes())
    return digest.hexdigest()


def test_clips_hold_what_the_published_loop_reads(trained, settings):
    shards = sorted(trained.folder.glob("videos/*/shard-*.safetensors"))
    assert len(shards) == 4  # two clips of 1.16 s from each film
    clip = load_file(shards[0])
    assert clip["latents"].shape == (3, 16, 4, 6)
    assert clip["padded"].shape == (3, 3, 16, 4, 6)
    assert clip["image"].shape[:1] == (3,)
    assert clip["audio"].shape == (9 + 4, 2, 16)
    # The chunk's own first frame is reference 0; encoded alone or with what follows, it is the same latent.
    torch.testing.assert_close(clip["latents"][0], clip["padded"][0, 0], rtol=1e-2, atol=2e-2)


def test_the_loss_falls(trained):
    lines = [json.loads(line) for line in (trained.folder / "flow" / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [4, 8, 12, 16]
    assert lines[-1]["loss"] < 0.9 * lines[0]["loss"]
    assert {"held_out_loss", "audio_gain"} <= lines[-1].keys()
    assert (trained.folder / "flow" / "samples" / "step-000016.png").exists()


def test_the_file_does_in_dubbing_what_the_adapters_did(trained, settings, weights):
    """Merged by the loader of `dub --lora`, it gives the answers of the adapters in training."""
    base, merged = transformer(weights), transformer(weights, trained.weights)
    adapted = transformer(weights)
    before = hash_of(base.state_dict())
    add_adapters(adapted, settings.lora, seed=0)
    torch.testing.assert_close(answer(adapted), answer(base))  # at first they change nothing
    state = torch.load(trained.folder / "flow" / "checkpoint.pt", weights_only=True)
    adapted.load_state_dict(state["average"], strict=False)
    torch.testing.assert_close(answer(merged), answer(adapted), rtol=1e-4, atol=1e-4)
    assert (answer(merged) - answer(base)).norm() > 0.02 * answer(base).norm()
    frozen = {name.replace(".base_layer", ""): p for name, p in adapted.state_dict().items() if "lora_" not in name}
    assert hash_of(frozen) == before


def test_training_leaves_the_base_alone_and_out_of_the_checkpoint(trained, weights):
    state = torch.load(trained.folder / "flow" / "checkpoint.pt", weights_only=True)
    assert all(".lora_" in name for name in state["model"])
    assert (trained.folder / "flow" / "checkpoint.pt").stat().st_size < 1_000_000


def test_a_broken_run_ends_with_the_same_file(trained, settings, talks, weights, tmp_path):
    """Stopped after 10 of 16 steps, two after a checkpoint; nothing is encoded again."""

    class Stop(Exception): ...

    class Stopping(Quiet):
        steps = 0

        def advance(self, steps=1):
            self.steps += steps
            if self.steps == 2 + 10:  # two films, then steps of training
                raise Stop

    (tmp_path / "videos").symlink_to(trained.folder / "videos")
    with pytest.raises(Stop):
        LoraRecipe(settings, tmp_path, Stopping(), talks, weights, cpu=True).run()
    again = LoraRecipe(settings, tmp_path, Quiet(), talks, weights, cpu=True)
    again.run()
    assert hash_of(load_file(again.weights)) == hash_of(load_file(trained.weights))


def test_captions_come_from_beside_the_video(talks):
    files = {path.stem: SourceFile(path, "0" * 64) for path in talks.glob("*.mkv")}
    assert caption(files["1"], "somebody talks") == "somebody talks"
    assert caption(files["2"], "somebody talks") == "a bright woman is speaking"


def test_without_peft_there_is_an_install_line(monkeypatch, settings, weights):
    monkeypatch.setitem(__import__("sys").modules, "peft", None)
    with pytest.raises(DependencyError, match=r"pip install 'infinitetalk\[lora\]'"):
        add_adapters(transformer(weights), settings.lora, 0)
