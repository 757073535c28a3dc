"""Describes the reference frame to the transformer: the vision half of CLIP."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import CLIPVisionModel
from transformers.image_utils import OPENAI_CLIP_MEAN, OPENAI_CLIP_STD


class ClipImageEncoder:
    """Tokens after all layers but the last, class token first, without the final norm."""

    def __init__(self, model: CLIPVisionModel) -> None:
        self.model = model.eval()

    @torch.no_grad()
    def __call__(self, pixels: Tensor) -> Tensor:
        """Tokens (b, n, d), float32, of pixels (b, 3, 1, h, w) in [-1, 1]."""
        values = clip_pixels(pixels, self.model.config.image_size).to(self.model.dtype)
        return self.model(values, output_hidden_states=True).hidden_states[-2].float()


def clip_pixels(pixels: Tensor, size: int) -> Tensor:
    """Pixels (b, 3, 1, h, w) in [-1, 1] as CLIP was fed: (b, 3, size, size), normalised.

    Stretched to a square, bicubic without antialiasing: not what CLIP processors do, but what the published
    model was trained with.
    """
    square = F.interpolate(pixels[:, :, 0].float(), size=(size, size), mode="bicubic", align_corners=False)
    mean = square.new_tensor(OPENAI_CLIP_MEAN).view(-1, 1, 1)
    deviation = square.new_tensor(OPENAI_CLIP_STD).view(-1, 1, 1)
    return (square * 0.5 + 0.5 - mean) / deviation


_TOP = {
    "cls_embedding": "embeddings.class_embedding",
    "pos_embedding": "embeddings.position_embedding.weight",
    "patch_embedding.weight": "embeddings.patch_embedding.weight",
    "pre_norm.weight": "pre_layrnorm.weight",
    "pre_norm.bias": "pre_layrnorm.bias",
    "post_norm.weight": "post_layernorm.weight",
    "post_norm.bias": "post_layernorm.bias",
}
_LAYER = {
    "norm1": "layer_norm1",
    "norm2": "layer_norm2",
    "attn.proj": "self_attn.out_proj",
    "mlp.0": "mlp.fc1",
    "mlp.2": "mlp.fc2",
}
_PROJECTION = "head"
"""From the class token to the space shared with texts; not used here."""


def clip_weights_from_published(weights: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    """A published state dict under the names of transformers' CLIP vision tower.

    It may be that of the vision half, or the whole model's, of which only the vision half is taken.
    """
    prefix = "visual."
    has_both_halves = any(key.startswith(prefix) for key in weights)
    for full_key in weights:
        key = full_key.removeprefix(prefix)
        if key == _PROJECTION or (has_both_halves and not full_key.startswith(prefix)):
            continue
        tensor = weights[full_key]
        if key in _TOP:
            lone_axes = {"cls_embedding": (0, 1), "pos_embedding": (0,)}.get(key, ())
            yield _TOP[key], tensor.squeeze(lone_axes) if lone_axes else tensor
            continue
        match = re.fullmatch(r"transformer\.(\d+)\.(.+)\.(weight|bias)", key)
        if match is None or match[2] not in (*_LAYER, "attn.to_qkv"):
            raise KeyError(f"no weight of the image encoder is called '{key}'")
        layer, leaf = f"encoder.layers.{match[1]}", match[3]
        if match[2] in _LAYER:
            yield f"{layer}.{_LAYER[match[2]]}.{leaf}", tensor
            continue
        for name, part in zip("qkv", tensor.chunk(3), strict=True):
            yield f"{layer}.self_attn.{name}_proj.{leaf}", part
