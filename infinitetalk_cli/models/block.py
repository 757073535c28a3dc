"""One block of the transformer."""

from __future__ import annotations

from typing import NamedTuple

import torch
from diffusers.models.attention import FeedForward
from diffusers.models.normalization import FP32LayerNorm
from torch import Tensor, nn

from infinitetalk_cli.models.attention import (
    AudioAttention,
    CrossAttention,
    KeysValues,
    Rotation,
    SelfAttention,
    person_attention_map,
    person_positions,
)


class BlockKeys(NamedTuple):
    """What one block attends to besides its own tokens; None where the model has no such branch."""

    text: KeysValues | None
    image: KeysValues | None
    audio: KeysValues


class TransformerBlock(nn.Module):
    """Self attention, text and image attention (if any), audio attention, feed-forward.

    In float32: modulation and gated additions, the insides of all norms, rotary codes. The residual stream is
    rounded to the dtype of the weights after every branch.
    """

    def __init__(
        self,
        dim: int,
        num_heads: int,
        ffn_dim: int,
        audio_token_dim: int,
        eps: float,
        with_text: bool,
        with_image: bool,
    ) -> None:
        super().__init__()
        self.norm1 = FP32LayerNorm(dim, eps, elementwise_affine=False)
        self.attn1 = SelfAttention(dim, num_heads, eps)
        self.norm2 = FP32LayerNorm(dim, eps) if with_text else None
        self.attn2 = CrossAttention(dim, num_heads, eps, with_image) if with_text else None
        self.norm_x = FP32LayerNorm(dim, eps)
        self.audio_cross_attn = AudioAttention(dim, num_heads, audio_token_dim)
        self.norm3 = FP32LayerNorm(dim, eps, elementwise_affine=False)
        self.ffn = FeedForward(dim, inner_dim=ffn_dim, activation_fn="gelu-approximate")
        self.scale_shift_table = nn.Parameter(torch.randn(1, 6, dim) / dim**0.5)

    def forward(
        self, x: Tensor, modulation: Tensor, rotation: Rotation, keys: BlockKeys, token_masks: Tensor | None
    ) -> Tensor:
        """Tokens (b, n, d) after the block.

        `modulation` (b, 6, d) float32; `token_masks` (b, 3, s) only when two people speak.
        """
        table = self.scale_shift_table.float() + modulation
        shift1, scale1, gate1, shift2, scale2, gate2 = table.chunk(6, dim=1)
        branch, q_bnhd, k_bnhd = self.attn1(modulate(self.norm1(x), shift1, scale1), rotation)
        x = add_gated(x, branch, gate1)
        if self.attn2 is not None:
            x = x + self.attn2(self.norm2(x), keys.text, keys.image)
        positions = None
        if token_masks is not None:
            k_ref = k_bnhd[:, : token_masks.shape[-1]]
            positions = person_positions(person_attention_map(q_bnhd, k_ref, token_masks))
        x = x + self.audio_cross_attn(self.norm_x(x), keys.audio, positions)
        return add_gated(x, self.ffn(modulate(self.norm3(x), shift2, scale2)), gate2)


def modulate(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """`x * (1 + scale) + shift`, computed in float32, in the dtype of `x`."""
    return torch.addcmul(shift, x.float(), 1 + scale).to(x.dtype)


def add_gated(x: Tensor, branch: Tensor, gate: Tensor) -> Tensor:
    """`x + branch * gate`, computed in float32, in the dtype of `x`."""
    return torch.addcmul(x.float(), branch.float(), gate).to(x.dtype)
