"""One block of the transformer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
from diffusers.models.attention import FeedForward
from diffusers.models.normalization import FP32LayerNorm
from torch import Tensor, nn

from infinitetalk_cli.models.attention import (
    AudioAttention,
    CrossAttention,
    KeysValues,
    LazyKeys,
    PersonPositions,
    Rotation,
    SelfAttention,
)

if TYPE_CHECKING:
    from infinitetalk_cli.models.parallel.shard import SequenceShard


class BlockKeys(NamedTuple):
    """What one block attends to besides its own tokens; None where the model has no such branch."""

    text: LazyKeys | None
    image: LazyKeys | None
    audio: LazyKeys
    two_voices: bool


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
        self.person_positions = PersonPositions()
        self.norm_x = FP32LayerNorm(dim, eps)
        self.audio_cross_attn = AudioAttention(dim, num_heads, audio_token_dim)
        self.norm3 = FP32LayerNorm(dim, eps, elementwise_affine=False)
        self.ffn = FeedForward(dim, inner_dim=ffn_dim, activation_fn="gelu-approximate")
        self.scale_shift_table = nn.Parameter(torch.randn(1, 6, dim) / dim**0.5)

    def forward(
        self,
        streams: tuple[Tensor, ...],
        modulation: Tensor,
        rotation: Rotation,
        groups: Sequence[Sequence[BlockKeys]],
        token_masks: Tensor | None,
        shard: SequenceShard | None = None,
    ) -> tuple[Tensor, ...]:
        """Tokens after the block, one stream for each of `groups`.

        A group is k guidance branches that are evaluated as one batch: its stream is (k * b, n, d), and k is 1 if
        b is not. `streams`: those of the groups, or a single one (b, n, d) that all branches still share, because
        they differ in text and sound only; then its self attention is computed once. All branches of a step come
        in one call, so offloaded weights travel once per step. `modulation` (b, 6, d) float32; `token_masks`
        (b, 3, s) only when two people speak; `shard` if the n tokens are one process's stretch.
        """
        table = (self.scale_shift_table.float() + modulation).chunk(6, dim=1)
        readers = groups if len(streams) == len(groups) else [[keys for group in groups for keys in group]]
        attended = []
        for x, branches in zip(streams, readers, strict=True):
            two_voices = any(keys.two_voices for keys in branches)
            attended.append(self._attend(x, rotation, token_masks if two_voices else None, table[:3], shard))
        if len(attended) < len(groups):
            attended *= len(groups)
        return tuple(
            self._listen(x, group, positions, table[3:], shard)
            for (x, positions), group in zip(attended, groups, strict=True)
        )

    def _attend(
        self,
        x: Tensor,
        rotation: Rotation,
        token_masks: Tensor | None,
        modulation: Sequence[Tensor],
        shard: SequenceShard | None,
    ) -> tuple[Tensor, Tensor | None]:
        """Tokens after self attention and, with `token_masks`, where each sits on the axis of voices."""
        shift, scale, gate = modulation
        branch, q_bnhd, k_bnhd = self.attn1(modulate(self.norm1(x), shift, scale), rotation, shard)
        positions = None
        if token_masks is not None:
            frame_size = token_masks.shape[-1]
            k_ref = k_bnhd[:, :frame_size] if shard is None else shard.first_tokens(k_bnhd, frame_size)
            masks = token_masks.expand(x.shape[0], -1, -1)
            positions = self.person_positions(q_bnhd, k_ref, masks, shard)
        return add_gated(x, branch, gate), positions

    def _listen(
        self,
        x: Tensor,
        group: Sequence[BlockKeys],
        positions: Tensor | None,
        modulation: Sequence[Tensor],
        shard: SequenceShard | None,
    ) -> Tensor:
        """What follows self attention: text and image, sound, feed-forward, for the branches of one group."""
        shift, scale, gate = modulation
        if x.shape[0] < len(group):  # shared until here
            x = x.expand(len(group), -1, -1)
            positions = None if positions is None else positions.expand(len(group), -1)
        if self.attn2 is not None:
            text = _keys([keys.text for keys in group], self.attn2.text_keys)
            image = None
            if group[0].image is not None:
                image = _keys([keys.image for keys in group], self.attn2.image_keys)
            x = x + self.attn2(self.norm2(x), text, image)
        audio = _keys([keys.audio for keys in group], self.audio_cross_attn.keys)
        x = x + self.audio_cross_attn(self.norm_x(x), audio, positions if group[0].two_voices else None, shard)
        return add_gated(x, self.ffn(modulate(self.norm3(x), shift, scale)), gate)


def _keys(lazy: Sequence[LazyKeys], make: Callable[[Tensor], KeysValues]) -> KeysValues:
    """Keys and values of the branches of a group, one after the other along the batch."""
    made = [keys.get(make) for keys in lazy]
    return made[0] if len(made) == 1 else KeysValues(*map(torch.cat, zip(*made, strict=True)))


def modulate(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """`x * (1 + scale) + shift`, computed in float32 (the dtype of `shift`), in the dtype of `x`."""
    return torch.addcmul(shift, x, 1 + scale).to(x.dtype)


def add_gated(x: Tensor, branch: Tensor, gate: Tensor) -> Tensor:
    """`x + branch * gate`, computed in float32 (the dtype of `gate`), in the dtype of `x`."""
    return torch.addcmul(x, branch, gate).to(x.dtype)
