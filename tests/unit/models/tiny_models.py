"""Tiny models for tests: a transformer of either kind, and a codec that needs no weights."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from infinitetalk_cli.models.transformer import InfiniteTalkTransformer3DModel
from infinitetalk_cli.models.uni3c import Uni3CControlNet

AUDIO = {
    "audio_layers": 2, "audio_channels": 6, "audio_hidden_dim": 16, "audio_token_dim": 12, "audio_tokens": 3,
}  # fmt: skip
SMALL = {"num_attention_heads": 2, "attention_head_dim": 12, "ffn_dim": 32, "num_layers": 2, "freq_dim": 16}
PUBLISHED = {
    **SMALL, **AUDIO, "in_channels": 12, "out_channels": 4, "text_dim": 10, "text_len": 7, "image_dim": 8,
}  # fmt: skip
NANO = {
    **SMALL, **AUDIO, "in_channels": 9, "out_channels": 4, "text_dim": None, "image_dim": None,
    "prediction_type": "sample_residual",
}  # fmt: skip


def make_transformer(**config: Any) -> InfiniteTalkTransformer3DModel:
    """A transformer with random weights everywhere, always the same ones."""
    torch.manual_seed(0)
    transformer = InfiniteTalkTransformer3DModel(**config)
    with torch.no_grad():
        for parameter in transformer.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return transformer.eval()


class MeanCodec:
    """A codec that keeps the mean colour of blocks of 8x8 pixels and 4 frames, and red less green."""

    latent_channels = 4
    temporal_stride = 4
    spatial_stride = 8

    def encode(self, pixels: Tensor) -> Tensor:
        blocks = F.avg_pool3d(pixels, (1, 8, 8))
        frames = torch.cat((blocks[:, :, :1].expand(-1, -1, 4, -1, -1), blocks[:, :, 1:]), dim=2)
        colors = F.avg_pool3d(frames, (4, 1, 1))
        return torch.cat((colors, colors[:, :1] - colors[:, 1:2]), dim=1)

    def decode(self, latents: Tensor) -> Tensor:
        frames = latents[:, :3].repeat_interleave(4, dim=2)[:, :, 3:]
        return frames.repeat_interleave(8, dim=3).repeat_interleave(8, dim=4).clamp(-1, 1)


CONTROL = {
    "in_channels": 12, "conv_out_dim": 20, "dim": 16, "ffn_dim": 24, "num_heads": 2, "num_layers": 1,
    "time_embed_dim": 24, "out_dim": 24, "mid_channels": 8,
}  # fmt: skip
"""A camera branch for the transformer `PUBLISHED`; for `NANO` with 9 `in_channels`."""


def make_control(**config: Any) -> Uni3CControlNet:
    """A camera branch with random weights everywhere, always the same ones."""
    torch.manual_seed(1)
    control = Uni3CControlNet(**{**CONTROL, **config})
    with torch.no_grad():
        for parameter in control.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return control.eval()
