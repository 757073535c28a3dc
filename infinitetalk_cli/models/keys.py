"""Names of weights and settings: published checkpoint <-> ours.

Base weights take diffusers' names; audio weights keep the published ones. Each published key is translated as
a whole, module by module, so `cross_attn` inside `audio_cross_attn` is never touched.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

AUDIO_KEY = re.compile(r"audio_proj\.|blocks\.\d+\.(audio_cross_attn|norm_x)\.")
"""Weights that the plain video model does not have; same name on both sides."""

_TOP = {
    "patch_embedding": "patch_embedding",
    "time_embedding.0": "condition_embedder.time_embedder.linear_1",
    "time_embedding.2": "condition_embedder.time_embedder.linear_2",
    "time_projection.1": "condition_embedder.time_proj",
    "text_embedding.0": "condition_embedder.text_embedder.linear_1",
    "text_embedding.2": "condition_embedder.text_embedder.linear_2",
    "img_emb.proj.0": "condition_embedder.image_embedder.norm1",
    "img_emb.proj.1": "condition_embedder.image_embedder.ff.net.0.proj",
    "img_emb.proj.3": "condition_embedder.image_embedder.ff.net.2",
    "img_emb.proj.4": "condition_embedder.image_embedder.norm2",
    "head.head": "proj_out",
    "head": "",  # head.modulation
}
_BLOCK = {
    "": "",  # blocks.0.modulation
    "self_attn.q": "attn1.to_q",
    "self_attn.k": "attn1.to_k",
    "self_attn.v": "attn1.to_v",
    "self_attn.o": "attn1.to_out.0",
    "self_attn.norm_q": "attn1.norm_q",
    "self_attn.norm_k": "attn1.norm_k",
    "norm3": "norm2",  # the affine norm in front of the text attention
    "cross_attn.q": "attn2.to_q",
    "cross_attn.k": "attn2.to_k",
    "cross_attn.v": "attn2.to_v",
    "cross_attn.o": "attn2.to_out.0",
    "cross_attn.norm_q": "attn2.norm_q",
    "cross_attn.norm_k": "attn2.norm_k",
    "cross_attn.k_img": "attn2.add_k_proj",
    "cross_attn.v_img": "attn2.add_v_proj",
    "cross_attn.norm_k_img": "attn2.norm_added_k",
    "ffn.0": "ffn.net.0.proj",
    "ffn.2": "ffn.net.2",
}
_LEAF = {"weight": "weight", "bias": "bias", "modulation": "scale_shift_table"}


def key_from_published(key: str) -> str:
    """Our name of the weight that the published checkpoint calls `key`; KeyError if there is none."""
    return _translate(key, _TOP, _BLOCK, _LEAF)


def key_to_published(key: str) -> str:
    """The published checkpoint's name of our weight `key`; KeyError if there is none."""
    return _translate(key, _swap(_TOP), _swap(_BLOCK), _swap(_LEAF))


def our_key(key: str) -> str:
    """Our name of a weight that has its published name or diffusers'; the two sets of names have none in common that
    means two things, so no one needs to say which it is. A name of neither is returned as it is."""
    try:
        return key_from_published(key)
    except KeyError:
        return key


def uni3c_key(key: str) -> str:
    """Our name of a weight of Uni3C's camera branch: the published one, which the repackaged file shortens."""
    shortened = ("proj_in.", "proj_out.", "controlnet_blocks.")
    return f"controlnet.{key}" if key.startswith(shortened) else key


def state_dict_from_published(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A published state dict under our names."""
    return {key_from_published(key): tensor for key, tensor in weights.items()}


def config_from_published(
    config: Mapping[str, Any], *, image_dim: int = 1280, audio_layers: int = 12, audio_channels: int = 768
) -> dict[str, Any]:
    """Our constructor arguments for a published `config.json`.

    The published class fixes the last three numbers; they are arguments for smaller models of the same make.
    """
    return {
        "in_channels": config["in_dim"],
        "out_channels": config["out_dim"],
        "num_attention_heads": config["num_heads"],
        "attention_head_dim": config["dim"] // config["num_heads"],
        "ffn_dim": config["ffn_dim"],
        "num_layers": config["num_layers"],
        "freq_dim": config["freq_dim"],
        "patch_size": tuple(config.get("patch_size", (1, 2, 2))),
        "text_dim": config.get("text_dim", 4096),
        "text_len": config["text_len"],
        "image_dim": image_dim,
        "audio_window": config.get("audio_window", 5),
        "audio_layers": audio_layers,
        "audio_channels": audio_channels,
        "audio_hidden_dim": config.get("intermediate_dim", 512),
        "audio_token_dim": config.get("output_dim", 768),
        "audio_tokens": config.get("context_tokens", 32),
        "vae_temporal_stride": config.get("vae_scale", 4),
        "eps": config.get("eps", 1e-6),
    }


def _translate(key: str, top: Mapping[str, str], block: Mapping[str, str], leaf: Mapping[str, str]) -> str:
    if AUDIO_KEY.match(key):
        return key
    head, _, last = key.rpartition(".")
    inside = re.fullmatch(r"(blocks\.\d+)(?:\.(.+))?", head)
    prefix, module, table = (inside[1], inside[2] or "", block) if inside else ("", head, top)
    try:
        return ".".join(part for part in (prefix, table[module], leaf[last]) if part)
    except KeyError:
        raise KeyError(f"no weight of this model is called '{key}'") from None


def _swap(table: Mapping[str, str]) -> dict[str, str]:
    return {ours: published for published, ours in table.items()}
