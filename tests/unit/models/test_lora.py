"""Merging low-rank changes: alpha, pairs beside differences, convolutions, files that do not belong."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from infinitetalk_cli.checkpoints.files import LoraWeights
from infinitetalk_cli.errors import DependencyError
from infinitetalk_cli.models.lora import LoraChanges

RANK = 2


@pytest.fixture
def weights() -> dict[str, Tensor]:
    torch.manual_seed(0)
    return {
        "blocks.0.attn1.to_q.weight": torch.randn(6, 4),
        "blocks.0.attn1.to_q.bias": torch.randn(6),
        "blocks.0.norm2.weight": torch.randn(6),
        "blocks.0.scale_shift_table": torch.randn(1, 6, 4),
        "patch_embedding.weight": torch.randn(6, 3, 1, 2, 2),
    }


Q = "diffusion_model.blocks.0.self_attn.q"


def pair(
    module: str = Q, alpha: float | None = None, up: str = "lora_up", down: str = "lora_down"
) -> dict[str, Tensor]:
    torch.manual_seed(1)
    found = {f"{module}.{down}.weight": torch.randn(RANK, 4), f"{module}.{up}.weight": torch.randn(6, RANK)}
    return found if alpha is None else found | {f"{module}.alpha": torch.tensor(alpha)}


def product(file: dict[str, Tensor]) -> Tensor:
    down, up = (next(t for key, t in file.items() if word in key) for word in ("down", "up"))
    return up @ down


def changes(tmp_path: Path, weights: dict[str, Tensor], *files: dict[str, Tensor], **how) -> LoraChanges:
    loras = []
    for index, tensors in enumerate(files):
        path = tmp_path / f"lora-{index}.safetensors"
        save_file(tensors, path)
        loras.append(LoraWeights(path, how.get("weight", 1.0), how.get("honours_alpha", True)))
    return LoraChanges(loras, weights)


@pytest.mark.parametrize(("honours_alpha", "alpha", "share"), [(True, 3.0, 1.5), (False, 3.0, 1.0), (True, None, 1.0)])
def test_alpha(tmp_path: Path, weights, honours_alpha: bool, alpha: float | None, share: float) -> None:
    file = pair(alpha=alpha)
    name = "blocks.0.attn1.to_q.weight"
    merged = changes(tmp_path, weights, file, weight=0.5, honours_alpha=honours_alpha).merged(name, weights[name])
    torch.testing.assert_close(merged, weights[name] + 0.5 * share * product(file))


@pytest.mark.parametrize("honours_alpha", [True, False])
def test_pair_beside_a_difference(tmp_path: Path, weights, honours_alpha: bool) -> None:
    """Both count; the published merge keeps the pair alone."""
    name, difference = "blocks.0.attn1.to_q.weight", torch.randn(6, 4)
    file = pair() | {f"{Q}.diff": difference}
    merged = changes(tmp_path, weights, file, honours_alpha=honours_alpha).merged(name, weights[name])
    torch.testing.assert_close(merged, weights[name] + product(file) + (difference if honours_alpha else 0))


def test_several_files_add_up_and_are_rounded_once(tmp_path: Path, weights) -> None:
    name, small = "blocks.0.norm2.weight", 2.0**-9
    weight = torch.ones(6, dtype=torch.bfloat16)
    file = {"diffusion_model.blocks.0.norm3.diff": torch.full((6,), small)}
    merged = changes(tmp_path, weights, *[file] * 4).merged(name, weight)
    assert merged.dtype == torch.float32 and torch.equal(merged, torch.full((6,), 1 + 4 * small))
    # One by one in bfloat16, whose step above 1 is 2^-7, each would have been lost.
    assert torch.equal(weight + small, weight) and merged.bfloat16()[0] != weight[0]
    assert torch.equal(weight, torch.ones(6, dtype=torch.bfloat16))


def test_bias_table_and_convolution(tmp_path: Path, weights) -> None:
    file = {
        f"{Q}.diff_b": torch.full((6,), 2.0),
        "diffusion_model.blocks.0.modulation.diff": torch.full((1, 6, 4), 3.0),
        "diffusion_model.patch_embedding.lora_down.weight": torch.randn(RANK, 3, 1, 2, 2),
        "diffusion_model.patch_embedding.lora_up.weight": torch.randn(6, RANK, 1, 1, 1),
    }
    found = changes(tmp_path, weights, file)
    merged = {name: found.merged(name, weight) for name, weight in weights.items()}
    assert torch.equal(merged["blocks.0.attn1.to_q.bias"], weights["blocks.0.attn1.to_q.bias"] + 2)
    assert torch.equal(merged["blocks.0.scale_shift_table"], weights["blocks.0.scale_shift_table"] + 3)
    assert merged["blocks.0.attn1.to_q.weight"] is weights["blocks.0.attn1.to_q.weight"]
    values = list(file.values())
    expected = torch.nn.functional.conv3d(values[2].transpose(0, 1), values[3])
    torch.testing.assert_close(
        merged["patch_embedding.weight"] - weights["patch_embedding.weight"], expected.transpose(0, 1)
    )


def test_names_of_diffusers_and_peft(tmp_path: Path, weights) -> None:
    name = "blocks.0.attn1.to_q.weight"
    file = pair("transformer.blocks.0.attn1.to_q", up="lora_B", down="lora_A")
    down, up = file.values()
    merged = changes(tmp_path, weights, file).merged(name, weights[name])
    torch.testing.assert_close(merged, weights[name] + up @ down)


def test_file_that_matches_nothing(tmp_path: Path, weights) -> None:
    with pytest.raises(DependencyError, match=r"lora-0.safetensors: none of its 2 weights .*other\.blocks\.7"):
        changes(tmp_path, weights, pair("other.blocks.7.q"))


def test_partial_match_is_counted(tmp_path: Path, weights, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert changes(tmp_path, weights, pair() | pair("diffusion_model.blocks.9.self_attn.q"))
    assert "2 of 4 weights have no place" in caplog.text and "blocks.9" in caplog.text


def test_file_of_another_size(tmp_path: Path, weights) -> None:
    file = pair() | {f"{Q}.lora_up.weight": torch.randn(8, RANK)}
    with pytest.raises(DependencyError, match=r"\(8, 2\) and \(2, 4\), which cannot change .*\(6, 4\)"):
        changes(tmp_path, weights, file)


def test_half_a_pair(tmp_path: Path, weights) -> None:
    with pytest.raises(DependencyError, match="only half of a pair"):
        changes(tmp_path, weights, {f"{Q}.lora_down.weight": torch.randn(RANK, 4)})


def test_alpha_that_is_no_number(tmp_path: Path, weights) -> None:
    with pytest.raises(DependencyError, match="make no scale"):
        changes(tmp_path, weights, pair() | {f"{Q}.alpha": torch.ones(3)})
