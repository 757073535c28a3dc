"""Low-rank adapters on the large transformer: put in by peft, trained in float32, written for `dub --lora`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from infinitetalk_cli.errors import DependencyError
from infinitetalk_cli.models.keys import key_to_published
from infinitetalk_cli.models.tensor_files import save_whole
from infinitetalk_cli.models.transformer import InfiniteTalkTransformer3DModel
from infinitetalk_cli.train.lora_settings import AdapterSettings

_LAYERS = {
    "self_attention": r"attn1\.(to_q|to_k|to_v|to_out\.0)",
    "text_attention": r"attn2\.(to_q|to_k|to_v|to_out\.0|add_k_proj|add_v_proj)",
    "audio_attention": r"audio_cross_attn\.(q_linear|kv_linear|proj)",
    "feed_forward": r"ffn\.net\.(0\.proj|2)",
}
"""Linear layers of a block by the names of `lora.targets`; `text_attention` reads the reference image, too."""

_NAME = re.compile(r"(?P<module>.+)\.lora_(?P<half>[AB])\.default\.weight")


def add_adapters(model: InfiniteTalkTransformer3DModel, settings: AdapterSettings, seed: int) -> None:
    """Freeze `model` and give its target layers adapters, which at first change nothing.

    Raises:
        DependencyError: peft is not installed.
    """
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError as exc:
        raise DependencyError("training a LoRA needs peft: pip install 'infinitetalk[lora]'") from exc
    layers = "|".join(_LAYERS[target] for target in settings.targets)
    config = LoraConfig(r=settings.rank, lora_alpha=settings.alpha, target_modules=rf"blocks\.\d+\.({layers})")
    torch.manual_seed(seed)
    inject_adapter_in_model(config, model)
    for name, weight in model.named_parameters():
        is_adapter = _NAME.fullmatch(name) is not None
        weight.requires_grad_(is_adapter)
        if is_adapter:  # steps of 1e-4 would vanish in bfloat16
            weight.data = weight.data.float()


def lora_tensors(weights: Mapping[str, Tensor], settings: AdapterSettings) -> dict[str, Tensor]:
    """Trained `weights` (peft's names) as a LoRA file under the published names."""
    tensors = {}
    for name, weight in weights.items():
        match = _NAME.fullmatch(name)
        assert match is not None, name
        module = key_to_published(f"{match['module']}.weight").removesuffix(".weight")
        tensors[f"diffusion_model.{module}.lora_{match['half']}.weight"] = weight.detach().float().cpu().contiguous()
        tensors[f"diffusion_model.{module}.alpha"] = torch.tensor(float(settings.alpha))
    return tensors


def write_lora(path: Path, weights: Mapping[str, Tensor], settings: AdapterSettings, base: str) -> None:
    """Write the file that `dub --lora` reads."""
    about = {"format": "pt", "base": base, "rank": str(settings.rank), "alpha": f"{settings.alpha:g}"}
    save_whole(lora_tensors(weights, settings), path, about)
