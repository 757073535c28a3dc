"""Low-rank changes of weights, merged while the weights are loaded.

We merge them ourselves: diffusers' conversion of this layout leaves changes of norms and of the patch embedding out,
and peft keeps the low-rank parts as layers of their own, whereas merged before quantization they cost nothing at run
time and are rounded once.
"""

from __future__ import annotations

import logging
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from infinitetalk_cli.checkpoints.files import LoraWeights
from infinitetalk_cli.errors import DependencyError
from infinitetalk_cli.models.keys import our_key
from infinitetalk_cli.models.tensor_files import TensorFiles, some_of

logger = logging.getLogger(__name__)

_KEY = re.compile(
    r"(?:diffusion_model\.|transformer\.)?(?P<module>.+)\."
    r"(?P<role>lora_down\.weight|lora_up\.weight|lora_A\.weight|lora_B\.weight|alpha|diff|diff_b)"
)
_ROLES = {"lora_A.weight": "down", "lora_B.weight": "up", "lora_down.weight": "down", "lora_up.weight": "up"}


class LoraChanges:
    """What several files add to the weights of `layout` (our names).

    Per module a file may hold a pair (`up @ down`, times alpha / rank if it has an alpha), a `diff` of the weight and a
    `diff_b` of the bias; pair and diff add up. Without `honours_alpha` the published merge is reproduced: no alpha, and
    a diff beside a pair counts for nothing.

    Raises:
        DependencyError: a file cannot be read, or was made for another model.
    """

    def __init__(self, loras: Sequence[LoraWeights], layout: Mapping[str, Tensor]) -> None:
        self._changes: dict[str, list[_Change]] = defaultdict(list)
        for lora in loras:
            for change in _changes_of(lora, layout):
                self._changes[change.target].append(change)

    def __bool__(self) -> bool:
        return bool(self._changes)

    def merged(self, name: str, weight: Tensor) -> Tensor:
        """`weight` with all that is added to it: float32 on its device, or itself where nothing is."""
        if name not in self._changes:
            return weight
        total = weight.to(torch.float32, copy=True)
        for change in self._changes[name]:
            total.add_(change.values(weight.device).reshape(weight.shape), alpha=change.weight)
        return total


@dataclass(frozen=True, eq=False)
class _Change:
    """One addition to weight `target`: a pair `keys` (up, down), or a single difference."""

    files: TensorFiles
    keys: tuple[str, ...]
    target: str
    weight: float

    def values(self, device: torch.device) -> Tensor:
        """What is added, in float32, before it is weighted."""
        parts = [self.files[key].to(device, torch.float32) for key in self.keys]
        return parts[0] if len(parts) == 1 else parts[0].flatten(1) @ parts[1].flatten(1)

    def check(self, path: Path, shape: torch.Size) -> None:
        """Raise a `DependencyError` if this cannot be added to a weight of `shape`."""
        shapes = [self.files.layout[key].shape for key in self.keys]
        if len(shapes) == 1:
            fits = shapes[0].numel() == shape.numel()
        else:
            (rows, *up_rest), (rank, *down_rest) = shapes
            inner, columns = torch.Size(up_rest).numel(), torch.Size(down_rest).numel()
            fits = len(shape) > 1 and rank == inner and (rows, columns) == (shape[0], shape[1:].numel())
        if not fits:
            sizes = " and ".join(str(tuple(size)) for size in shapes)
            raise DependencyError(
                f"{path}: {self.keys[0]} has shape {sizes}, which cannot change {self.target} of shape {tuple(shape)}; "
                "this file was made for another model: remove it from model.loras"
            )


def _changes_of(lora: LoraWeights, layout: Mapping[str, Tensor]) -> list[_Change]:
    files = TensorFiles([lora.path])
    modules, without_place = _by_module(files)
    changes = []
    for module, keys in modules.items():
        found = _changes_of_module(module, keys, files, lora, layout)
        if found:
            changes += found
        else:
            without_place += keys.values()
    if not changes:
        raise DependencyError(
            f"{lora.path}: none of its {len(files)} weights belongs to this model ({some_of(list(files))}); "
            "remove it from model.loras, or name a file made for Wan 2.1 image-to-video 14B"
        )
    for change in changes:
        change.check(lora.path, layout[change.target].shape)
    if without_place:
        logger.warning(
            "%s: %d of %d weights have no place in this model and are left out (%s)",
            lora.path, len(without_place), len(files), some_of(without_place),
        )  # fmt: skip
    logger.info("%s: changes %d weights, at weight %g", lora.path, len(changes), lora.weight)
    return changes


def _by_module(files: TensorFiles) -> tuple[dict[str, dict[str, str]], list[str]]:
    """Module -> role -> key, and the keys of no known role."""
    modules: dict[str, dict[str, str]] = defaultdict(dict)
    unknown = []
    for key in files:
        match = _KEY.fullmatch(key)
        if match is None:
            unknown.append(key)
        else:
            modules[match["module"]][_ROLES.get(match["role"], match["role"])] = key
    return modules, unknown


def _changes_of_module(
    module: str, keys: Mapping[str, str], files: TensorFiles, lora: LoraWeights, layout: Mapping[str, Tensor]
) -> list[_Change]:
    if ("up" in keys) != ("down" in keys):
        raise DependencyError(f"{lora.path}: {module} has only half of a pair; download the file again")
    # A module's weight, or a lone parameter such as a modulation table.
    target = next((name for name in (our_key(f"{module}.weight"), our_key(module)) if name in layout), None)
    bias = our_key(f"{module}.bias")
    changes = []
    if "up" in keys and target is not None:
        weight = lora.weight * (_alpha_share(lora.path, files, keys) if lora.honours_alpha else 1.0)
        changes.append(_Change(files, (keys["up"], keys["down"]), target, weight))
    if "diff" in keys and target is not None and (lora.honours_alpha or not changes):
        changes.append(_Change(files, (keys["diff"],), target, lora.weight))
    if "diff_b" in keys and bias in layout:
        changes.append(_Change(files, (keys["diff_b"],), bias, lora.weight))
    return changes


def _alpha_share(path: Path, files: TensorFiles, keys: Mapping[str, str]) -> float:
    """Alpha / rank of a pair; 1 without an alpha."""
    if "alpha" not in keys:
        return 1.0
    alpha, rank = files.layout[keys["alpha"]], files.layout[keys["down"]].shape[0]
    if alpha.numel() != 1 or not rank:
        raise DependencyError(f"{path}: {keys['alpha']} and rank {rank} make no scale; download the file again")
    return float(files[keys["alpha"]]) / rank
