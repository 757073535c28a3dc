from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from infinitetalk_cli.models.step_cache import (
    POLYNOMIALS,
    BlockResiduals,
    StepCacheSettings,
    decide_steps,
    relative_change,
)

IDENTITY = StepCacheSettings(threshold=0.25, polynomial=(1.0, 0.0), warmup_steps=2)
"""The expected change is the change of the modulation itself."""

GROWING = torch.tensor([1.0, 1.1, 1.21, 1.331, 1.4641, 1.61051, 1.771561])[:, None, None].expand(-1, 6, 4)
"""Every step is a tenth above the one before."""


def runs(settings: StepCacheSettings) -> list[bool]:
    return [decision.runs for decision in decide_steps(GROWING, settings)]


def test_blocks_run_again_when_the_changes_add_up() -> None:
    # 0.1, 0.2, then 0.3 reaches 0.25 and the sum begins anew.
    assert runs(IDENTITY) == [True, True, False, False, True, False, False]
    sums = [decision.expected_change for decision in decide_steps(GROWING, IDENTITY)]
    assert sums == pytest.approx([0, 0, 0.1, 0.2, 0.3, 0.1, 0.2], abs=1e-6)


@pytest.mark.parametrize("warmup", [1, 4, 7, 9])
def test_warmup_steps_always_run(warmup: int) -> None:
    never_again = replace(IDENTITY, threshold=100.0, warmup_steps=warmup)
    assert runs(never_again) == [step < warmup for step in range(len(GROWING))]


def test_low_threshold_skips_nothing() -> None:
    assert all(runs(replace(IDENTITY, threshold=0.05)))


def test_polynomial_has_the_highest_power_first() -> None:
    settings = replace(IDENTITY, polynomial=(2.0, 3.0, 5.0), warmup_steps=1, threshold=1000.0)
    first = decide_steps(GROWING[:2], settings)[1].expected_change
    assert first == pytest.approx(2 * 0.1**2 + 3 * 0.1 + 5, abs=1e-5)


def test_change_is_relative_to_the_older_one() -> None:
    assert relative_change(torch.tensor([-2.0, 2.0]), torch.tensor([-3.0, 2.0])) == pytest.approx(0.25)


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ("480", 25.7151496 - 35.4229917 + 14.0286849 - 1.35890334 + 0.132517977),
        ("720", 0.81070546 + 2.13393892 - 3.72934672 + 1.66203073 - 0.0417769401),
    ],
)
def test_published_polynomials_at_a_tenth(size: str, expected: float) -> None:
    settings = StepCacheSettings(1000.0, POLYNOMIALS[size], warmup_steps=1)
    assert decide_steps(GROWING[:2], settings)[1].expected_change == pytest.approx(expected, abs=1e-4)


def test_residuals_are_added_to_every_branch() -> None:
    residuals, x = BlockResiduals(), torch.randn(1, 3, 4)
    alone, batch = torch.randn(1, 3, 4), torch.randn(2, 3, 4)
    residuals.keep(x, (alone, batch))
    for ours, expected in zip(residuals.add_to(x + 1), (alone + 1, batch + 1), strict=True):
        torch.testing.assert_close(ours, expected)
