"""The Wan 2.1 VAE as a `VideoCodec`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

import torch
from diffusers import AutoencoderKLWan
from torch import Tensor


class WanVideoCodec:
    """Strides 4 / 8 / 8 and 16 channels in the published model; latents are scaled to unit variance."""

    def __init__(self, vae: AutoencoderKLWan) -> None:
        self.vae = vae.eval()
        self.latent_channels: int = vae.config.z_dim
        self.temporal_stride: int = 2 ** sum(vae.config.temperal_downsample)
        self.spatial_stride: int = 2 ** len(vae.config.temperal_downsample)

    @torch.no_grad()
    def encode(self, pixels: Tensor) -> Tensor:
        """See `VideoCodec.encode`; the mean of the posterior, not a sample of it."""
        latents = self.vae.encode(pixels.to(self.vae.dtype)).latent_dist.mode().float()
        mean, deviation = self._statistics(latents)
        return (latents - mean) / deviation

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        """See `VideoCodec.decode`."""
        mean, deviation = self._statistics(latents)
        return self.vae.decode((latents * deviation + mean).to(self.vae.dtype)).sample.float()

    def _statistics(self, like: Tensor) -> tuple[Tensor, Tensor]:
        shape = (1, -1, 1, 1, 1)
        mean, deviation = self.vae.config.latents_mean, self.vae.config.latents_std
        return like.new_tensor(mean).view(shape), like.new_tensor(deviation).view(shape)


_MODULES = {
    "conv1": "quant_conv",
    "conv2": "post_quant_conv",
    "encoder.conv1": "encoder.conv_in",
    "decoder.conv1": "decoder.conv_in",
    "encoder.head.0": "encoder.norm_out",
    "decoder.head.0": "decoder.norm_out",
    "encoder.head.2": "encoder.conv_out",
    "decoder.head.2": "decoder.conv_out",
}
_MIDDLE = {"0": "resnets.0", "1": "attentions.0", "2": "resnets.1"}
_RESNET = {
    "residual.0": "norm1",
    "residual.2": "conv1",
    "residual.3": "norm2",
    "residual.6": "conv2",
    "shortcut": "conv_shortcut",
}


def vae_weights_from_published(weights: Mapping[str, Tensor], num_res_blocks: int = 2) -> Iterator[tuple[str, Tensor]]:
    """A published state dict under the names of diffusers' `AutoencoderKLWan`, one weight at a time."""
    for key, tensor in weights.items():
        yield _vae_key(key, num_res_blocks), tensor


def _vae_key(key: str, num_res_blocks: int) -> str:
    module, _, leaf = key.rpartition(".")
    if module in _MODULES:
        return f"{_MODULES[module]}.{leaf}"
    match = re.fullmatch(r"(encoder|decoder)\.(middle|downsamples|upsamples)\.(\d+)\.(.+)", module)
    if match is None:
        raise KeyError(f"no weight of the VAE is called '{key}'")
    side, part, index, inside = match.groups()
    inside = _RESNET.get(inside, inside)
    if part == "middle":
        return f"{side}.mid_block.{_MIDDLE[index]}.{inside}.{leaf}"
    if part == "downsamples":
        return f"{side}.down_blocks.{index}.{inside}.{leaf}"
    # A level of the decoder: one residual block more than in the encoder, then the upsampler.
    level, place = divmod(int(index), num_res_blocks + 2)
    block = f"resnets.{place}" if place <= num_res_blocks else "upsamplers.0"
    return f"{side}.up_blocks.{level}.{block}.{inside}.{leaf}"
