"""Weights as they are shipped: 16 bit where that is enough, one folder per part."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path

import torch
from diffusers.models.modeling_utils import ModelMixin

from infinitetalk_cli.models.mouth_probe import MouthProbe
from infinitetalk_cli.models.nano_audio import NanoAudioEncoder
from infinitetalk_cli.models.nano_codec import NanoCodec
from infinitetalk_cli.models.transformer import InfiniteTalkTransformer3DModel
from infinitetalk_cli.models.uni3c import Uni3CControlNet

log = logging.getLogger(__name__)

PARTS: dict[str, type[ModelMixin]] = {
    "transformer": InfiniteTalkTransformer3DModel,
    "codec": NanoCodec,
    "audio_encoder": NanoAudioEncoder,
    "probe": MouthProbe,
    "uni3c": Uni3CControlNet,
}
_OPTIONAL = ("uni3c",)
_KEPT_FLOAT32 = ("mean", "basis", "scale")
"""The linear part of the codec: rounded to 16 bit it loses 1.6 dB."""


def export_weights(folder: Path, out: Path) -> dict[str, int]:
    """Copy every part that exists in `folder` to `out` at 16 bit; bytes by part.

    float16: the values are small and its rounding is eight times finer than bfloat16's.
    """
    sizes = {}
    for name, kind in PARTS.items():
        if not (folder / name / "config.json").exists():
            if name not in _OPTIONAL:
                log.warning("%s has no %s yet", folder, name)
            continue
        module = kind.from_pretrained(folder / name)
        for path, tensor in [*module.named_parameters(), *module.named_buffers()]:
            if tensor.dtype == torch.float32 and path not in _KEPT_FLOAT32:
                tensor.data = tensor.data.half()
        partial = out.parent / f"{out.name}.{name}.partial"
        module.save_pretrained(partial)
        _forget_path(partial / "config.json")
        shutil.rmtree(out / name, ignore_errors=True)
        out.mkdir(parents=True, exist_ok=True)
        partial.rename(out / name)
        sizes[name] = sum(file.stat().st_size for file in (out / name).iterdir())
    return sizes


def _forget_path(config: Path) -> None:
    """Remove from a saved configuration where on this machine the weights came from."""
    values = json.loads(config.read_text(encoding="utf-8"))
    values.pop("_name_or_path", None)
    config.write_text(json.dumps(values, indent=2, sort_keys=True) + "\n", encoding="utf-8")
