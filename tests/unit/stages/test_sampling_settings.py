from __future__ import annotations

from fractions import Fraction

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
from infinitetalk_cli.stages.planned_chunk import PlannedChunk


def settings(**changes: object) -> GenerateSettings:
    values = {
        "geometry": GeometryProfile(), "chunks": ChunkProfile(), "sampling": SamplingProfile(), "post": PostProfile(),
        "compute": ComputeProfile(), "start_s": 0,
    }  # fmt: skip
    return GenerateSettings.model_construct(**{**values, **changes})


CHUNK = PlannedChunk(
    index=0, scene=0, index_in_scene=0, start_frame=0, num_frames=81, new_start=0, new_stop=81, reference_index=0,
    reference_time_s=Fraction(0),
)  # fmt: skip


def test_step_cache_is_off_unless_asked_for() -> None:
    assert sampling_settings(settings(), CHUNK).step_cache is None


def test_a_chunk_with_a_free_camera_starts_from_noise() -> None:
    locked = settings(sampling=SamplingProfile(sdedit_t0=0.6))
    assert sampling_settings(locked, CHUNK).sdedit_t0 == 0.6
    assert sampling_settings(locked, CHUNK.model_copy(update={"follows_source": False})).sdedit_t0 == 1.0


def test_step_cache_gets_the_polynomial_of_its_name() -> None:
    profile = StepCacheProfile(threshold=0.3, polynomial="720", warmup_steps=2)
    cache = sampling_settings(settings(sampling=SamplingProfile(step_cache=profile)), CHUNK).step_cache
    assert (cache.threshold, cache.polynomial, cache.warmup_steps) == (0.3, POLYNOMIALS["720"], 2)


def test_batched_guidance_comes_from_the_compute_section() -> None:
    assert not sampling_settings(settings(), CHUNK).batch_guidance
    assert sampling_settings(settings(compute=ComputeProfile(batch_guidance=True)), CHUNK).batch_guidance
