"""Names of the published checkpoint, and agreement with diffusers' model without sound."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from diffusers import WanTransformer3DModel
from tiny_models import PUBLISHED, make_transformer

from infinitetalk_cli.models.keys import (
    AUDIO_KEY,
    config_from_published,
    key_from_published,
    key_to_published,
)
from infinitetalk_cli.models.transformer import InfiniteTalkTransformer3DModel

FULL_KEYS = Path(__file__).parents[4] / "shared" / "parity" / "full_keys.json"


@pytest.mark.skipif(not FULL_KEYS.is_file(), reason="needs ../shared/parity/full_keys.json")
def test_every_published_weight_has_its_place() -> None:
    published = json.loads(FULL_KEYS.read_text())["keys"]
    with torch.device("meta"):
        ours = {key: list(tensor.shape) for key, tensor in InfiniteTalkTransformer3DModel().state_dict().items()}
    assert {key_from_published(entry["key"]): entry["shape"] for entry in published} == ours
    for entry in published:
        assert key_to_published(key_from_published(entry["key"])) == entry["key"]
        if entry["diffusers_key"] is not None:
            assert key_from_published(entry["key"]) == entry["diffusers_key"]


@pytest.mark.parametrize(
    ("published", "ours"),
    [
        ("blocks.0.norm3.weight", "blocks.0.norm2.weight"),
        ("blocks.11.cross_attn.norm_k_img.weight", "blocks.11.attn2.norm_added_k.weight"),
        ("blocks.3.audio_cross_attn.q_linear.bias", "blocks.3.audio_cross_attn.q_linear.bias"),
        ("blocks.3.modulation", "blocks.3.scale_shift_table"),
        ("head.modulation", "scale_shift_table"),
        ("head.head.bias", "proj_out.bias"),
        ("audio_proj.proj1_vf.weight", "audio_proj.proj1_vf.weight"),
    ],
)
def test_names_both_ways(published: str, ours: str) -> None:
    assert key_from_published(published) == ours
    assert key_to_published(ours) == published


@pytest.mark.parametrize("key", ["blocks.0.self_attn.w.weight", "norm3.weight", "patch_embedding.gain", "nonsense"])
def test_unknown_name(key: str) -> None:
    with pytest.raises(KeyError, match=key):
        key_from_published(key)


def test_config_of_the_published_model_is_the_default() -> None:
    published = {
        "model_type": "i2v", "patch_size": [1, 2, 2], "text_len": 512, "in_dim": 36, "dim": 5120, "ffn_dim":
        13824, "freq_dim": 256, "text_dim": 4096, "out_dim": 16, "num_heads": 40, "num_layers": 40, "eps":
        1e-6,
    }  # fmt: skip
    with torch.device("meta"):
        config = InfiniteTalkTransformer3DModel().config
    for name, value in config_from_published(published).items():
        assert config[name] == value, name


def test_without_sound_it_is_the_model_of_diffusers() -> None:
    ours = make_transformer(**PUBLISHED)
    for block in ours.blocks:
        torch.nn.init.zeros_(block.audio_cross_attn.proj.weight)
        torch.nn.init.zeros_(block.audio_cross_attn.proj.bias)
    config = ours.config
    theirs = WanTransformer3DModel(
        in_channels=config.in_channels,
        out_channels=config.out_channels,
        num_attention_heads=config.num_attention_heads,
        attention_head_dim=config.attention_head_dim,
        ffn_dim=config.ffn_dim,
        num_layers=config.num_layers,
        freq_dim=config.freq_dim,
        text_dim=config.text_dim,
        image_dim=config.image_dim,
        added_kv_proj_dim=config.num_attention_heads * config.attention_head_dim,
    ).eval()
    theirs.load_state_dict({key: tensor for key, tensor in ours.state_dict().items() if not AUDIO_KEY.match(key)})
    torch.manual_seed(3)
    latents, condition = torch.randn(1, 4, 3, 4, 6), torch.randn(1, 8, 3, 4, 6)
    text, image, timestep = torch.randn(1, 5, 10), torch.randn(1, 257, 8), torch.tensor([731.5])
    padded = torch.nn.functional.pad(text, (0, 0, 0, config.text_len - 5))
    # diffusers takes the last 512 tokens for text and the rest for the image; here the text is shorter.
    padded_far = torch.nn.functional.pad(padded, (0, 0, 0, 512 - config.text_len))
    ours.register_to_config(text_len=512)
    with torch.no_grad():
        expected = theirs(torch.cat((latents, condition), dim=1), timestep, padded_far, image).sample
        audio = torch.randn(1, 9, 5, 2, 6)
        sample = ours(latents, timestep, text, image, condition, audio).sample
    torch.testing.assert_close(sample, expected, atol=2e-5, rtol=1e-4)
