from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from infinitetalk_cli.models.sampling import (
    FULL,
    Forward,
    ProjectedGuidance,
    add_noise,
    chunk_noise,
    euler_step,
    forwards_needed,
    guide,
    make_sigmas,
    orthogonal_part,
    sigmas_from,
    velocity_from_sample,
)

NO_TEXT, NO_AUDIO, NEITHER = Forward(False, True), Forward(True, False), Forward(False, False)


@given(num_steps=st.integers(1, 50), shift=st.floats(0.5, 12), last=st.sampled_from([1.0, 100.0, None]))
def test_sigmas_fall_from_one_to_zero(num_steps: int, shift: float, last: float | None) -> None:
    sigmas = make_sigmas(num_steps, shift, last)
    assert sigmas.shape == (num_steps + 1,)
    assert sigmas.dtype == torch.float32
    assert sigmas[0] == pytest.approx(1)
    assert sigmas[-1] == 0
    assert (sigmas.diff() < 0).all()


def test_published_schedule_ends_at_the_shift() -> None:
    # The last even timestep is 1 of 1000; a shift of 7 makes it 7 * 0.001 / (1 + 6 * 0.001).
    assert make_sigmas(40, shift=7.0)[-2].item() == pytest.approx(0.007 / 1.006)


def test_even_schedule_without_shift() -> None:
    torch.testing.assert_close(make_sigmas(4, shift=1.0, last_timestep=None), torch.tensor([1, 0.75, 0.5, 0.25, 0]))


def test_noise_depends_on_its_key_only() -> None:
    shape = (1, 2, 3, 4, 4)
    first = chunk_noise(42, 0, 0, 0, shape)
    torch.randn(100)
    chunk_noise(42, 0, 1, 0, shape)
    assert torch.equal(first, chunk_noise(42, 0, 0, 0, shape))
    keys = [(42, 0, 0, 0), (43, 0, 0, 0), (42, 1, 0, 0), (42, 0, 1, 0), (42, 0, 0, 1), (4, 20, 0, 0)]
    assert len({chunk_noise(*key, shape).sum().item() for key in keys}) == len(keys)


def test_noise_is_standard_normal_and_leaves_the_global_generator_alone() -> None:
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    noise = chunk_noise(7, 0, 0, 0, (1, 16, 21, 10, 10))
    assert torch.equal(torch.rand(1), expected)
    assert abs(noise.mean()) < 0.02
    assert noise.std() == pytest.approx(1, abs=0.02)


@given(strength=st.floats(0, 1), num_steps=st.integers(1, 20), shift=st.floats(1, 8))
def test_sdedit_keeps_the_steps_after_the_nearest_sigma(strength: float, num_steps: int, shift: float) -> None:
    sigmas = make_sigmas(num_steps, shift)
    rest = sigmas_from(sigmas, strength)
    assert rest[0] == pytest.approx(strength)
    assert rest[-1] == 0
    assert (rest.diff() < 0).all()
    if len(rest) > 1:
        nearest = (sigmas[:-1] - strength).abs().argmin()
        assert torch.equal(rest[1:], sigmas[nearest + 1 :])


def test_sdedit_at_its_ends() -> None:
    sigmas = make_sigmas(4, 3.0)
    assert torch.equal(sigmas_from(sigmas, 1.0), sigmas)
    assert sigmas_from(sigmas, 0.0).tolist() == [0]


def test_one_step_with_the_true_velocity_reaches_the_source() -> None:
    source, noise = torch.randn(2, 3, 4).unbind()
    latents = add_noise(source, noise, 0.7)
    torch.testing.assert_close(euler_step(latents, noise - source, 0.7, 0), source)
    torch.testing.assert_close(velocity_from_sample(latents, source, 0.7), noise - source)


def test_forwards_that_a_scale_of_one_does_not_need() -> None:
    assert forwards_needed(1, 1) == (FULL,)
    assert forwards_needed(1, 2) == (FULL, NO_AUDIO)
    assert forwards_needed(5, 4) == (FULL, NO_TEXT, NEITHER)
    assert forwards_needed(5, 1) == (FULL, NO_TEXT)


@given(text=st.sampled_from([1.0, 3.0]), audio=st.sampled_from([1.0, 4.0]))
def test_guidance_is_the_published_formula(text: float, audio: float) -> None:
    generator = torch.Generator().manual_seed(0)
    every = {
        forward: torch.randn(2, 3, dtype=torch.float64, generator=generator)
        for forward in (FULL, NO_TEXT, NO_AUDIO, NEITHER)
    }
    ours = guide({forward: every[forward] for forward in forwards_needed(text, audio)}, text, audio)
    if math.isclose(text, 1):
        published = every[NO_AUDIO] + audio * (every[FULL] - every[NO_AUDIO])
    else:
        difference = every[FULL] - every[NO_TEXT]
        published = every[NEITHER] + text * difference + audio * (every[NO_TEXT] - every[NEITHER])
    torch.testing.assert_close(ours, published)


def test_guidance_of_one_is_the_full_forward() -> None:
    velocity = torch.randn(3)
    assert torch.equal(guide({FULL: velocity}, 1, 1), velocity)


def test_projection_removes_what_is_parallel() -> None:
    vector, direction = torch.randn(2, 50, dtype=torch.float64).unbind()
    rest = orthogonal_part(vector, direction)
    assert (rest * direction).sum().item() == pytest.approx(0, abs=1e-12)
    torch.testing.assert_close(orthogonal_part(direction, direction), torch.zeros(50, dtype=torch.float64))


def test_projected_guidance_limits_after_adding_momentum() -> None:
    along, across = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])
    projected = ProjectedGuidance(momentum=-0.5, norm_threshold=2.0)
    torch.testing.assert_close(projected.refine("audio", 3 * across, along), 2 * across)
    # The momentum remembers 3, not the limited 2: 4 - 0.5 * 3 = 2.5, limited to 2.
    torch.testing.assert_close(projected.refine("audio", 4 * across, along), 2 * across)
    torch.testing.assert_close(projected.running["audio"], 2.5 * across)
    torch.testing.assert_close(projected.refine("text", across, along), across)
