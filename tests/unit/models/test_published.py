"""The published model from miniature checkpoints: both layouts, sizes, numbers' formats, files that do not fit."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import miniature
import pytest
import torch
from diffusers import AutoencoderKLWan
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from infinitetalk_cli.checkpoints.locate import locate_model
from infinitetalk_cli.config.model import LoraFile, ModelProfile
from infinitetalk_cli.config.profile import ComputeProfile, MemoryProfile
from infinitetalk_cli.errors import DependencyError
from infinitetalk_cli.models import published_sizes as sizes
from infinitetalk_cli.models.load import LoadedModels
from infinitetalk_cli.models.text_encoder import clean_prompt
from infinitetalk_cli.models.transformer import InfiniteTalkTransformer3DModel

FLOAT32 = {"dtype": "float32"}
MODEL = {
    "family": "infinitetalk",
    "base": miniature.BASE,
    "audio_encoder": miniature.AUDIO_ENCODER,
    "audio_weights": "InfiniteTalk-single",
}


def load(folder: Path, loras: tuple[LoraFile, ...] = (), **compute: Any) -> LoadedModels:
    files = locate_model(ModelProfile(**MODEL, loras=loras), folder)
    return LoadedModels(files, "cpu", ComputeProfile(**compute), MemoryProfile())


def published(models: LoadedModels) -> list[nn.Module]:
    """All networks of the model."""
    model = models.dubbing_model()
    text = models.text_encoder()._encoder.model
    return [model.transformer, model.codec.vae, model.image_encoder.model, models.audio_encoder().model, text]


def run(transformer: InfiniteTalkTransformer3DModel, dtype: torch.dtype = torch.float32) -> Tensor:
    """One forward on fixed random inputs."""
    torch.manual_seed(3)
    inputs = [torch.randn(1, 16, 3, 4, 6), torch.tensor([731.5]), torch.randn(1, 5, 32), torch.randn(1, 5, 160)]
    condition, audio = torch.randn(1, 20, 3, 4, 6), torch.randn(1, 9, 5, 2, 16)
    with torch.no_grad():
        return transformer(*inputs, condition, audio).sample


def relative(ours: Tensor, exact: Tensor) -> float:
    return ((ours - exact).norm() / exact.norm()).item()


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return miniature.write_weights(tmp_path_factory.mktemp("original"))


@pytest.fixture
def own_weights(tmp_path: Path) -> Path:
    """Weights that the test may spoil."""
    return miniature.write_weights(tmp_path / "weights")


def test_layouts_make_the_same_networks(original: Path, tmp_path: Path) -> None:
    other = miniature.write_weights(tmp_path, layout="diffusers")
    for ours, theirs in zip(published(load(original, **FLOAT32)), published(load(other, **FLOAT32)), strict=True):
        expected = theirs.state_dict()
        assert {name: bool(torch.equal(tensor, expected[name])) for name, tensor in ours.state_dict().items()} == (
            dict.fromkeys(expected, True)
        )
        assert not any(parameter.is_meta for parameter in ours.parameters())


def test_weights_are_those_of_the_files(original: Path) -> None:
    base, audio = miniature.transformer_weights()
    transformer = load(original, **FLOAT32).dubbing_model().transformer
    assert {name: transformer.config[name] for name in miniature.TRANSFORMER} == miniature.TRANSFORMER
    loaded = transformer.state_dict()
    assert torch.equal(loaded["blocks.1.attn2.add_k_proj.weight"], base["blocks.1.cross_attn.k_img.weight"])
    assert torch.equal(loaded["audio_proj.proj1_vf.weight"], audio["audio_proj.proj1_vf.weight"])
    assert len(loaded) == len(base) + len(audio)


@pytest.mark.parametrize("layout", ["original", "diffusers"])
def test_audio_weights_win_over_the_base(layout: str, tmp_path: Path) -> None:
    folder = miniature.write_weights(tmp_path, layout=layout, override_base=True)
    base, _audio = miniature.transformer_weights()
    loaded = load(folder, **FLOAT32).dubbing_model().transformer.blocks[0].norm2.bias
    assert torch.equal(loaded, base["blocks.0.norm3.bias"] + 1)


def test_bfloat16_keeps_what_needs_float32(original: Path) -> None:
    models = load(original, dtype="bfloat16")
    transformer, vae, clip, speech, text = published(models)
    formats = {name: tensor.dtype for name, tensor in transformer.state_dict().items()}
    kept = ("proj_out.weight", "condition_embedder.time_proj.bias", "blocks.0.scale_shift_table")
    assert {formats[name] for name in kept} == {torch.float32}
    assert formats["blocks.0.attn1.to_q.weight"] == formats["patch_embedding.weight"] == torch.bfloat16
    assert (vae.dtype, clip.dtype, speech.dtype, text.dtype) == (*[torch.float32] * 3, torch.bfloat16)
    assert load(original, vae_dtype="bfloat16", vae_tiling=True).dubbing_model().codec.vae.use_tiling


def test_bfloat16_run_is_close_to_float32(original: Path) -> None:
    """bfloat16 rounds to 2^-9 relative; a few dozen roundings in a row of two blocks add up like their root."""
    exact = run(load(original, **FLOAT32).dubbing_model().transformer)
    error = relative(run(load(original, dtype="bfloat16").dubbing_model().transformer), exact)
    assert 1e-4 < error < 0.02


def test_lora_changes_the_weights_it_names(original: Path, tmp_path: Path) -> None:
    lora = LoraFile(file=str(miniature.write_lora(tmp_path / "lora.safetensors")), weight=0.5)
    plain = load(original, **FLOAT32).dubbing_model().transformer.state_dict()
    twice = load(original, (lora, lora), **FLOAT32).dubbing_model().transformer.state_dict()
    file = load_file(lora.file)
    key = "diffusion_model.blocks.0.self_attn.q"
    delta = file[f"{key}.lora_up.weight"] @ file[f"{key}.lora_down.weight"] * (file[f"{key}.alpha"] / 4)
    name = "blocks.0.attn1.to_q.weight"
    torch.testing.assert_close(twice[name], plain[name] + delta)
    changed = {name for name, tensor in twice.items() if not torch.equal(tensor, plain[name])}
    assert len(changed) == 2 * 4 + 2


# Files that do not fit


def respell(path: Path, change: Callable[[dict[str, Tensor]], object]) -> None:
    """Write the tensors of `path` anew after `change`."""
    is_pickled = path.suffix == ".pth"
    tensors = torch.load(path, weights_only=True) if is_pickled else load_file(path)
    change(tensors)
    torch.save(tensors, path) if is_pickled else save_file(tensors, path)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda t: t.pop("audio_proj.norm.bias"), r"1 missing \(audio_proj.norm.bias\)"),
        (lambda t: t.update(stray=torch.zeros(1)), r"1 not known \(stray\)"),
        (
            lambda t: t.update({"blocks.1.norm_x.bias": torch.zeros(31)}),
            r"1 of another shape \(blocks.1.norm_x.bias is 31 instead of 32\)",
        ),
        (lambda t: t.update({"blocks.0.ffn.0.weight._data": torch.zeros(64, 32)}), "quantized by quanto"),
        (lambda t: t.pop("audio_proj.proj1.weight"), "audio_proj.proj1.weight is missing"),
        (
            lambda t: t.update({"audio_proj.proj1.weight": torch.zeros(16, 150)}),
            "150 numbers per frame.* 2 x 16 .*speech encoder",
        ),
    ],
)
def test_transformer_that_does_not_fit(own_weights: Path, change, complaint: str) -> None:
    respell(own_weights / "InfiniteTalk" / "single" / "infinitetalk.safetensors", change)
    with pytest.raises(DependencyError, match=complaint):
        load(own_weights, **FLOAT32).dubbing_model()


@pytest.mark.parametrize(
    ("file", "key", "load_it"),
    [
        (miniature.VAE_FILE, "decoder.middle.1.proj.weight", lambda models: models.dubbing_model()),
        (miniature.CLIP_FILE, "visual.transformer.1.mlp.0.bias", lambda models: models.dubbing_model()),
        (miniature.T5_FILE, "blocks.1.ffn.fc2.weight", lambda models: models.text_encoder()),
    ],
)
def test_other_network_that_does_not_fit(own_weights: Path, file: str, key: str, load_it) -> None:
    path = own_weights / miniature.BASE / file
    respell(path, lambda tensors: tensors.pop(key))
    with pytest.raises(DependencyError, match="1 missing"):
        load_it(load(own_weights, **FLOAT32))
    respell(path, lambda tensors: tensors.update({key.replace("1", "77"): torch.zeros(2)}))
    with pytest.raises(DependencyError):
        load_it(load(own_weights, **FLOAT32))


@pytest.mark.parametrize("missing", ["num_heads", "dim"])
def test_config_that_lacks_a_size(own_weights: Path, missing: str) -> None:
    path = own_weights / miniature.BASE / "config.json"
    config = json.loads(path.read_text())
    del config[missing]
    path.write_text(json.dumps(config))
    with pytest.raises(DependencyError, match=f"config.json: has no '{missing}'"):
        load(own_weights, **FLOAT32).dubbing_model()


# Sizes that only tensors tell: those of the published files must come out right


def meta(**shapes: tuple[int, ...]) -> dict[str, Tensor]:
    return {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}


def test_size_of_the_published_text_encoder() -> None:
    layout = meta(**{
        "token_embedding.weight": (256_384, 4096), "blocks.0.pos_embedding.embedding.weight": (32, 64),
        "blocks.0.attn.q.weight": (4096, 4096), "blocks.0.ffn.fc1.weight": (10_240, 4096),
        "blocks.23.norm1.weight": (4096,),
    })  # fmt: skip
    assert sizes.text_encoder_config(layout, "here") == {
        "vocab_size": 256_384, "d_model": 4096, "d_kv": 64, "d_ff": 10_240, "num_layers": 24, "num_heads": 64,
        "relative_attention_num_buckets": 32, "feed_forward_proj": "gated-gelu",
    }  # fmt: skip


def test_size_of_the_published_image_encoder() -> None:
    layout = meta(**{
        "visual.patch_embedding.weight": (1280, 3, 14, 14), "visual.pos_embedding": (1, 257, 1280),
        "visual.transformer.0.mlp.0.weight": (5120, 1280), "visual.transformer.31.norm1.weight": (1280,),
        "textual.transformer.99.norm1.weight": (7,),
    })  # fmt: skip
    config = sizes.image_encoder_config(layout, "here")
    assert (config["hidden_size"], config["num_hidden_layers"], config["num_attention_heads"]) == (1280, 32, 16)
    assert (config["image_size"], config["patch_size"], config["intermediate_size"]) == (224, 14, 5120)


def test_size_of_the_published_vae() -> None:
    with torch.device("meta"):
        vae = AutoencoderKLWan()
    layout = {miniature._published_vae_key(name): tensor for name, tensor in vae.state_dict().items()}
    config = sizes.vae_config(layout, "here")
    assert config == {name: vae.config[name] for name in config}


# Text


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [("  a\n\tb  ", "a b"), ("you &amp;amp; me", "you & me"), ("schÃ¶n", "schön"), ("", "")],
)
def test_prompts_are_cleaned(text: str, cleaned: str) -> None:
    assert clean_prompt(text) == cleaned


def test_padding_makes_no_difference(original: Path) -> None:
    """Published: padded to 512 and masked; ours encodes the tokens alone."""
    prompts = load(original, **FLOAT32).text_encoder()
    ours = prompts.embed(["a person is talking", "", "a " * 600])
    assert [len(text) for text in ours] == [5, 1, 512]
    tokens = prompts._tokenizer("a person is talking", padding="max_length", max_length=512, return_tensors="pt")
    padded = prompts._encoder.encode(tokens.input_ids, tokens.attention_mask)
    torch.testing.assert_close(ours[0], padded[0], atol=1e-5, rtol=1e-4)


def test_code_beside_a_tokenizer_is_not_run(own_weights: Path, tmp_path: Path) -> None:
    folder, mark = own_weights / miniature.BASE / "google" / "umt5-xxl", tmp_path / "ran"
    (folder / "evil.py").write_text(f"open({str(mark)!r}, 'w')\nclass Evil: pass\n")
    (folder / "tokenizer_config.json").write_text('{"auto_map": {"AutoTokenizer": ["evil.Evil", "evil.Evil"]}}')
    with pytest.raises(DependencyError, match="tokenizer cannot be read") as failure:
        load(own_weights, **FLOAT32).text_encoder()
    assert not mark.exists()
    assert "\n" not in str(failure.value)


def test_weights_in_whole_numbers(own_weights: Path) -> None:
    path = own_weights / miniature.BASE / "diffusion_pytorch_model-00002-of-00003.safetensors"
    save_file({name: tensor.to(torch.int8) for name, tensor in load_file(path).items()}, path)
    with pytest.raises(DependencyError, match="in whole numbers"):
        load(own_weights, **FLOAT32).dubbing_model()


@pytest.mark.parametrize("setting", [{"num_heads": 0}, {"dim": "x"}, {"ffn_dim": -1}, {"num_layers": None}])
def test_settings_that_make_no_transformer(own_weights: Path, setting: dict[str, object]) -> None:
    path = own_weights / miniature.BASE / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | setting))
    with pytest.raises(DependencyError, match="settings"):
        load(own_weights, **FLOAT32).dubbing_model()
