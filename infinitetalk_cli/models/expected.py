"""Names and shapes of tensors: those a network's class has, and those of its files; nothing is loaded."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

from diffusers import AutoencoderKLWan
from torch import Tensor, nn
from transformers import CLIPVisionConfig, CLIPVisionModel, UMT5Config, UMT5EncoderModel, Wav2Vec2Config, Wav2Vec2Model

from infinitetalk_cli.checkpoints.files import (
    AUDIO_ENCODER,
    CODEC,
    IMAGE_ENCODER,
    TEXT_ENCODER,
    TRANSFORMER,
    NetworkFiles,
)
from infinitetalk_cli.models import published_sizes as sizes
from infinitetalk_cli.models.audio_encoder import wav2vec2_weights_from_published
from infinitetalk_cli.models.filling import without_memory
from infinitetalk_cli.models.image_encoder import clip_weights_from_published
from infinitetalk_cli.models.published_networks import settings_of
from infinitetalk_cli.models.tensor_files import TensorFiles
from infinitetalk_cli.models.text_encoder import umt5_weights_from_published
from infinitetalk_cli.models.vae import vae_weights_from_published

Shapes = dict[str, tuple[int, ...]]
Rename = Callable[[Mapping[str, Tensor]], Iterable[tuple[str, Tensor]]]

PUBLISHED_VAE: dict[str, Any] = {
    "base_dim": 96, "z_dim": 16, "dim_mult": [1, 2, 4, 4], "num_res_blocks": 2,
    "temperal_downsample": [False, True, True],
}  # fmt: skip
PUBLISHED_IMAGE_ENCODER: dict[str, Any] = {
    "hidden_size": 1280, "intermediate_size": 4 * 1280, "num_hidden_layers": 32, "num_attention_heads": 16,
    "image_size": 224, "patch_size": 14,
}  # fmt: skip
PUBLISHED_TEXT_ENCODER: dict[str, Any] = {
    "vocab_size": 256_384, "d_model": 4096, "d_kv": 64, "d_ff": 10_240, "num_layers": 24, "num_heads": 64,
    "relative_attention_num_buckets": 32, "feed_forward_proj": "gated-gelu",
}  # fmt: skip
"""Sizes of the parts beside the 14B transformer; the original layout has no settings of theirs."""

_TIED = "encoder.embed_tokens.weight"  # the same as shared.weight


def shapes_of(tensors: Mapping[str, Tensor]) -> Shapes:
    """Names and shapes."""
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


def needed_and_found(name: str, network: NetworkFiles, is_published_size: bool) -> tuple[Shapes, Shapes]:
    """What network `name` needs, and what its files hold, under the names of diffusers' or transformers' class.

    Sizes come from the network's config.json; in the original layout they are the published ones, or those of the
    files where the model is of another size. Tensors whose name means nothing keep it.

    Raises:
        DependencyError: a file cannot be read, or lacks what decides a size.
    """
    layout = TensorFiles(network.weights).layout
    where = str(network.weights[0])
    if network.layout == "ours":
        model, rename = _ours(name, network, where), _unchanged
    elif name == CODEC:
        model, rename = _vae(network, layout, where, is_published_size)
    elif name == IMAGE_ENCODER:
        layout = {key: tensor for key, tensor in layout.items() if not key.startswith(("textual.", "log_scale"))}
        layout = {key.removeprefix("visual."): tensor for key, tensor in layout.items()}
        model, rename = _image_encoder(network, layout, where, is_published_size)
    elif name == TEXT_ENCODER:
        model, rename = _text_encoder(network, layout, where, is_published_size)
    else:
        assert name == AUDIO_ENCODER, name
        with without_memory(), settings_of(where):
            # What masks speech belongs to training.
            config = sizes.read_json(network.config) | {"mask_time_prob": 0.0, "mask_feature_prob": 0.0}
            model = Wav2Vec2Model(Wav2Vec2Config.from_dict(config))
        rename = wav2vec2_weights_from_published
    needed, found = shapes_of(model.state_dict()), shapes_of(_renamed(rename, layout))
    needed.pop(_TIED, None)
    found.pop(_TIED, None)
    return needed, found


def _ours(name: str, network: NetworkFiles, where: str) -> nn.Module:
    from infinitetalk_cli.models.nano_audio import NanoAudioEncoder
    from infinitetalk_cli.models.nano_codec import NanoCodec
    from infinitetalk_cli.models.transformer import InfiniteTalkTransformer3DModel

    classes = {TRANSFORMER: InfiniteTalkTransformer3DModel, CODEC: NanoCodec, AUDIO_ENCODER: NanoAudioEncoder}
    with without_memory(), settings_of(where):
        return classes[name].from_config(sizes.read_json(network.config))


def _vae(
    network: NetworkFiles, layout: Mapping[str, Tensor], where: str, is_published_size: bool
) -> tuple[nn.Module, Rename]:
    rename: Rename = _unchanged
    if network.config is not None:
        config = sizes.read_json(network.config)
    else:
        config = PUBLISHED_VAE if is_published_size else sizes.vae_config(layout, where)
        rename = partial(vae_weights_from_published, num_res_blocks=config["num_res_blocks"])
    with without_memory(), settings_of(where):
        return AutoencoderKLWan.from_config(config), rename


def _image_encoder(
    network: NetworkFiles, layout: Mapping[str, Tensor], where: str, is_published_size: bool
) -> tuple[nn.Module, Rename]:
    rename: Rename = _tower
    if network.config is not None:
        config = sizes.read_json(network.config)
    else:
        config = PUBLISHED_IMAGE_ENCODER if is_published_size else sizes.image_encoder_config(layout, where)
        rename = clip_weights_from_published
    with without_memory(), settings_of(where):
        model = CLIPVisionModel(CLIPVisionConfig.from_dict(config))
    return getattr(model, "vision_model", model), rename  # transformers 5 has no such level


def _text_encoder(
    network: NetworkFiles, layout: Mapping[str, Tensor], where: str, is_published_size: bool
) -> tuple[nn.Module, Rename]:
    rename: Rename = _unchanged
    if network.config is not None:
        config = sizes.read_json(network.config)
    else:
        config = PUBLISHED_TEXT_ENCODER if is_published_size else sizes.text_encoder_config(layout, where)
        rename = umt5_weights_from_published
    with without_memory(), settings_of(where):
        return UMT5EncoderModel(UMT5Config.from_dict(config)), rename


def _renamed(rename: Rename, layout: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """All tensors under the names of the class; where one has a foreign name, it does not hide the others."""
    try:
        return dict(rename(layout))
    except KeyError:
        named: dict[str, Tensor] = {}
    for key, tensor in layout.items():
        try:
            named |= dict(rename({key: tensor}))
        except KeyError:
            named[key] = tensor
    return named


def _unchanged(weights: Mapping[str, Tensor]) -> Iterable[tuple[str, Tensor]]:
    return weights.items()


def _tower(weights: Mapping[str, Tensor]) -> Iterable[tuple[str, Tensor]]:
    """transformers before version 5 puts a level above the tower's names; a projection beside it is not used."""
    named = ((key.removeprefix("vision_model."), tensor) for key, tensor in weights.items())
    return [pair for pair in named if pair[0] not in ("embeddings.position_ids", "visual_projection.weight")]
