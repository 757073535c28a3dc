"""What decides the generated pixels: picked from the job, and as the sampler takes it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import SerializerFunctionWrapHandler, model_serializer

from infinitetalk_cli.config.base import Settings
from infinitetalk_cli.config.camera import Uni3CProfile
from infinitetalk_cli.config.job import ExactSeconds, Job
from infinitetalk_cli.config.people import SpeakerBox
from infinitetalk_cli.config.profile import (
    ChunkProfile,
    ComputeProfile,
    GeometryProfile,
    PostProfile,
    QualityProfile,
    SamplingProfile,
)
from infinitetalk_cli.quality import faces

if TYPE_CHECKING:
    from infinitetalk_cli.models.sampling_settings import SamplingSettings
    from infinitetalk_cli.stages.planned_chunk import PlannedChunk


class GenerateSettings(Settings):
    """Everything that decides the generated pixels, besides the inputs and the model."""

    geometry: GeometryProfile
    chunks: ChunkProfile
    sampling: SamplingProfile
    post: PostProfile
    compute: ComputeProfile
    quality: QualityProfile
    finds_faces: bool
    """Whether the gate that looks at mouths can judge: what it finds decides which attempt is kept."""
    start_s: ExactSeconds
    uni3c: Uni3CProfile | None = None
    """How the camera branch steers chunks that follow the source; None: not at all."""

    @model_serializer(mode="wrap")
    def _only_what_counts(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Jobs without the branch are the same jobs as before there was one."""
        values = dump(self)
        return values if self.uni3c is not None else {key: value for key, value in values.items() if key != "uni3c"}


class TwoPeopleSettings(GenerateSettings):
    """The same for two people; `boxes` None: in the left and the right half."""

    boxes: tuple[SpeakerBox, SpeakerBox] | None


def generate_settings(job: Job) -> GenerateSettings:
    """The part of the job that the stage sees."""
    profile, sampling = job.profile, job.profile.sampling
    if not profile.model.reads_text:
        sampling = sampling.model_copy(update={"prompt": "", "negative_prompt": "", "text_guidance_scale": 1.0})
    settings = GenerateSettings(
        geometry=profile.geometry,
        chunks=profile.chunks,
        sampling=sampling,
        post=profile.post,
        compute=profile.compute,
        quality=profile.quality,
        finds_faces=profile.quality.gates and faces.is_installed(),
        start_s=job.clip.start_s,
        uni3c=profile.camera.uni3c if profile.steers_camera else None,
    )
    if job.people is None:
        return settings
    return TwoPeopleSettings(**dict(settings), boxes=job.people.boxes)


def sampling_settings(settings: GenerateSettings, chunk: PlannedChunk) -> SamplingSettings:
    """The profile's numbers as the sampler takes them for `chunk`, whose camera may be free."""
    from infinitetalk_cli.models.camera_control import ControlSettings
    from infinitetalk_cli.models.sampling_settings import ProjectionSettings, SamplingSettings
    from infinitetalk_cli.models.step_cache import POLYNOMIALS, StepCacheSettings

    sampling, cache = settings.sampling, settings.sampling.step_cache
    steering = settings.uni3c if chunk.follows_source else None
    control = None
    if steering is not None:
        strength = steering.strength if chunk.uni3c_strength is None else chunk.uni3c_strength
        control = ControlSettings(strength, steering.start, steering.end)
    return SamplingSettings(
        num_steps=sampling.num_steps,
        timestep_shift=sampling.timestep_shift,
        last_timestep=sampling.last_timestep,
        text_guidance_scale=sampling.text_guidance_scale,
        audio_guidance_scale=sampling.audio_guidance_scale,
        projection=sampling.apg and ProjectionSettings(sampling.apg.momentum, sampling.apg.norm_threshold),
        sdedit_t0=_start_sigma(sampling, chunk),
        color_strength=settings.post.color_match_strength,
        step_cache=cache and StepCacheSettings(cache.threshold, POLYNOMIALS[cache.polynomial], cache.warmup_steps),
        batch_guidance=settings.compute.batch_guidance,
        control=control,
    )


def _start_sigma(sampling: SamplingProfile, chunk: PlannedChunk) -> float:
    """The noise level at which denoising of `chunk` starts: less than 1 where it starts from the source."""
    if not chunk.follows_source:
        return 1.0
    return sampling.sdedit_t0 if chunk.sdedit_strength is None else 1 - chunk.sdedit_strength
