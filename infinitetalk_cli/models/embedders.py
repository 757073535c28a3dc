"""Small networks in front of the transformer blocks: time, text, reference image, audio."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from diffusers.models.embeddings import PixArtAlphaTextProjection
from diffusers.models.normalization import FP32LayerNorm
from torch import Tensor, nn


class Float32Linear(nn.Linear):
    """Linear layer that computes in float32 whatever its weights are kept in, also under autocast."""

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            bias = None if self.bias is None else self.bias.float()
            return F.linear(x.float(), self.weight.float(), bias)


def time_features(timestep: Tensor, dim: int) -> Tensor:
    """Cosines, then sines of `timestep` (b,) at `dim / 2` frequencies: (b, dim) float32, float64 angles."""
    precise = torch.float32 if timestep.device.type == "mps" else torch.float64  # MPS has no float64
    half = dim // 2
    exponents = torch.arange(half, dtype=precise, device=timestep.device) / half
    angles = timestep.to(precise)[:, None] * torch.exp(-math.log(10_000.0) * exponents)
    return torch.cat((angles.cos(), angles.sin()), dim=1).float()


class TimeEmbedder(nn.Module):
    """Time features to one vector per sample, in float32."""

    def __init__(self, freq_dim: int, dim: int) -> None:
        super().__init__()
        self.linear_1 = Float32Linear(freq_dim, dim)
        self.linear_2 = Float32Linear(dim, dim)

    def forward(self, features: Tensor) -> Tensor:
        return self.linear_2(F.silu(self.linear_1(features)))


class ConditionEmbedder(nn.Module):
    """Time, text and reference image to the width of the blocks; a branch whose width is None is absent."""

    def __init__(self, dim: int, freq_dim: int, text_dim: int | None, image_dim: int | None) -> None:
        super().__init__()
        self.freq_dim = freq_dim
        self.time_embedder = TimeEmbedder(freq_dim, dim)
        self.time_proj = Float32Linear(dim, 6 * dim)
        if text_dim is not None:
            self.text_embedder = PixArtAlphaTextProjection(text_dim, dim, act_fn="gelu_tanh")
        if image_dim is not None:
            # Imported here because it brings in every transformer that diffusers has: seconds that nano can do without.
            from diffusers.models.transformers.transformer_wan import WanImageEmbedding

            self.image_embedder = WanImageEmbedding(image_dim, dim)

    def forward(self, timestep: Tensor) -> tuple[Tensor, Tensor]:
        """Float32 vectors for the head (b, d) and for the six modulations of a block (b, 6, d)."""
        embedding = self.time_embedder(time_features(timestep, self.freq_dim))
        return embedding, self.time_proj(F.silu(embedding)).unflatten(1, (6, -1))


class AudioProjector(nn.Module):
    """Windows of audio rows around each video frame to a few audio tokens per latent frame."""

    def __init__(
        self,
        *,
        window: int,
        temporal_stride: int,
        num_layers: int,
        channels: int,
        hidden_dim: int,
        token_dim: int,
        num_tokens: int,
    ) -> None:
        super().__init__()
        self.window = window
        self.temporal_stride = temporal_stride
        self.num_tokens = num_tokens
        rows_of_group = window + temporal_stride - 1
        self.proj1 = nn.Linear(window * num_layers * channels, hidden_dim)
        self.proj1_vf = nn.Linear(rows_of_group * num_layers * channels, hidden_dim)
        self.proj2 = nn.Linear(hidden_dim, hidden_dim)
        self.proj3 = nn.Linear(hidden_dim, num_tokens * token_dim)
        self.norm = FP32LayerNorm(token_dim, eps=1e-5)

    def forward(self, windows: Tensor) -> Tensor:
        """Audio tokens (p, t, m, d) of `windows` (p, f, window, layers, channels), f = 1 + stride * (t - 1).

        The first latent frame covers one video frame, every other one a group of `stride`; a group reads its
        rows once, without repeating those that the windows of its frames share.
        """
        num_frames = windows.shape[1]
        if (num_frames - 1) % self.temporal_stride:
            raise ValueError(f"{num_frames} audio windows do not fill whole groups of {self.temporal_stride} frames")
        half = self.window // 2
        groups = windows[:, 1:].unflatten(1, (-1, self.temporal_stride))
        before = groups[:, :, 0, : half + 1]
        inside = groups[:, :, 1:-1, half]
        after = groups[:, :, -1, half:]
        rows = torch.cat((before, inside, after), dim=2)
        hidden = torch.cat((self.proj1(windows[:, :1].flatten(2)), self.proj1_vf(rows.flatten(2))), dim=1)
        hidden = torch.relu(self.proj2(torch.relu(hidden)))
        return self.norm(self.proj3(hidden).unflatten(-1, (self.num_tokens, -1)))
