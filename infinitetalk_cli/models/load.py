"""Loads the networks of one model when they are first asked for."""

from __future__ import annotations

import logging
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError

from infinitetalk_cli.checkpoints.files import AUDIO_ENCODER, CODEC, TRANSFORMER, ModelFiles
from infinitetalk_cli.config.profile import ComputeProfile
from infinitetalk_cli.errors import DependencyError

if TYPE_CHECKING:
    import torch
    from diffusers import ModelMixin

    from infinitetalk_cli.models.audio_encoder import AudioEncoder
    from infinitetalk_cli.models.streaming import DubbingModel

logger = logging.getLogger(__name__)


class LoadedModels:
    """The networks of `files`, on one device; each is loaded once and kept.

    Raises:
        DependencyError: a file of weights cannot be read, or the device does not exist.
    """

    def __init__(self, files: ModelFiles, device: str, compute: ComputeProfile) -> None:
        self._files, self._device_name, self._compute = files, device, compute

    def audio_encoder(self) -> AudioEncoder:
        """Speech -> one embedding row per model frame."""
        return self._audio_encoder

    def dubbing_model(self) -> DubbingModel:
        """Transformer and codec, ready for `generate_chunk`."""
        return self._dubbing_model

    @cached_property
    def _device(self) -> torch.device:
        from infinitetalk_cli.models.devices import resolve_device

        return resolve_device(self._device_name)

    @cached_property
    def _audio_encoder(self) -> AudioEncoder:
        from infinitetalk_cli.models.nano_audio import NanoAudioEncoder

        return self._load(NanoAudioEncoder, AUDIO_ENCODER)

    @cached_property
    def _dubbing_model(self) -> DubbingModel:
        from infinitetalk_cli.models.devices import DTYPES
        from infinitetalk_cli.models.nano_codec import NanoCodec
        from infinitetalk_cli.models.streaming import DubbingModel
        from infinitetalk_cli.models.transformer import InfiniteTalkTransformer3DModel

        transformer = self._load(InfiniteTalkTransformer3DModel, TRANSFORMER, DTYPES[self._compute.dtype])
        return DubbingModel(transformer=transformer, codec=self._load(NanoCodec, CODEC))

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
