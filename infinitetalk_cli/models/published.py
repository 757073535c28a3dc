"""The published model on a device: which numbers each network computes with, and where its weights wait."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch import nn

from infinitetalk_cli.checkpoints.files import (
    AUDIO_ENCODER,
    CODEC,
    CONTROL,
    IMAGE_ENCODER,
    TEXT_ENCODER,
    TRANSFORMER,
    ModelFiles,
    NetworkFiles,
)
from infinitetalk_cli.config.profile import ComputeProfile, MemoryProfile
from infinitetalk_cli.models.audio_encoder import Wav2Vec2AudioEncoder
from infinitetalk_cli.models.devices import DTYPES, watching_memory
from infinitetalk_cli.models.filling import Placement
from infinitetalk_cli.models.image_encoder import ClipImageEncoder
from infinitetalk_cli.models.published_networks import (
    load_audio_encoder,
    load_image_encoder,
    load_text_encoder,
    load_transformer,
    load_uni3c,
    load_vae,
)
from infinitetalk_cli.models.text_encoder import PromptEncoder, Umt5TextEncoder, load_tokenizer
from infinitetalk_cli.models.transformer import InfiniteTalkTransformer3DModel
from infinitetalk_cli.models.uni3c import Uni3CControlNet
from infinitetalk_cli.models.vae import WanVideoCodec

logger = logging.getLogger(__name__)

Network = TypeVar("Network", bound=nn.Module)


class PublishedModel:
    """The networks of `files`, loaded to `device` whenever they are asked for; nothing is kept here.

    Raises:
        DependencyError: files are damaged, incomplete or of another model; torchao or a compiler is missing.
        ResourceError: the device's memory does not suffice.
    """

    def __init__(self, files: ModelFiles, device: torch.device, compute: ComputeProfile, memory: MemoryProfile) -> None:
        self._files, self._device, self._compute = files, device, compute
        self._offload = "none" if device.type == "cpu" else memory.offload

    def transformer(self) -> InfiniteTalkTransformer3DModel:
        """The transformer with its audio parts and the changes of the LoRA files, ready to run."""
        from infinitetalk_cli.models.attention_backend import require_backend, use_attention
        from infinitetalk_cli.models.compiling import compile_blocks, require_compiler
        from infinitetalk_cli.models.offload import offload_blocks

        compute, dtype, is_offloaded = self._compute, DTYPES[self._compute.dtype], self._offload != "none"
        require_backend(compute.attention, self._device, dtype)
        if compute.compile:
            require_compiler(self._device, is_offloaded)
        transformer = self._read_transformer(dtype, is_offloaded)
        use_attention(transformer, compute.attention, self._device, dtype)
        if is_offloaded:
            offload_blocks(transformer, self._device, with_stream=compute.quantization == "none")
        if compute.compile:
            compile_blocks(transformer)
        return transformer

    def control(self, transformer: InfiniteTalkTransformer3DModel) -> Uni3CControlNet:
        """The camera branch beside `transformer`: its embeddings in float32, the rest as the transformer's blocks.

        Where the transformer's blocks wait in main memory, its layers do.
        """
        from infinitetalk_cli.models.attention_backend import use_attention
        from infinitetalk_cli.models.offload import offload_layers

        dtype, is_offloaded = DTYPES[self._compute.dtype], self._offload != "none"
        placement = Placement(
            device=torch.device("cpu") if is_offloaded else self._device,
            dtype=dtype,
            float32_parts=tuple(Uni3CControlNet._keep_in_fp32_modules),
        )
        network = self._files.networks[CONTROL]
        with self._loading(network) as where:
            control = load_uni3c(network, placement, where, transformer)
        use_attention(control, self._compute.attention, self._device, dtype)
        if is_offloaded:
            offload_layers(control, self._device)
        return control

    def codec(self) -> WanVideoCodec:
        """The video VAE."""
        network = self._files.networks[CODEC]
        with self._loading(network) as where:
            vae = load_vae(network, self._placement(DTYPES[self._compute.vae_dtype]), where)
        if self._compute.vae_tiling:
            vae.enable_tiling()
        return WanVideoCodec(self._settled(vae))

    def image_encoder(self) -> ClipImageEncoder:
        """The image encoder: float16 as published, float32 on a CPU, which is slow at half precision."""
        network = self._files.networks[IMAGE_ENCODER]
        dtype = torch.float32 if self._device.type == "cpu" else torch.float16
        with self._loading(network) as where:
            model = load_image_encoder(network, self._placement(dtype), where)
        return ClipImageEncoder(self._settled(model))

    def text_encoder(self) -> PromptEncoder:
        """The text encoder with its tokenizer."""
        network = self._files.networks[TEXT_ENCODER]
        tokenizer = load_tokenizer(network.tokenizer)
        with self._loading(network) as where:
            model = load_text_encoder(network, self._placement(DTYPES[self._compute.dtype]), where)
        return PromptEncoder(Umt5TextEncoder(self._settled(model)), tokenizer, self._device)

    def audio_encoder(self) -> Wav2Vec2AudioEncoder:
        """The speech encoder, float32 as published."""
        network = self._files.networks[AUDIO_ENCODER]
        with self._loading(network) as where:
            model = load_audio_encoder(network, self._placement(torch.float32), where)
        return Wav2Vec2AudioEncoder(self._settled(model))

    def _read_transformer(self, dtype: torch.dtype, is_offloaded: bool) -> InfiniteTalkTransformer3DModel:
        from infinitetalk_cli.models.quantize import make_quantizer

        kind = self._compute.quantization
        quantize = make_quantizer(kind, self._device, dtype) if kind != "none" else None
        placement = Placement(
            device=torch.device("cpu") if is_offloaded else self._device,
            dtype=dtype,
            float32_parts=tuple(InfiniteTalkTransformer3DModel._keep_in_fp32_modules),
            is_pinned=is_offloaded and quantize is None,
        )
        network = self._files.networks[TRANSFORMER]
        audio_config = self._files.networks[AUDIO_ENCODER].config
        with self._loading(network) as where:
            return load_transformer(network, audio_config, placement, where, quantize)

    def _placement(self, dtype: torch.dtype) -> Placement:
        """Of every network but the transformer."""
        return Placement(torch.device("cpu") if self._offload == "all" else self._device, dtype)

    def _settled(self, network: Network) -> Network:
        from infinitetalk_cli.models.offload import offload_layers

        if self._offload == "all":
            offload_layers(network, self._device)
        return network

    @contextmanager
    def _loading(self, network: NetworkFiles) -> Iterator[str]:
        where = str(network.weights[0].parent)
        logger.info("loading %s", where)
        began_s = time.monotonic()
        with watching_memory(f"loading {where}"):
            yield where
        logger.info("loaded %s in %.1f s", where, time.monotonic() - began_s)
