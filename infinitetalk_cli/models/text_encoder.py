"""Prompts to embeddings: the encoder of umT5."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor
from transformers import UMT5EncoderModel


class Umt5TextEncoder:
    """Embeddings of tokenised prompts, cut to their true lengths."""

    def __init__(self, model: UMT5EncoderModel) -> None:
        self.model = model.eval()

    @torch.no_grad()
    def encode(self, token_ids: Tensor, mask: Tensor) -> list[Tensor]:
        """One embedding (length, d), float32, per row of `token_ids` (b, n); `mask` is 0 on padding."""
        hidden = self.model(token_ids, attention_mask=mask).last_hidden_state.float()
        return [row[: int(row_mask.sum())] for row, row_mask in zip(hidden, mask, strict=True)]


_BLOCK = {
    "attn.q": "layer.0.SelfAttention.q",
    "attn.k": "layer.0.SelfAttention.k",
    "attn.v": "layer.0.SelfAttention.v",
    "attn.o": "layer.0.SelfAttention.o",
    "pos_embedding.embedding": "layer.0.SelfAttention.relative_attention_bias",
    "norm1": "layer.0.layer_norm",
    "norm2": "layer.1.layer_norm",
    "ffn.gate.0": "layer.1.DenseReluDense.wi_0",
    "ffn.fc1": "layer.1.DenseReluDense.wi_1",
    "ffn.fc2": "layer.1.DenseReluDense.wo",
}


def umt5_weights_from_published(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A published state dict under the names of transformers' `UMT5EncoderModel`."""
    named = {}
    for key, tensor in weights.items():
        match = re.fullmatch(r"blocks\.(\d+)\.(.+)\.weight", key)
        if key == "token_embedding.weight":
            named["shared.weight"] = named["encoder.embed_tokens.weight"] = tensor
        elif key == "norm.weight":
            named["encoder.final_layer_norm.weight"] = tensor
        elif match is not None and match[2] in _BLOCK:
            named[f"encoder.block.{match[1]}.{_BLOCK[match[2]]}.weight"] = tensor
        else:
            raise KeyError(f"no weight of the text encoder is called '{key}'")
    return named
