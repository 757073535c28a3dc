"""Prompts to embeddings: the encoder of umT5."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase, UMT5EncoderModel

from infinitetalk_cli.errors import DependencyError
from infinitetalk_cli.models.tensor_files import first_line

MAX_TOKENS = 512
"""Longer prompts are cut, as published."""


class PromptEncoder:
    """Prompts to embeddings: cleaning, tokens, encoder."""

    def __init__(self, encoder: Umt5TextEncoder, tokenizer: PreTrainedTokenizerBase, device: torch.device) -> None:
        self._encoder, self._tokenizer, self._device = encoder, tokenizer, device

    def embed(self, prompts: Sequence[str]) -> list[Tensor]:
        """One embedding (n, d) per prompt, float32 on the CPU, n at most `MAX_TOKENS`.

        Published: padded to `MAX_TOKENS`, masked, and the output cut to the true length. The mask hides the padding
        and positions are relative, so the same comes out without it, in a fraction of the time.
        """
        return [self._embed(clean_prompt(prompt)) for prompt in prompts]

    def _embed(self, text: str) -> Tensor:
        tokens = self._tokenizer(text, truncation=True, max_length=MAX_TOKENS, return_tensors="pt")
        token_ids = tokens.input_ids.to(self._device)
        return self._encoder.encode(token_ids, torch.ones_like(token_ids))[0].cpu()


def clean_prompt(text: str) -> str:
    """`text` as the encoder was trained on it: mended Unicode, no HTML entities, single spaces."""
    import ftfy

    mended = html.unescape(html.unescape(ftfy.fix_text(text)))
    return " ".join(mended.split())


def load_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """The tokenizer in `folder`, from its files alone; code that came with them is not run.

    Raises:
        DependencyError: it cannot be read.
    """
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as exc:  # tokenizers raises plain Exception for a damaged file
        raise DependencyError(f"{folder}: the tokenizer cannot be read ({first_line(exc)}); download it again") from exc


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


def umt5_weights_from_published(weights: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    """A published state dict under the names of transformers' `UMT5EncoderModel`, which has the embeddings twice."""
    for key, tensor in weights.items():
        match = re.fullmatch(r"blocks\.(\d+)\.(.+)\.weight", key)
        if key == "token_embedding.weight":
            yield "shared.weight", tensor
            yield "encoder.embed_tokens.weight", tensor
        elif key == "norm.weight":
            yield "encoder.final_layer_norm.weight", tensor
        elif match is not None and match[2] in _BLOCK:
            yield f"encoder.block.{match[1]}.{_BLOCK[match[2]]}.weight", tensor
        else:
            raise KeyError(f"no weight of the text encoder is called '{key}'")
