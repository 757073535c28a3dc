"""The shipped table of tensors equals the recorded one, and our own class."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import miniature
import pytest
import torch

from infinitetalk_cli.checkpoints.tables import (
    is_published_size,
    sizes_of_config,
    sizes_of_tensors,
    transformer_table,
)
from infinitetalk_cli.models.keys import AUDIO_KEY, key_to_published
from infinitetalk_cli.models.transformer import InfiniteTalkTransformer3DModel

FULL_KEYS = Path(__file__).parents[4] / "shared" / "parity" / "full_keys.json"


@pytest.mark.skipif(not FULL_KEYS.is_file(), reason="needs ../shared/parity/full_keys.json")
def test_published_sizes_give_the_recorded_table() -> None:
    recorded = json.loads(FULL_KEYS.read_text())["keys"]
    table = transformer_table()
    for origin, shapes in (("wan_base", table.base_shapes), ("infinitetalk", table.audio_shapes)):
        expected = {entry["key"]: tuple(entry["shape"]) for entry in recorded if entry["origin"] == origin}
        assert shapes(table.published) == expected


@pytest.mark.parametrize("config", [{}, miniature.TRANSFORMER], ids=["published", "miniature"])
def test_the_table_is_our_class(config: dict[str, Any]) -> None:
    with torch.device("meta"):
        state_dict = InfiniteTalkTransformer3DModel(**config).state_dict()
    ours = {key_to_published(key): tuple(tensor.shape) for key, tensor in state_dict.items()}
    table = transformer_table()
    sizes = table.published | (sizes_of_tensors(ours) if config else {})
    sizes = sizes | ({"ffn": config["ffn_dim"], "freq": config["freq_dim"]} if config else {})
    assert table.base_shapes(sizes) | table.audio_shapes(sizes) == ours
    assert {key for key in ours if AUDIO_KEY.match(key)} == set(table.audio_shapes(sizes))
    assert is_published_size(sizes) == (not config)


def test_both_layouts_state_the_same_sizes(whole_weights) -> None:
    original = json.loads((whole_weights("original") / miniature.BASE / "config.json").read_text())
    folder = whole_weights("diffusers") / miniature.DIFFUSERS_BASE / "transformer"
    diffusers = json.loads((folder / "config.json").read_text())
    assert sizes_of_config(original) == sizes_of_config(diffusers)
    assert sizes_of_config(original)["dim"] == 32
