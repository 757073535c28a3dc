from __future__ import annotations

from infinitetalk_cli.config.profile import (
    ChunkProfile,
    ComputeProfile,
    GeometryProfile,
    PostProfile,
    SamplingProfile,
    StepCacheProfile,
)
from infinitetalk_cli.models.step_cache import POLYNOMIALS
from infinitetalk_cli.stages.generate_settings import GenerateSettings, sampling_settings


def settings(**changes: object) -> GenerateSettings:
    values = {
        "geometry": GeometryProfile(), "chunks": ChunkProfile(), "sampling": SamplingProfile(), "post": PostProfile(),
        "compute": ComputeProfile(), "start_s": 0,
    }  # fmt: skip
    return GenerateSettings.model_construct(**{**values, **changes})


def test_step_cache_is_off_unless_asked_for() -> None:
    assert sampling_settings(settings()).step_cache is None


def test_step_cache_gets_the_polynomial_of_its_name() -> None:
    profile = StepCacheProfile(threshold=0.3, polynomial="720", warmup_steps=2)
    cache = sampling_settings(settings(sampling=SamplingProfile(step_cache=profile))).step_cache
    assert (cache.threshold, cache.polynomial, cache.warmup_steps) == (0.3, POLYNOMIALS["720"], 2)


def test_batched_guidance_comes_from_the_compute_section() -> None:
    assert not sampling_settings(settings()).batch_guidance
    assert sampling_settings(settings(compute=ComputeProfile(batch_guidance=True))).batch_guidance
