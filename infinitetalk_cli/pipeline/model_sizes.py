"""How large the networks of a model are: of its files where they are here, else as they are published."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import cached_property
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from infinitetalk_cli.checkpoints.files import (
    AUDIO_ENCODER,
    CODEC,
    CONTROL,
    IMAGE_ENCODER,
    TEXT_ENCODER,
    TRANSFORMER,
    ModelFiles,
    NetworkFiles,
)

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class TransformerSize:
    """What of the transformer's configuration decides how much memory it takes; defaults are the published model.

    `text_dim` or `image_dim` None: no such branch. `image_tokens` are what the image encoder makes of a picture.
    """

    in_channels: int = 36
    out_channels: int = 16
    num_attention_heads: int = 40
    attention_head_dim: int = 128
    ffn_dim: int = 13_824
    num_layers: int = 40
    freq_dim: int = 256
    patch_size: tuple[int, int, int] = (1, 2, 2)
    text_dim: int | None = 4096
    text_len: int = 512
    image_dim: int | None = 1280
    image_tokens: int = 1 + (224 // 14) ** 2
    audio_window: int = 5
    audio_layers: int = 12
    audio_channels: int = 768
    audio_hidden_dim: int = 512
    audio_token_dim: int = 768
    audio_tokens: int = 32
    vae_temporal_stride: int = 4

    @classmethod
    def of(cls, config: Mapping[str, Any], image_tokens: int) -> TransformerSize:
        """From the constructor arguments of our transformer; what they leave out is as published."""
        known = {field.name for field in fields(cls)}
        return cls(**{key: value for key, value in config.items() if key in known}, image_tokens=image_tokens)

    @property
    def dim(self) -> int:
        """Width of the tokens."""
        return self.num_attention_heads * self.attention_head_dim

    @cached_property
    def block_matrices(self) -> tuple[tuple[int, int], ...]:
        """(rows, columns) of the linear layers of one block: nearly all weights, and what quantization narrows."""
        dim = self.dim
        square = [(dim, dim)] * 4  # self attention
        if self.text_dim is not None:
            square += [(dim, dim)] * (6 if self.image_dim is not None else 4)
        audio = [(dim, dim), (2 * dim, self.audio_token_dim), (dim, dim)]
        return (*square, *audio, (self.ffn_dim, dim), (dim, self.ffn_dim))

    @property
    def block_matrix_weights(self) -> int:
        """Numbers in the linear layers of one block, without their biases."""
        return sum(rows * columns for rows, columns in self.block_matrices)

    @property
    def block_other_weights(self) -> int:
        """Biases, norms and the modulation table of one block."""
        biases = sum(rows for rows, _ in self.block_matrices)
        norms = 2 + 2  # of queries and keys in self attention; before the audio attention, with a bias
        if self.text_dim is not None:
            norms += 2 + 2 + (self.image_dim is not None)
        return biases + (norms + 6) * self.dim

    @property
    def float32_weights(self) -> int:
        """Numbers outside the blocks that stay in float32: the time network, the head, its table."""
        dim, head = self.dim, self.out_channels * prod(self.patch_size)
        time = _linear(self.freq_dim, dim) + _linear(dim, dim) + _linear(dim, 6 * dim)
        return time + _linear(dim, head) + 2 * dim

    @property
    def embedder_weights(self) -> int:
        """All other numbers outside the blocks: what makes tokens of patches, text, image and sound."""
        dim, hidden = self.dim, self.audio_hidden_dim
        total = _linear(self.in_channels * prod(self.patch_size), dim)
        if self.text_dim is not None:
            total += _linear(self.text_dim, dim) + _linear(dim, dim)
        if self.image_dim is not None:
            total += (
                2 * self.image_dim + _linear(self.image_dim, self.image_dim) + _linear(self.image_dim, dim) + 2 * dim
            )
        row = self.audio_layers * self.audio_channels
        group = self.audio_window + self.vae_temporal_stride - 1
        total += _linear(self.audio_window * row, hidden) + _linear(group * row, hidden) + _linear(hidden, hidden)
        return total + _linear(hidden, self.audio_tokens * self.audio_token_dim) + 2 * self.audio_token_dim

    @property
    def num_weights(self) -> int:
        """All numbers of the network."""
        blocks = self.num_layers * (self.block_matrix_weights + self.block_other_weights)
        return blocks + self.float32_weights + self.embedder_weights


@dataclass(frozen=True)
class CodecSize:
    """The video codec; `base_dim` are the channels of the Wan VAE's first level, None for nano's codec."""

    num_weights: int
    base_dim: int | None
    spatial_stride: int = 8


@dataclass(frozen=True)
class ControlSize:
    """The camera branch: its width and heads, what it makes of patches, and its weights.

    `float32_weights` are those of its embeddings, which stay in float32, `largest_layer` those of the largest one.
    """

    dim: int
    num_heads: int
    conv_out_dim: int
    float32_weights: int
    other_weights: int
    largest_layer: int

    @classmethod
    def of(cls, config: Mapping[str, Any], shapes: Mapping[str, Tensor]) -> ControlSize:
        """From the constructor arguments of our `Uni3CControlNet`, and its tensors, perhaps without values."""
        own = {name: config[name] for name in ("dim", "num_heads", "conv_out_dim")}
        embeddings = [tensor.numel() for name, tensor in shapes.items() if "_embedding." in name]
        others = [tensor.numel() for name, tensor in shapes.items() if "_embedding." not in name]
        return cls(**own, float32_weights=sum(embeddings), other_weights=sum(others), largest_layer=max(others))


@dataclass(frozen=True)
class TextEncoderSize:
    """The text encoder; `table_weights` are those of its table of tokens, its largest layer."""

    num_weights: int
    table_weights: int


@dataclass(frozen=True)
class ModelSize:
    """All networks of a model; None or 0 where it has no such network."""

    family: str
    transformer: TransformerSize
    codec: CodecSize
    audio_encoder_weights: int
    image_encoder_weights: int = 0
    text_encoder: TextEncoderSize | None = None
    control: ControlSize | None = None


def _linear(inputs: int, outputs: int) -> int:
    return inputs * outputs + outputs


def _umt5_weights(vocabulary: int, dim: int, ffn_dim: int, heads: int, layers: int) -> int:
    """Numbers of umT5's encoder, whose heads have 64 channels and whose layers each have 32 relative positions."""
    layer = 4 * dim * 64 * heads + 3 * dim * ffn_dim + 32 * heads + 2 * dim
    return vocabulary * dim + layers * layer + dim


PUBLISHED = ModelSize(
    family="infinitetalk",
    transformer=TransformerSize(),
    codec=CodecSize(num_weights=126_892_531, base_dim=96),
    audio_encoder_weights=94_371_712,  # wav2vec 2.0 base
    image_encoder_weights=630_766_080,  # the vision half of ViT-H/14
    text_encoder=TextEncoderSize(_umt5_weights(256_384, 4096, 10_240, 64, 24), 256_384 * 4096),
)
"""The published 14B model."""


def size_of(files: ModelFiles) -> ModelSize:
    """The sizes of a model that is on this machine, from configurations and headers; no weights are read.

    Raises:
        DependencyError: a file is damaged, or the files contradict each other.
    """
    size = _nano_size(files) if files.family == "nano" else _published_size(files)
    return replace(size, control=_control_size(files.networks[CONTROL])) if CONTROL in files.networks else size


def _nano_size(files: ModelFiles) -> ModelSize:
    config = json.loads(_config(files.networks[TRANSFORMER]).read_text(encoding="utf-8"))
    return ModelSize(
        family=files.family,
        transformer=TransformerSize.of(config, image_tokens=0),
        codec=CodecSize(_total(_layout(files.networks[CODEC])), base_dim=None),
        audio_encoder_weights=_total(_layout(files.networks[AUDIO_ENCODER])),
    )


def _published_size(files: ModelFiles) -> ModelSize:
    from infinitetalk_cli.models import published_sizes as sizes
    from infinitetalk_cli.models.keys import our_key
    from infinitetalk_cli.models.tensor_files import TensorFiles

    transformer, codec, speech, image, text = (
        files.networks[name] for name in (TRANSFORMER, CODEC, AUDIO_ENCODER, IMAGE_ENCODER, TEXT_ENCODER)
    )
    layout = TensorFiles(transformer.weights, rename=our_key).layout
    config = sizes.transformer_config(_config(transformer), layout, _config(speech), str(transformer.weights[0].parent))
    # The published file of the image encoder holds its text half too, that of the speech encoder what trained it.
    eyes = {key: tensor for key, tensor in _layout(image).items() if not key.startswith(("textual.", "log_scale"))}
    places = next(tensor for key, tensor in eyes.items() if key.endswith(_PLACES))
    hearing = {key: tensor for key, tensor in _layout(speech).items() if not key.startswith(_TRAINING)}
    words = {
        key: tensor for key, tensor in _layout(text).items() if key != "encoder.embed_tokens.weight"
    }  # shared.weight
    return ModelSize(
        family=files.family,
        transformer=TransformerSize.of(config, image_tokens=places.shape[-2]),
        codec=CodecSize(_total(_layout(codec)), _vae_base_dim(codec)),
        audio_encoder_weights=_total(hearing),
        image_encoder_weights=_total(eyes),
        text_encoder=TextEncoderSize(_total(words), max(tensor.numel() for tensor in words.values())),
    )


def _control_size(network: NetworkFiles) -> ControlSize:
    from infinitetalk_cli.models.keys import uni3c_key
    from infinitetalk_cli.models.published_sizes import read_json, uni3c_config

    layout = {uni3c_key(name): tensor for name, tensor in _layout(network).items()}
    config = uni3c_config(layout, str(network.weights[0])) if network.config is None else read_json(network.config)
    return ControlSize.of(config, layout)


_PLACES = ("pos_embedding", "position_embedding.weight")
"""Ends the name of the table with one row for each token of a picture."""
_TRAINING = ("quantizer.", "project_")


def _vae_base_dim(codec: NetworkFiles) -> int:
    if codec.config is not None:
        return int(json.loads(codec.config.read_text(encoding="utf-8")).get("base_dim", 96))
    return int(_layout(codec)["encoder.conv1.weight"].shape[0])


def _config(network: NetworkFiles) -> Path:
    assert network.config is not None, "this network has a configuration in every layout"
    return network.config


def _layout(network: NetworkFiles) -> Mapping[str, Tensor]:
    from infinitetalk_cli.models.tensor_files import TensorFiles

    return TensorFiles(network.weights).layout


def _total(layout: Mapping[str, Tensor]) -> int:
    return sum(tensor.numel() for tensor in layout.values())
