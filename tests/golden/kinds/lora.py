"""`lora`: a file of low-rank changes merged into the tiny transformer, the published way (no alpha)."""

from __future__ import annotations

import re
import tempfile
from functools import partial
from pathlib import Path

from safetensors.torch import save_file

from infinitetalk_cli.checkpoints.files import LoraWeights
from infinitetalk_cli.models.keys import key_from_published, state_dict_from_published
from infinitetalk_cli.models.lora import LoraChanges

from ..harness import Case, Comparison, Golden

_BASE = "dit_weights.safetensors"


def cases(golden: Golden) -> list[Case]:
    """One case per scale."""
    golden.check_tensors((r"lora\..+", r"merged_[\d.]+\.[a-z_]+\..+"))
    scales = {match[1] for name in golden.tensors if (match := re.match(r"merged_([\d.]+)\.", name))}
    return [Case(f"scale-{scale}", partial(_compare, golden, scale)) for scale in sorted(scales)]


def _compare(golden: Golden, scale: str, comparison: Comparison) -> None:
    base = state_dict_from_published(golden.weights(golden.spec.get("weights", _BASE)))
    recorded = state_dict_from_published(golden.tensors_under(f"merged_{scale}."))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "lora.safetensors"
        save_file(golden.tensors_under("lora."), path)
        changes = LoraChanges([LoraWeights(path, float(scale), honours_alpha=False)], base)
        merged = {name: changes.merged(name, weight) for name, weight in base.items()}
    for name, weight in recorded.items():
        comparison.close(name, merged[name], weight, golden.setting("tolerance"))
    changed = {name for name, weight in merged.items() if weight is not base[name]}
    comparison.equal("changed weights", changed, {key_from_published(key) for key in golden.setting("touched")})
