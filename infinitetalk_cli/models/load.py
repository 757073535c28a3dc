"""Loads the networks of one model when they are first asked for."""

from __future__ import annotations

import logging
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError

from infinitetalk_cli.checkpoints.files import AUDIO_ENCODER, CODEC, CONTROL, DIARIZER, TRANSFORMER, ModelFiles
from infinitetalk_cli.config.profile import ComputeProfile, MemoryProfile
from infinitetalk_cli.errors import DependencyError

if TYPE_CHECKING:
    import torch
    from diffusers import ModelMixin

    from infinitetalk_cli.models.audio_encoder import AudioEncoder
    from infinitetalk_cli.models.diarization import Diarizer
    from infinitetalk_cli.models.dubbing_model import DubbingModel
    from infinitetalk_cli.models.published import PublishedModel
    from infinitetalk_cli.models.text_encoder import PromptEncoder
    from infinitetalk_cli.models.transformer import InfiniteTalkTransformer3DModel
    from infinitetalk_cli.models.uni3c import Uni3CControlNet

logger = logging.getLogger(__name__)


class LoadedModels:
    """The networks of `files`, on one device; each is loaded once and kept, except for the text encoder.

    Raises:
        DependencyError: a file of weights cannot be read or does not fit, or the device does not exist.
        ResourceError: the device's memory does not suffice.
    """

    def __init__(self, files: ModelFiles, device: str, compute: ComputeProfile, memory: MemoryProfile) -> None:
        self._files, self._device_name, self._compute, self._memory = files, device, compute, memory

    def audio_encoder(self) -> AudioEncoder:
        """Speech -> one embedding row per model frame."""
        return self._audio_encoder

    def text_encoder(self) -> PromptEncoder:
        """Prompts -> embeddings; loaded anew each time, so that its memory is free when the caller lets it go."""
        return self._published.text_encoder()

    def transformer(self) -> InfiniteTalkTransformer3DModel:
        """Alone, for a process that computes with others and holds nothing else."""
        return self._transformer

    def control(self) -> Uni3CControlNet | None:
        """The camera branch beside that transformer, where a job has one."""
        return self._control

    def dubbing_model(self) -> DubbingModel:
        """Transformer, codec and image encoder, ready for `generate_chunk` once it has its text."""
        return self._dubbing_model

    @property
    def host_bytes(self) -> int:
        """Main memory that the networks which are kept take at the moment."""
        kept = (vars(self).get("_audio_encoder"), vars(self).get("_dubbing_model"))
        return sum(host_bytes(network) for network in kept if network is not None)

    def diarizer(self) -> Diarizer:
        """Tells voices apart; used once per job, so it is not kept."""
        from infinitetalk_cli.models.diarization import Diarizer

        config = self._files.networks[DIARIZER].config
        assert config is not None, "a diarization pipeline is found by its configuration"
        return Diarizer(config.parent, self._device)

    @cached_property
    def _device(self) -> torch.device:
        from infinitetalk_cli.models.devices import resolve_device

        return resolve_device(self._device_name)

    @cached_property
    def _published(self) -> PublishedModel:
        from infinitetalk_cli.models.published import PublishedModel

        return PublishedModel(self._files, self._device, self._compute, self._memory)

    @cached_property
    def _audio_encoder(self) -> AudioEncoder:
        if self._files.family != "nano":
            return self._published.audio_encoder()
        from infinitetalk_cli.models.nano_audio import NanoAudioEncoder

        return self._load(NanoAudioEncoder, AUDIO_ENCODER)

    @cached_property
    def _dubbing_model(self) -> DubbingModel:
        from infinitetalk_cli.models.dubbing_model import DubbingModel

        if self._files.family != "nano":
            model = self._published
            # The smaller networks first: what is wrong with them is known before the transformer takes its minutes.
            codec, image_encoder = model.codec(), model.image_encoder()
            transformer = self._transformer
            return DubbingModel(
                transformer=transformer,
                codec=codec,
                image_encoder=image_encoder,
                control=self._control,
            )
        from infinitetalk_cli.models.nano_codec import NanoCodec

        transformer = self._transformer
        return DubbingModel(
            transformer=transformer,
            codec=self._load(NanoCodec, CODEC),
            control=self._control,
        )

    @cached_property
    def _control(self) -> Uni3CControlNet | None:
        return self._published.control(self._transformer) if CONTROL in self._files.networks else None

    @cached_property
    def _transformer(self) -> InfiniteTalkTransformer3DModel:
        if self._files.family != "nano":
            return self._published.transformer()
        from infinitetalk_cli.models.attention_backend import use_attention
        from infinitetalk_cli.models.compiling import compile_blocks, require_compiler
        from infinitetalk_cli.models.devices import DTYPES
        from infinitetalk_cli.models.transformer import InfiniteTalkTransformer3DModel

        dtype = DTYPES[self._compute.dtype]
        transformer = self._load(InfiniteTalkTransformer3DModel, TRANSFORMER, dtype)
        use_attention(transformer, self._compute.attention, self._device, dtype)
        if self._compute.compile:
            require_compiler(self._device, is_offloaded=False)
            compile_blocks(transformer)
        return transformer

    def _load(self, network: type[ModelMixin], name: str, dtype: torch.dtype | None = None) -> Any:
        import torch

        from infinitetalk_cli.models.devices import watching_memory

        path = self._files.networks[name].weights[0].parent
        logger.info("loading %s", path)
        with watching_memory(f"loading {path}"):
            return self._read(network, path, dtype or torch.float32).to(self._device).eval()

    @staticmethod
    def _read(network: type[ModelMixin], path: Path, dtype: torch.dtype) -> Any:
        import torch

        try:
            return network.from_pretrained(path, torch_dtype=dtype, local_files_only=True)
        except torch.OutOfMemoryError:
            raise  # a RuntimeError as well, but no damage
        except (OSError, ValueError, RuntimeError, SafetensorError) as exc:
            raise DependencyError(
                f"{path}: these weights cannot be loaded ({exc}); they are damaged or of another version, "
                "install infinitetalk again or train them anew"
            ) from exc


def host_bytes(part: object, depth: int = 2) -> int:
    """Main memory taken by the weights of `part`: a network, or something that holds networks, `depth` levels down."""
    import torch

    if isinstance(part, torch.nn.Module):
        tensors = (*part.parameters(), *part.buffers())
        return sum(tensor.nbytes for tensor in tensors if tensor.device.type == "cpu")
    return sum(host_bytes(value, depth - 1) for value in getattr(part, "__dict__", {}).values()) if depth else 0
