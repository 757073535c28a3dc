from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from infinitetalk_cli.bench.build import empty_transformer, fill_randomly, random_inputs
from infinitetalk_cli.bench.flops import forward_flops
from infinitetalk_cli.bench.settings import SIZES, BenchSettings, Dimensions

TINY = Dimensions(
    num_attention_heads=2, attention_head_dim=12, ffn_dim=40, num_layers=3, freq_dim=16, text_dim=20, text_len=7,
    image_dim=10, audio_layers=2, audio_channels=6, audio_hidden_dim=8, audio_token_dim=14, audio_tokens=3,
)  # fmt: skip


def settings(dimensions: Dimensions = TINY, **changes: Any) -> BenchSettings:
    """A measurement of little things."""
    values = {
        "size": "mid", "latent": (3, 4, 6), "people": 1, "dtype": "float32", "quantization": "none",
        "attention": "sdpa", "compile": False, "offload": "none", "repeats": 1,
    }  # fmt: skip
    return BenchSettings(dimensions=dimensions, **{**values, **changes})


@pytest.mark.parametrize("people", [1, 2])
@pytest.mark.parametrize("latent", [(3, 4, 6), (1, 8, 2)])
@pytest.mark.parametrize(
    "dimensions",
    [TINY, TINY.model_copy(update={"text_dim": None, "image_dim": None})],
    ids=["with text and image", "sound only"],
)
def test_arithmetic_equals_what_torch_counts(dimensions: Dimensions, latent: tuple[int, int, int], people: int) -> None:
    """Of a step that has its keys; the plain kernel, because torch counts no other on the CPU."""
    wanted = settings(dimensions, latent=latent, people=people)
    transformer = empty_transformer(dimensions)
    fill_randomly(transformer, torch.device("cpu"), torch.float32)
    inputs = random_inputs(transformer, wanted, torch.device("cpu"))
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
        transformer(**inputs)
        with FlopCounterMode(display=False) as counter:
            transformer(**inputs)
    assert forward_flops(wanted).total == counter.get_total_flops()


def test_published_model_at_480p() -> None:
    """By hand, in TFLOP: 33600 tokens, 40 blocks, width 5120."""
    counted = forward_flops(settings(SIZES["14b"], latent=(21, 80, 80)))
    assert counted.self_attention / 1e12 == pytest.approx(40 * 4 * 33_600**2 * 5120 / 1e12)
    assert counted.linear / 1e12 == pytest.approx(40 * 33_600 * (12 * 5120**2 + 4 * 5120 * 13_824) / 1e12)
    assert counted.total / 1e12 == pytest.approx(924.8 + 803.3 + 21.2 + 141.8 + 0.1, abs=0.2)


def test_two_people_cost_a_map_and_more_sound() -> None:
    one, two = (forward_flops(settings(people=people)) for people in (1, 2))
    assert two.audio > one.audio
    assert two.model_copy(update={"audio": one.audio}) == one
