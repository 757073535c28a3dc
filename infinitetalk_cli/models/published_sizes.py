"""Sizes of the published networks: from their config.json, and from the shapes of their tensors where that is silent.

`layout` is the shapes of a checkpoint's tensors, on the meta device, under the names of our classes for the
transformer and under published names for the others.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import Size, Tensor

from infinitetalk_cli.errors import DependencyError
from infinitetalk_cli.models.keys import config_from_published

Layout = Mapping[str, Tensor]

TEXT_TOKENS = 512
"""Length of the text in the published model; diffusers' config.json does not say it."""

CLIP_HEAD_CHANNELS = 80
"""ViT-H/14 has heads of 80 channels (1280 / 16): the `head_width` of open_clip's ViT-H-14. No tensor shows it."""

UNI3C_HEAD_CHANNELS = 64
"""Of the camera branch (1024 / 16). No tensor shows it."""
UNI3C_OUT_DIM, UNI3C_LAYERS = 5120, 20
"""Width of the main model that the published camera branch steers, and how many of its blocks."""


def transformer_config(config: Path, layout: Layout, audio_config: Path, where: str) -> dict[str, Any]:
    """Constructor arguments of our transformer for base weights with audio weights.

    `audio_config` is the config.json of the speech encoder: how the rows that the model reads divide into layers.

    Raises:
        DependencyError: the files contradict each other, or lack what decides a size.
    """
    settings, speech = read_json(config), read_json(audio_config)
    with _named_gaps(config):
        arguments = _from_diffusers(settings) if "num_attention_heads" in settings else config_from_published(settings)
    first, group = (_shape(layout, f"audio_proj.{name}.weight", where) for name in ("proj1", "proj1_vf"))
    token_dim = _shape(layout, "audio_proj.norm.weight", where)[0]
    with _named_gaps(audio_config):
        layers, channels = speech["num_hidden_layers"], speech["hidden_size"]
        window, rest = divmod(first[1], layers * channels)
    if rest:
        raise DependencyError(
            f"{where}: the audio weights read {first[1]} numbers per frame, which are no whole rows of the "
            f"{layers} x {channels} that {audio_config.parent} makes; use the speech encoder they were trained with"
        )
    return arguments | {
        "text_dim": _shape(layout, "condition_embedder.text_embedder.linear_1.weight", where)[1],
        "image_dim": _shape(layout, "condition_embedder.image_embedder.norm1.weight", where)[0],
        "audio_window": window,
        "audio_layers": layers,
        "audio_channels": channels,
        "audio_hidden_dim": first[0],
        "audio_token_dim": token_dim,
        "audio_tokens": _shape(layout, "audio_proj.proj3.weight", where)[0] // token_dim,
        "vae_temporal_stride": group[1] // (layers * channels) - window + 1,
    }


def text_encoder_config(layout: Layout, where: str) -> dict[str, Any]:
    """Arguments of transformers' `UMT5Config`; heads are the columns of the table of relative positions."""
    vocab, dim = _shape(layout, "token_embedding.weight", where)
    buckets, heads = _shape(layout, "blocks.0.pos_embedding.embedding.weight", where)
    return {
        "vocab_size": vocab,
        "d_model": dim,
        "d_kv": _shape(layout, "blocks.0.attn.q.weight", where)[0] // heads,
        "d_ff": _shape(layout, "blocks.0.ffn.fc1.weight", where)[0],
        "num_layers": _count(layout, r"blocks\.(\d+)\."),
        "num_heads": heads,
        "relative_attention_num_buckets": buckets,
        "feed_forward_proj": "gated-gelu",
    }


def image_encoder_config(layout: Layout, where: str) -> dict[str, Any]:
    """Arguments of transformers' `CLIPVisionConfig`, from the whole model's tensors or those of its vision half."""
    layout = {name.removeprefix("visual."): tensor for name, tensor in layout.items()}
    dim, _, patch, _ = _shape(layout, "patch_embedding.weight", where)
    tokens = _shape(layout, "pos_embedding", where)[1]
    return {
        "hidden_size": dim,
        "intermediate_size": _shape(layout, "transformer.0.mlp.0.weight", where)[0],
        "num_hidden_layers": _count(layout, r"transformer\.(\d+)\."),
        "num_attention_heads": max(1, dim // CLIP_HEAD_CHANNELS),
        "image_size": math.isqrt(tokens - 1) * patch,
        "patch_size": patch,
        "hidden_act": "gelu",
        "layer_norm_eps": 1e-5,
    }


def vae_config(layout: Layout, where: str) -> dict[str, Any]:
    """Arguments of diffusers' `AutoencoderKLWan`.

    The encoder's list has `num_res_blocks` residual blocks per level and a resampling between levels; one that joins
    frames has a convolution over time. Mean and deviation of the latents are in no file: diffusers' defaults.
    """
    dim = _shape(layout, "encoder.conv1.weight", where)[0]
    num_places = _count(layout, r"encoder\.downsamples\.(\d+)\.")
    resamplings = [i for i in range(num_places) if f"encoder.downsamples.{i}.resample.1.weight" in layout]
    num_blocks = resamplings[0] if resamplings else num_places
    level_starts = (0, *(place + 1 for place in resamplings))
    widths = [_shape(layout, f"encoder.downsamples.{i}.residual.2.weight", where)[0] for i in level_starts]
    return {
        "base_dim": dim,
        "z_dim": _shape(layout, "conv2.weight", where)[0],
        "dim_mult": [width // dim for width in widths],
        "num_res_blocks": num_blocks,
        "temperal_downsample": [f"encoder.downsamples.{i}.time_conv.weight" in layout for i in resamplings],
    }


def uni3c_config(layout: Layout, where: str) -> dict[str, Any]:
    """Arguments of our `Uni3CControlNet` for a branch under the published names.

    Only the number of heads is in no tensor: they have 64 channels. A branch as wide as the published one has its 20
    blocks too, so that one that lacks some is incomplete rather than smaller.

    Raises:
        DependencyError: tensors are missing that decide a size, or its width is no whole number of heads.
    """
    patch = _shape(layout, "controlnet_patch_embedding.weight", where)
    mask = _shape(layout, "controlnet_mask_embedding.mask_proj.0.weight", where)
    out_dim, dim = _shape(layout, "controlnet.proj_out.0.weight", where)
    num_layers = max(_count(layout, rf"controlnet\.{part}\.(\d+)\.") for part in ("controlnet_blocks", "proj_out"))
    if dim % UNI3C_HEAD_CHANNELS:
        raise DependencyError(
            f"{where}: {dim} channels are no whole heads of {UNI3C_HEAD_CHANNELS}; get these weights again"
        )
    return {
        "in_channels": patch[1],
        "conv_out_dim": patch[0],
        "dim": dim,
        "ffn_dim": _shape(layout, "controlnet.controlnet_blocks.0.ffn.0.weight", where)[0],
        "num_heads": dim // UNI3C_HEAD_CHANNELS,
        "num_layers": UNI3C_LAYERS if out_dim == UNI3C_OUT_DIM else num_layers,
        "time_embed_dim": _shape(layout, "controlnet.controlnet_blocks.0.norm1.linear.weight", where)[1],
        "out_dim": out_dim,
        "add_channels": mask[1],
        "mid_channels": mask[0],
        "patch_size": tuple(patch[2:]),
    }


def read_json(path: Path) -> dict[str, Any]:
    """The settings in a config.json.

    Raises:
        DependencyError: it is missing or damaged.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as exc:
        raise DependencyError(f"{path}: cannot be read ({exc}); download it again") from exc
    if not isinstance(document, dict):
        raise DependencyError(f"{path}: holds no settings; download it again")
    return document


def _from_diffusers(config: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "in_channels": config["in_channels"],
        "out_channels": config["out_channels"],
        "num_attention_heads": config["num_attention_heads"],
        "attention_head_dim": config["attention_head_dim"],
        "ffn_dim": config["ffn_dim"],
        "num_layers": config["num_layers"],
        "freq_dim": config["freq_dim"],
        "patch_size": tuple(config["patch_size"]),
        "text_len": TEXT_TOKENS,
        "eps": config["eps"],
    }


@contextmanager
def _named_gaps(path: Path) -> Iterator[None]:
    """A setting that is not there, or no number where one is needed, is a `DependencyError`."""
    try:
        yield
    except KeyError as exc:
        raise DependencyError(f"{path}: has no {exc}; download it again") from exc
    except (TypeError, ValueError, ArithmeticError) as exc:
        raise DependencyError(f"{path}: its settings cannot be used ({exc}); download it again") from exc


def _shape(layout: Layout, name: str, where: str) -> Size:
    if name not in layout:
        raise DependencyError(f"{where}: weight {name} is missing; download these weights again")
    return layout[name].shape


def _count(layout: Layout, pattern: str) -> int:
    return 1 + max((int(match[1]) for name in layout if (match := re.match(pattern, name))), default=-1)
