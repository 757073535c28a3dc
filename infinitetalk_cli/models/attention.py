"""The three attentions of a block, and the rotary codes they use.

Shape legend: b batch, n tokens, h heads, d channels of one head, t latent frames, s tokens of one latent
frame, m audio tokens of one latent frame, p people. Tensors carry the order as a suffix: `q_bnhd`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from typing import TYPE_CHECKING, NamedTuple

import torch
import torch.nn.functional as F
from diffusers.models.attention_dispatch import AttentionBackendName, dispatch_attention_fn
from einops import rearrange
from torch import Tensor, nn

from infinitetalk_cli.models.attention_kernel import AttentionKernel

if TYPE_CHECKING:
    from infinitetalk_cli.models.parallel.shard import SequenceShard

THETA = 10_000.0

FIRST_PERSON_POSITIONS = (0.0, 4.0)
SECOND_PERSON_POSITIONS = (20.0, 24.0)
BACKGROUND_POSITION = 12.0
VOICE_POSITIONS = (2.0, 22.0)
"""Where the 1-D rotary code puts each person's region, the background, and each person's audio tokens."""


class KeysValues(NamedTuple):
    """Keys and values of one attention; they do not change while a chunk is denoised."""

    key_bnhd: Tensor
    value_bnhd: Tensor


class LazyKeys:
    """Keys and values that one block makes of shared tokens when it first needs them, and then keeps.

    They are made inside the block's own forward: weights that wait elsewhere until then (offloading) are there.
    While gradients are recorded nothing is kept, for the weights are about to change.
    """

    def __init__(self, tokens: Tensor) -> None:
        self._tokens = tokens
        self._made: KeysValues | None = None

    def get(self, make: Callable[[Tensor], KeysValues]) -> KeysValues:
        """What `make` gives for the tokens."""
        if self._made is not None:
            return self._made
        made = make(self._tokens)
        if not torch.is_grad_enabled():
            self._made = made
        return made


class Rotation(NamedTuple):
    """Cosines and sines of a rotary code, float32, broadcastable to (b, n, h, d / 2)."""

    cos: Tensor
    sin: Tensor


class Float32RMSNorm(nn.RMSNorm):
    """RMS norm over the last axis, computed and returned in float32."""

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x.float(), self.normalized_shape, self.weight.float(), self.eps)


@lru_cache(maxsize=2)
def rotation_3d(grid: tuple[int, int, int], head_dim: int, device: torch.device) -> Rotation:
    """Rotary code of tokens ordered (frame, row, column), from angles in float64.

    The last two tables are kept: a job has one shape, and a table is 17 MB at 480p (33600 tokens, 64 pairs).
    """
    side = 2 * (head_dim // 6)
    angles = []
    for size, part in zip(grid, (head_dim - 2 * side, side, side), strict=True):
        frequencies = THETA ** (-torch.arange(0, part, 2, dtype=torch.float64) / part)
        angles.append(torch.arange(size, dtype=torch.float64)[:, None] * frequencies)

    def on_grid(frames: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
        t, h, w = grid
        axes = (frames.view(t, 1, 1, -1), rows.view(1, h, 1, -1), columns.view(1, 1, w, -1))
        tables = [axis.float().to(device).expand(t, h, w, -1) for axis in axes]
        return torch.cat(tables, dim=-1).view(1, t * h * w, 1, head_dim // 2)

    return Rotation(on_grid(*map(torch.cos, angles)), on_grid(*map(torch.sin, angles)))


def rotation_1d(positions: Tensor, head_dim: int) -> Rotation:
    """Rotary code of float `positions` (b, n) along one axis, in float32."""
    steps = torch.arange(0, head_dim, 2, dtype=torch.float32, device=positions.device)
    angles = positions.float()[:, :, None, None] * THETA ** (-steps / head_dim)
    return Rotation(angles.cos(), angles.sin())


def rotate(x_bnhd: Tensor, rotation: Rotation) -> Tensor:
    """`x_bnhd` with adjacent channel pairs rotated, in float32: as complex numbers, one kernel instead of seven."""
    pairs = x_bnhd.float().unflatten(-1, (-1, 2))
    cos, sin = rotation
    if torch.compiler.is_compiling():  # which fuses the parts, but makes no kernels for complex numbers
        even, odd = pairs.unbind(-1)
        return torch.stack((even * cos - odd * sin, even * sin + odd * cos), dim=-1).flatten(-2)
    return torch.view_as_real(torch.view_as_complex(pairs) * torch.complex(cos, sin)).flatten(-2)


class SelfAttention(nn.Module):
    """Attention of all tokens of a chunk to each other, with a 3-D rotary code."""

    def __init__(self, dim: int, num_heads: int, eps: float) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.to_q = nn.Linear(dim, dim)
        self.to_k = nn.Linear(dim, dim)
        self.to_v = nn.Linear(dim, dim)
        self.to_out = nn.ModuleList([nn.Linear(dim, dim)])
        self.norm_q = Float32RMSNorm(dim, eps=eps)
        self.norm_k = Float32RMSNorm(dim, eps=eps)
        self.kernel = AttentionKernel()

    def forward(
        self, x: Tensor, rotation: Rotation, shard: SequenceShard | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The branch's output (b, n, d * h), and its rotated `q_bnhd` and `k_bnhd` for the person map.

        With `shard`, `x` is one process's stretch of the tokens: it attends to all of them, and all three are of it.
        """
        heads = (self.num_heads, -1)
        v_bnhd = self.to_v(x).unflatten(-1, heads)
        q_bnhd = rotate(self.norm_q(self.to_q(x)).unflatten(-1, heads), rotation).to(v_bnhd.dtype)
        k_bnhd = rotate(self.norm_k(self.to_k(x)).unflatten(-1, heads), rotation).to(v_bnhd.dtype)
        attend = self.kernel if shard is None else partial(shard.attend, self.kernel)
        out = attend(q_bnhd, k_bnhd, v_bnhd)
        return self.to_out[0](out.flatten(2)), q_bnhd, k_bnhd


class CrossAttention(nn.Module):
    """Attention to the text and, with its own keys and values, to the reference image; the two are added."""

    def __init__(self, dim: int, num_heads: int, eps: float, with_image: bool) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.to_q = nn.Linear(dim, dim)
        self.to_k = nn.Linear(dim, dim)
        self.to_v = nn.Linear(dim, dim)
        self.to_out = nn.ModuleList([nn.Linear(dim, dim)])
        self.norm_q = Float32RMSNorm(dim, eps=eps)
        self.norm_k = Float32RMSNorm(dim, eps=eps)
        self.kernel = AttentionKernel()
        if with_image:
            self.add_k_proj = nn.Linear(dim, dim)
            self.add_v_proj = nn.Linear(dim, dim)
            self.norm_added_k = Float32RMSNorm(dim, eps=eps)

    def text_keys(self, tokens: Tensor) -> KeysValues:
        """Keys and values of text tokens (b, n, d * h)."""
        return self._keys(tokens, self.to_k, self.norm_k, self.to_v)

    def image_keys(self, tokens: Tensor) -> KeysValues:
        """Keys and values of image tokens (b, n, d * h)."""
        return self._keys(tokens, self.add_k_proj, self.norm_added_k, self.add_v_proj)

    def _keys(self, tokens: Tensor, to_k: nn.Module, norm: nn.Module, to_v: nn.Module) -> KeysValues:
        heads = (self.num_heads, -1)
        v_bnhd = to_v(tokens).unflatten(-1, heads)
        return KeysValues(norm(to_k(tokens)).to(v_bnhd.dtype).unflatten(-1, heads), v_bnhd)

    def forward(self, x: Tensor, text: KeysValues, image: KeysValues | None) -> Tensor:
        """The branch's output (b, n, d * h)."""
        q_bnhd = self.norm_q(self.to_q(x)).to(text.value_bnhd.dtype).unflatten(-1, (self.num_heads, -1))
        out = self.kernel(q_bnhd, *text)
        if image is not None:
            out = out + self.kernel(q_bnhd, *image)
        return self.to_out[0](out.flatten(2))


class AudioAttention(nn.Module):
    """Attention of each latent frame's tokens to that frame's audio tokens only."""

    def __init__(self, dim: int, num_heads: int, audio_token_dim: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.q_linear = nn.Linear(dim, dim)
        self.kv_linear = nn.Linear(audio_token_dim, 2 * dim)
        self.proj = nn.Linear(dim, dim)
        self.kernel = AttentionKernel()

    def keys(self, audio_tokens: Tensor) -> KeysValues:
        """Keys and values ((b t), (p m), h, d) of `audio_tokens` (b, p, t, m, c); two voices are placed."""
        num_people, tokens_per_person = audio_tokens.shape[1], audio_tokens.shape[3]
        joined = rearrange(audio_tokens, "b p t m c -> (b t) (p m) c")
        k, v = self.kv_linear(joined).unflatten(-1, (2, self.num_heads, -1)).unbind(2)
        if num_people == 2:
            voices = torch.tensor(VOICE_POSITIONS, device=k.device).repeat_interleave(tokens_per_person)
            k = rotate(k, rotation_1d(voices[None], k.shape[-1])).to(v.dtype)
            v = v.contiguous()  # or the keys as they were would be kept with it
        return KeysValues(k, v)

    def forward(
        self, x: Tensor, keys: KeysValues, positions: Tensor | None, shard: SequenceShard | None = None
    ) -> Tensor:
        """The branch's output (b, n, d * h); `positions` (b, n) of the tokens if there are two voices.

        `keys` are those of the latent frames that `x` touches, which with `shard` may begin and end inside a frame.
        """
        batch = x.shape[0]
        num_frames = keys.key_bnhd.shape[0] // batch
        q_bnhd = self.q_linear(x).unflatten(-1, (self.num_heads, -1))
        if positions is not None:
            q_bnhd = rotate(q_bnhd, rotation_1d(positions, q_bnhd.shape[-1])).to(keys.value_bnhd.dtype)
        if shard is not None:
            q_bnhd = shard.fill_frames(q_bnhd)
        q_frames = q_bnhd.reshape(batch * num_frames, -1, *q_bnhd.shape[2:])
        out = self.kernel(q_frames, *keys)
        out = out.reshape(batch, -1, x.shape[-1])
        return self.proj(out if shard is None else shard.cut_frames(out))


class PersonPositions(nn.Module):
    """Where each token sits on the axis of voices, from how much it looks at each person's region."""

    def forward(
        self, q_bnhd: Tensor, k_ref_bshd: Tensor, token_masks: Tensor, shard: SequenceShard | None = None
    ) -> Tensor:
        """Positions (b, n); arguments as in `person_attention_map`. With `shard`, of one process's stretch."""
        return person_positions(person_attention_map(q_bnhd, k_ref_bshd, token_masks), shard)


def person_attention_map(q_bnhd: Tensor, k_ref_bshd: Tensor, token_masks: Tensor) -> Tensor:
    """How much each token looks at each region of the first latent frame: (b, 3, n) float32.

    `token_masks` (b, 3, s) of 0 and 1: person 1, person 2, background. Per head this is an attention whose
    values are the masks over their areas, so no (n, s) table is kept. Head outputs are averaged in float32,
    which also averages out most of their rounding in bfloat16. An empty region is looked at by nobody.
    """
    values = token_masks.float() / token_masks.float().sum(-1, keepdim=True).clamp(min=1)
    # Attention kernels want values as wide as the keys. Never one that rounds values to 8 bits: these are areas.
    values = F.pad(values.mT, (0, k_ref_bshd.shape[-1] - values.shape[1]))
    values = values[:, :, None].expand(k_ref_bshd.shape).to(k_ref_bshd.dtype)
    looked_at = dispatch_attention_fn(q_bnhd, k_ref_bshd, values, backend=AttentionBackendName.NATIVE)
    return looked_at[..., : token_masks.shape[1]].float().mean(dim=2).mT


def person_positions(attention_map: Tensor, shard: SequenceShard | None = None) -> Tensor:
    """Where each token sits on the axis of voices, (b, n), from its map (b, 3, n) to the three regions.

    The extremes by which the maps are rescaled are those of all tokens, also where these are only `shard`'s.
    """
    people = attention_map[:, :2]
    smallest, largest = people.aminmax(dim=-1, keepdim=True) if shard is None else shard.extremes(people)
    first, second = (
        _rescale(people[:, index], smallest[:, index], largest[:, index], *limits)
        for index, limits in enumerate((FIRST_PERSON_POSITIONS, SECOND_PERSON_POSITIONS))
    )
    region = attention_map.argmax(dim=1)
    background = torch.full_like(first, BACKGROUND_POSITION)
    return torch.where(region == 0, first, torch.where(region == 1, second, background))


def _rescale(values: Tensor, smallest: Tensor, largest: Tensor, low: float, high: float) -> Tensor:
    """`values` (b, n) moved from their range, whose ends are (b, 1), to [low, high]."""
    return (values - smallest) / (largest - smallest + 1e-8) * (high - low) + low
