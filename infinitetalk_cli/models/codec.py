"""What the loop expects of a video codec (a VAE)."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor


class VideoCodec(Protocol):
    """Turns pixels into latents and back, causally: one frame, then groups of `temporal_stride`."""

    latent_channels: int
    temporal_stride: int
    spatial_stride: int

    def encode(self, pixels: Tensor) -> Tensor:
        """Normalised latents (b, c, t_lat, h_lat, w_lat), float32, of pixels (b, 3, t, h, w) in [-1, 1].

        t = 1 + temporal_stride * (t_lat - 1). Latent frame j depends on no later frames.
        """

    def decode(self, latents: Tensor) -> Tensor:
        """Pixels (b, 3, t, h, w) in [-1, 1], float32, of latents as `encode` gives them."""
