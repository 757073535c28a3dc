"""What the recorded loop used in place of the large networks around the transformer."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor


class BlockCodec:
    """In place of the VAE: a linear map of pixel blocks that, like the real one, is causal in time."""

    def __init__(self, fixtures: Mapping[str, Tensor], spatial_stride: int) -> None:
        self.encoder, self.bias = fixtures["vae_enc"], fixtures["vae_enc_bias"]
        self.decoder, self.gains = fixtures["vae_dec"], fixtures["vae_dec_tgains"]
        self.time_weights = fixtures["vae_enc_tweights"]
        self.latent_channels, self.temporal_stride = len(self.bias), len(self.gains)
        self.spatial_stride = spatial_stride
        self.decoded_latents: list[Tensor] = []
        self.decoded_pixels: list[Tensor] = []

    def encode(self, pixels: Tensor) -> Tensor:
        blocks = F.avg_pool3d(pixels[0], (1, self.spatial_stride, self.spatial_stride))
        states = [blocks[:, 0]]
        for group in blocks[:, 1:].split(self.temporal_stride, dim=1):
            states.append(torch.einsum("cthw,t->chw", group, self.time_weights) + 0.3 * states[-1])
        latents = torch.einsum("ec,cthw->ethw", self.encoder, torch.stack(states, dim=1))
        return (latents + self.bias[:, None, None, None])[None]

    def decode(self, latents: Tensor) -> Tensor:
        values = torch.einsum("ce,ethw->cthw", self.decoder, latents[0])
        groups = values[:, 1:, None] * self.gains[:, None, None]
        frames = torch.cat((values[:, :1], groups.flatten(1, 2)), dim=1)
        for axis in (2, 3):
            frames = frames.repeat_interleave(self.spatial_stride, dim=axis)
        self.decoded_latents.append(latents[0])
        self.decoded_pixels.append(frames.clamp(-1, 1))
        return self.decoded_pixels[-1][None]


def coarse_colors(pixels: Tensor, matrix: Tensor) -> Tensor:
    """In place of CLIP: tokens (1, 257, d) of pixels (1, 3, 1, h, w), coarse colours times `matrix`."""
    colors = F.adaptive_avg_pool2d(pixels[0, :, 0], 16).flatten(1).mT
    return (torch.cat((colors.mean(dim=0, keepdim=True), colors)) @ matrix)[None]
