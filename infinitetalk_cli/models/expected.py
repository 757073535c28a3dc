"""Names and shapes of tensors: those a network's class has, and those of its files; nothing is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from infinitetalk_cli.checkpoints.files import (
    AUDIO_ENCODER,
    CODEC,
    CONTROL,
    IMAGE_ENCODER,
    TEXT_ENCODER,
    TRANSFORMER,
    NetworkFiles,
)
from infinitetalk_cli.models import published_networks as networks
from infinitetalk_cli.models import published_sizes as sizes
from infinitetalk_cli.models.filling import without_memory
from infinitetalk_cli.models.tensor_files import TensorFiles

Shapes = dict[str, tuple[int, ...]]

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

_PUBLISHED = {
    CODEC: PUBLISHED_VAE, IMAGE_ENCODER: PUBLISHED_IMAGE_ENCODER, TEXT_ENCODER: PUBLISHED_TEXT_ENCODER,
}  # fmt: skip
_MAKE_EMPTY = {
    CODEC: networks.empty_vae,
    IMAGE_ENCODER: networks.empty_image_encoder,
    TEXT_ENCODER: networks.empty_text_encoder,
    AUDIO_ENCODER: networks.empty_audio_encoder,
    CONTROL: networks.empty_uni3c,
}


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
    if network.layout == "ours" and name != CONTROL:
        empty = _ours(name, network, where)
    else:
        if name == IMAGE_ENCODER:
            layout = {key: tensor for key, tensor in layout.items() if not key.startswith(("textual.", "log_scale"))}
            layout = {key.removeprefix("visual."): tensor for key, tensor in layout.items()}
        config = _PUBLISHED.get(name) if is_published_size else None
        empty = _MAKE_EMPTY[name](network, layout, where, config)
    needed, found = shapes_of(empty.filled.state_dict()), shapes_of(_renamed(empty.rename, layout))
    for tied in empty.tied:
        needed.pop(tied, None)
        found.pop(tied, None)
    return needed, found


def _ours(name: str, network: NetworkFiles, where: str) -> networks.EmptyNetwork:
    from infinitetalk_cli.models.nano_audio import NanoAudioEncoder
    from infinitetalk_cli.models.nano_codec import NanoCodec
    from infinitetalk_cli.models.transformer import InfiniteTalkTransformer3DModel

    classes = {TRANSFORMER: InfiniteTalkTransformer3DModel, CODEC: NanoCodec, AUDIO_ENCODER: NanoAudioEncoder}
    with without_memory(), networks.settings_of(where):
        model = classes[name].from_config(sizes.read_json(network.config))
    return networks.EmptyNetwork(model, model, networks.unchanged)


def _renamed(rename: networks.Rename, layout: Mapping[str, Tensor]) -> dict[str, Tensor]:
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
