"""How many floating point operations a forward takes, by exact arithmetic. No torch.

A product of (n, k) and (k, m) counts 2 n k m. Only products count: norms, modulation, softmax, rotary codes and
activations are a thousandth of them. The keys of text, image and sound are there already, as in every step but the
first. Symbols: n tokens, s tokens of one latent frame, d width, f width of the feed-forward, for each of the blocks

    self attention    4 n n d                  every token with every token: scores, then values
    cross attention   4 n (text + image) d
    audio             4 n d d + 4 n m d        query and output; m audio tokens of the token's own latent frame
      two people      + 4 n s d                the map from every token to the first latent frame
    linear            8 n d d + 4 n d d + 4 n d f    self attention, cross attention (query, output), feed-forward

and once: patches 2 n c d (c channels x patch), time 2 (freq d + d d + 6 d d), head 2 n d c_out.
"""

from __future__ import annotations

import math

from infinitetalk_cli.bench.settings import NUM_IMAGE_TOKENS, BenchSettings, Frozen


class Flops(Frozen):
    """Operations of one forward, by part."""

    self_attention: int
    cross_attention: int
    audio: int
    linear: int
    embeddings_and_head: int

    @property
    def total(self) -> int:
        """Of the whole forward."""
        return sum(self.model_dump().values())


def forward_flops(settings: BenchSettings) -> Flops:
    """Operations of one forward with the settings' sizes."""
    sizes = settings.dimensions
    n, s = math.prod(settings.grid), math.prod(settings.grid[1:])
    d, f, blocks = sizes.dim, sizes.ffn_dim, sizes.num_layers
    patch = math.prod(sizes.patch_size)
    text = sizes.text_len if sizes.text_dim is not None else 0
    image = NUM_IMAGE_TOKENS if sizes.image_dim is not None else 0
    heard = sizes.audio_tokens * settings.people
    person_map = 4 * n * s * d if settings.people > 1 else 0
    cross_projections = 4 * n * d * d if text else 0
    time = 2 * (sizes.freq_dim * d + d * d + 6 * d * d)
    return Flops(
        self_attention=blocks * 4 * n * n * d,
        cross_attention=blocks * 4 * n * (text + image) * d,
        audio=blocks * (4 * n * d * d + 4 * n * heard * d + person_map),
        linear=blocks * (8 * n * d * d + cross_projections + 4 * n * d * f),
        embeddings_and_head=2 * n * sizes.in_channels * patch * d + time + 2 * n * d * sizes.out_channels * patch,
    )
