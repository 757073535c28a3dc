"""Which tensors the published transformer has, by name and shape: `tables/transformer.json` for models of any size."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

Shapes = dict[str, tuple[int, ...]]

_BLOCK = re.compile(r"blocks\.(\d+)\.")
_FROM_TENSORS = {
    "text": ("text_embedding.0.weight", 1),
    "image": ("img_emb.proj.0.weight", 0),
    "audio_token": ("audio_proj.norm.weight", 0),
    "audio_hidden": ("audio_proj.proj1.weight", 0),
    "audio_first": ("audio_proj.proj1.weight", 1),
    "audio_later": ("audio_proj.proj1_vf.weight", 1),
    "audio_out": ("audio_proj.proj3.weight", 0),
    "dim": ("blocks.0.norm_x.weight", 0),
}
"""Sizes that no config.json states: the tensor and the axis that show them."""


@dataclass(frozen=True)
class TransformerTable:
    """Tensors of the plain video model and of the audio parts; `published` are the sizes of the 14B model."""

    published: dict[str, int]
    base: dict[str, list[int | str]]
    audio: dict[str, list[int | str]]

    def base_shapes(self, sizes: Mapping[str, int]) -> Shapes:
        """Name and shape of every tensor of the plain video model of these sizes."""
        return _expanded(self.base, sizes)

    def audio_shapes(self, sizes: Mapping[str, int]) -> Shapes:
        """Name and shape of every tensor of the audio parts of these sizes."""
        return _expanded(self.audio, sizes)


@lru_cache
def transformer_table() -> TransformerTable:
    """The table that ships with the package."""
    path = Path(__file__).with_name("tables") / "transformer.json"
    document = json.loads(path.read_text(encoding="utf-8"))
    return TransformerTable(document["published"], document["base"], document["audio"])


def sizes_of_config(config: Mapping[str, Any]) -> dict[str, int]:
    """The sizes that a transformer's config.json states, in either layout.

    Raises:
        KeyError: it lacks one of them.
    """
    if "num_attention_heads" in config:
        heads, dim = config["num_attention_heads"], config["num_attention_heads"] * config["attention_head_dim"]
        channels = (config["in_channels"], config["out_channels"])
    else:
        heads, dim, channels = config["num_heads"], config["dim"], (config["in_dim"], config["out_dim"])
    return {
        "layers": config["num_layers"],
        "dim": dim,
        "heads": heads,
        "ffn": config["ffn_dim"],
        "freq": config["freq_dim"],
        "in": channels[0],
        "out_patch": channels[1] * math.prod(config.get("patch_size", (1, 2, 2))),
    }


def sizes_of_tensors(found: Mapping[str, tuple[int, ...]]) -> dict[str, int]:
    """The sizes that tensors under published names show, as far as they are there."""
    sizes = {
        size: found[name][axis]
        for size, (name, axis) in _FROM_TENSORS.items()
        if name in found and len(found[name]) > axis
    }
    blocks = [int(match[1]) for name in found if (match := _BLOCK.match(name))]
    return sizes | ({"layers": 1 + max(blocks)} if blocks else {})


def is_published_size(sizes: Mapping[str, int]) -> bool:
    """Whether this is the 14B model rather than one of the same make in another size."""
    published = transformer_table().published
    return sizes.get("dim") == published["dim"]


def _expanded(table: Mapping[str, list[int | str]], sizes: Mapping[str, int]) -> Shapes:
    shapes: Shapes = {}
    for name, axes in table.items():
        shape = tuple(_size(axis, sizes) for axis in axes)
        names = [name.format(block) for block in range(sizes["layers"])] if "{}" in name else [name]
        shapes |= dict.fromkeys(names, shape)
    return shapes


def _size(axis: int | str, sizes: Mapping[str, int]) -> int:
    """A number, a size by name, or a multiple of one (`6*dim`)."""
    if isinstance(axis, int):
        return axis
    factor, _, name = axis.rpartition("*")
    return int(factor or 1) * sizes[name]
