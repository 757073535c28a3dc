"""One process's stretch of a chunk's tokens, and what its attentions need of the others.

Tokens are in the order (frame, row, column) and split into consecutive stretches, as even as they go: a stretch may
begin and end inside a latent frame. All of a block but three things is done for each token alone, or for each token
and keys that every process has. The three: self attention (`attention.py`), the map from tokens to people, which looks
at the keys of the first latent frame and rescales by the extremes of all tokens, and the sound, of which a stretch
hears that of its own frames.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import torch
import torch.nn.functional as F
from torch import Tensor

from infinitetalk_cli.errors import ProfileError
from infinitetalk_cli.models.attention_kernel import AttentionKernel
from infinitetalk_cli.models.parallel.attention import SharedAttention
from infinitetalk_cli.models.parallel.exchange import Channel
from infinitetalk_cli.models.parallel.groups import split


class SequenceShard:
    """The stretch of process `channel.rank` of a chunk with the tokens of `grid` (frames, rows, columns).

    Raises:
        ProfileError: there are fewer tokens than processes.
    """

    def __init__(self, channel: Channel, attention: SharedAttention, grid: Sequence[int]) -> None:
        num_tokens = prod(grid)
        if num_tokens < channel.size:
            raise ProfileError(
                f"a picture of {num_tokens} tokens cannot be split over {channel.size} processes; use fewer"
            )
        self._channel, self._attention = channel, attention
        self._stretches = split(num_tokens, channel.size)
        self._sizes = [stretch.stop - stretch.start for stretch in self._stretches]
        self._own = self._stretches[channel.rank]
        self._frame_size = prod(grid[1:])
        self.frames = slice(self._own.start // self._frame_size, -(-self._own.stop // self._frame_size))
        """Latent frames that the stretch touches."""

    @property
    def num_own(self) -> int:
        """Tokens of this process."""
        return self._sizes[self._channel.rank]

    @property
    def stretches(self) -> list[slice]:
        """Those of all processes."""
        return self._stretches

    def own(self, x: Tensor) -> Tensor:
        """The stretch (b, n, ...) of all tokens (b, all n, ...)."""
        return x[:, self._own]

    def whole(self, x: Tensor) -> Tensor:
        """All tokens (b, all n, ...) of everybody's stretches (b, n, ...)."""
        return self._channel.gather(x, self._sizes, "output")

    def attend(self, kernel: AttentionKernel, q_bnhd: Tensor, k_bnhd: Tensor, v_bnhd: Tensor) -> Tensor:
        """What `kernel` gives for the stretch's queries and the keys and values of all tokens."""
        return self._attention(kernel, q_bnhd, k_bnhd, v_bnhd, self._sizes)

    def first_tokens(self, x: Tensor, num_tokens: int) -> Tensor:
        """The first `num_tokens` of all tokens, of the stretches (b, n, ...) that hold them."""
        parts = []
        for source, stretch in enumerate(self._stretches):
            held = min(stretch.stop, num_tokens) - stretch.start
            if held <= 0:
                break
            mine = source == self._channel.rank
            part = x[:, :held] if mine else x.new_empty(x.shape[0], held, *x.shape[2:])
            parts.append(self._channel.give(part, source, "person map"))
        return torch.cat(parts, dim=1)

    def extremes(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """Smallest and largest of all tokens' `values` (..., n), each (..., 1)."""
        smallest, largest = values.aminmax(dim=-1, keepdim=True)
        found = self._channel.largest(torch.stack((-smallest, largest)), "person map")
        return -found[0], found[1]

    def fill_frames(self, x: Tensor) -> Tensor:
        """The stretch (b, n, ...) with nothing added before and behind it, so that it is the whole `frames`."""
        before = self._own.start - self.frames.start * self._frame_size
        behind = self.frames.stop * self._frame_size - self._own.stop
        return F.pad(x, (0, 0) * (x.dim() - 2) + (before, behind))

    def cut_frames(self, x: Tensor) -> Tensor:
        """The stretch of what `fill_frames` made, or of what was computed of it."""
        before = self._own.start - self.frames.start * self._frame_size
        return x[:, before : before + self.num_own]
