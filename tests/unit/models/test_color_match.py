from __future__ import annotations

import pytest
import torch

from infinitetalk_cli.models.color import lab_from_rgb, match_color, rgb_from_lab


def picture(seed: int, spread: float, mean: float) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    noise = torch.rand(1, 3, 2, 12, 10, generator=generator)
    return (mean + spread * (noise - 0.5)).clamp(-1, 1)


def test_lab_and_back() -> None:
    rgb = picture(0, 2.0, 0.0) / 2 + 0.5
    torch.testing.assert_close(rgb_from_lab(lab_from_rgb(rgb)), rgb, atol=1e-4, rtol=0)


def test_lab_of_white_and_black() -> None:
    lab = lab_from_rgb(torch.tensor([[[1.0, 0.0]] * 3]))
    torch.testing.assert_close(lab[0], torch.tensor([[100.0, 0.0], [0.0, 0.0], [0.0, 0.0]]), atol=0.02, rtol=0)


def test_mean_and_spread_become_those_of_the_reference() -> None:
    source, reference = picture(1, 0.6, -0.2), picture(2, 0.3, 0.2)[:, :, :1]
    matched = lab_from_rgb(match_color(source, reference, 1.0) / 2 + 0.5)
    wanted = lab_from_rgb(reference / 2 + 0.5)
    for frame in range(2):
        torch.testing.assert_close(
            matched[:, :, frame].mean((-2, -1)), wanted[:, :, 0].mean((-2, -1)), atol=0.05, rtol=0
        )
        torch.testing.assert_close(matched[:, :, frame].std((-2, -1)), wanted[:, :, 0].std((-2, -1)), atol=0.05, rtol=0)


def test_strength_blends() -> None:
    source, reference = picture(1, 0.6, -0.2), picture(2, 0.3, 0.2)[:, :, :1]
    assert match_color(source, reference, 0.0) is source
    half = match_color(source, reference, 0.5)
    torch.testing.assert_close(half, (source + match_color(source, reference, 1.0)) / 2)


@pytest.mark.parametrize("noise", [0.0, 1e-6])
def test_uniform_frame_takes_the_mean_without_amplifying_rounding(noise: float) -> None:
    generator = torch.Generator().manual_seed(3)
    source = torch.full((1, 3, 1, 12, 10), 0.25) + noise * torch.randn(1, 3, 1, 12, 10, generator=generator)
    matched = match_color(source, picture(2, 0.3, 0.2)[:, :, :1], 1.0)
    assert matched.flatten(2).std(dim=-1).max() < 1e-4
