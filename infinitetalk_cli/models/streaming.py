"""One chunk from noise to pixels: the loop that every model runs.

The caller plans chunks (`chunking.py`), gathers what each one needs and keeps the frames; see
`ChunkConditions`.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Protocol

import torch
from torch import Tensor

from infinitetalk_cli.models.codec import VideoCodec
from infinitetalk_cli.models.color import match_color
from infinitetalk_cli.models.conditioning import published_condition, repeat_condition
from infinitetalk_cli.models.prepared import Attended, PreparedConditions
from infinitetalk_cli.models.sampling import (
    NUM_TIMESTEPS,
    Forward,
    ProjectedGuidance,
    add_noise,
    euler_step,
    forwards_needed,
    guide,
    make_sigmas,
    sigmas_from,
    velocity_from_sample,
)
from infinitetalk_cli.models.step_cache import BlockResiduals, StepCacheSettings, decide_steps
from infinitetalk_cli.models.transformer import InfiniteTalkTransformer3DModel
from infinitetalk_cli.progress import Progress, SilentProgress

logger = logging.getLogger(__name__)


class ImageEncoder(Protocol):
    """Describes the reference frame for the image branch."""

    def __call__(self, pixels: Tensor) -> Tensor:
        """Tokens (b, n, d) of pixels (b, 3, 1, h, w) in [-1, 1]."""


class JobKeys:
    """What stays the same from chunk to chunk, so that its keys are made once: texts, and the sound of silence."""

    def __init__(self) -> None:
        self._texts: dict[bool, Attended] = {}
        self._silence: dict[tuple[int, ...], Attended] = {}

    def text(self, model: DubbingModel, with_prompt: bool) -> Attended:
        """The prompt, or the negative one."""
        if with_prompt not in self._texts:
            text = model.text if with_prompt else model.negative_text
            self._texts[with_prompt] = Attended(text.to(model.device))
        return self._texts[with_prompt]

    def silence(self, audio: Tensor) -> Attended:
        """One person's all-zero windows, of the shape of `audio` (p, f, ...)."""
        zeros = torch.zeros_like(audio[:1])
        return self._silence.setdefault(tuple(zeros.shape), Attended(zeros))


@dataclass(frozen=True, eq=False)
class DubbingModel:
    """A transformer with what it was trained with; None where it has no such branch.

    Its weights must not change any more. `dataclasses.replace` with another text begins with fresh keys.
    """

    transformer: InfiniteTalkTransformer3DModel
    codec: VideoCodec
    image_encoder: ImageEncoder | None = None
    text: Tensor | None = None
    """Embedding of the prompt, (1, n, d)."""
    negative_text: Tensor | None = None
    keys: JobKeys = field(default_factory=JobKeys, init=False, repr=False)

    @property
    def has_text(self) -> bool:
        """Whether the prompt is read at all."""
        return self.transformer.config.text_dim is not None

    @property
    def device(self) -> torch.device:
        """Where latents live, also while weights wait elsewhere."""
        return self.transformer.device


@dataclass(frozen=True)
class ProjectionSettings:
    """Adaptive projected guidance."""

    momentum: float = -0.75
    norm_threshold: float = 55.0


@dataclass(frozen=True)
class SamplingSettings:
    """How a chunk is denoised. Guidance scales of 1 are off; `sdedit_t0` of 1 starts from pure noise."""

    num_steps: int
    timestep_shift: float
    last_timestep: float | None = 1.0
    text_guidance_scale: float = 1.0
    audio_guidance_scale: float = 1.0
    projection: ProjectionSettings | None = None
    sdedit_t0: float = 1.0
    color_strength: float = 0.0
    step_cache: StepCacheSettings | None = None
    batch_guidance: bool = False
    """Evaluate the guidance branches of a step together where their shapes are equal."""
    first_frame_is_reference: bool = True
    """The first chunk of a scene begins with the reference frame itself (published), not its likeness."""

    def sigmas(self) -> Tensor:
        """Noise levels from the start of denoising to 0; their number less one is the number of steps."""
        return sigmas_from(make_sigmas(self.num_steps, self.timestep_shift, self.last_timestep), self.sdedit_t0)

    def forwards(self, has_text: bool) -> tuple[Forward, ...]:
        """Evaluations of the model in every step."""
        return forwards_needed(self.text_guidance_scale if has_text else 1.0, self.audio_guidance_scale)


@dataclass(frozen=True, eq=False)
class ChunkConditions:
    """What one chunk is made from. Pixels are (1, 3, t, h, w) in [-1, 1], at the size that is generated."""

    reference: Tensor
    """The reference frame, t = 1."""
    audio: Tensor
    """Windows (p, f, window, layers, channels) of the people who speak."""
    noise: Tensor
    """(1, latent channels, t_lat, h_lat, w_lat), standard normal."""
    context: Tensor | None = None
    """Last frames of the chunk before, as they were kept; None in the first chunk of a scene."""
    person_masks: Tensor | None = None
    """(3, h_lat, w_lat), see `conditioning.latent_masks`; read only for two people."""
    source: Tensor | None = None
    """The f source frames under this chunk; needed when `sdedit_t0` is below 1."""
    color_reference: Tensor | None = None
    """Frame whose colours are matched, t = 1; None: the reference frame."""


@torch.no_grad()
def generate_chunk(
    model: DubbingModel,
    conditions: ChunkConditions,
    settings: SamplingSettings,
    progress: Progress | None = None,
) -> Tensor:
    """Pixels (1, 3, f, h, w) in [-1, 1], float32 on the CPU, of one chunk, context frames included.

    `progress` advances once per step; there are `len(settings.sigmas()) - 1`.
    """
    pixels = model.codec.decode(denoise(model, conditions, settings, progress or SilentProgress())).float()
    target = conditions.reference if conditions.color_reference is None else conditions.color_reference
    return match_color(pixels, target.to(pixels.device), settings.color_strength).cpu()


@torch.no_grad()
def denoise(model: DubbingModel, conditions: ChunkConditions, settings: SamplingSettings, progress: Progress) -> Tensor:
    """Clean latents (1, c, t_lat, h_lat, w_lat), float32, of one chunk.

    Known latent frames (context, or the reference in a first chunk) are clean at every step and in the
    result.
    """
    forwards = settings.forwards(model.has_text)
    velocity_model, clean = bind_conditions(model, conditions, settings, forwards)
    num_clean = 0 if clean is None else clean.shape[2]
    projected = None
    if settings.projection is not None:
        projected = ProjectedGuidance(settings.projection.momentum, settings.projection.norm_threshold)
    sigmas = settings.sigmas().tolist()
    steps = running_steps(model.transformer, sigmas[:-1], settings.step_cache)
    latents = start_latents(model, conditions, sigmas[0])
    if num_clean:
        latents[:, :, :num_clean] = clean
    for index, (sigma, next_sigma) in enumerate(pairwise(sigmas)):
        velocities = dict(zip(forwards, velocity_model(latents, sigma, reuse=not steps[index]), strict=True))
        velocity = guide(velocities, settings.text_guidance_scale, settings.audio_guidance_scale, projected)
        latents = euler_step(latents, velocity, sigma, next_sigma)
        if num_clean:
            latents[:, :, :num_clean] = clean
        if settings.step_cache is not None:
            progress.detail(f"{steps[: index + 1].count(False) * len(forwards)} forwards skipped")
        progress.advance()
    if settings.step_cache is not None:
        skipped, every = steps.count(False) * len(forwards), len(steps) * len(forwards)
        logger.info("step cache: the blocks were skipped in %d of %d forwards", skipped, every)
    return latents


def running_steps(
    transformer: InfiniteTalkTransformer3DModel, sigmas: Sequence[float], settings: StepCacheSettings | None
) -> list[bool]:
    """Whether the blocks run in each step; decided before the first one, so that no step waits for the device."""
    if settings is None or not sigmas:
        return [True] * len(sigmas)
    timesteps = NUM_TIMESTEPS * torch.tensor(sigmas)
    return [decision.runs for decision in decide_steps(transformer.modulations(timesteps), settings)]


def start_latents(model: DubbingModel, conditions: ChunkConditions, sigma: float) -> Tensor:
    """Latents at noise level `sigma`, where denoising starts: pure noise, or the noisy source (SDEdit)."""
    noise = conditions.noise.to(model.device)
    if sigma == 1:
        return noise.clone()
    if conditions.source is None:
        raise ValueError("sdedit_t0 below 1 starts from the source frames, and there are none")
    return add_noise(model.codec.encode(conditions.source.to(model.device)), noise, sigma)


@dataclass(frozen=True, eq=False)
class VelocityModel:
    """The transformer with everything bound that is constant within a chunk."""

    transformer: InfiniteTalkTransformer3DModel
    condition: Tensor
    reference_latents: Tensor
    person_masks: Tensor | None
    prepared: tuple[PreparedConditions, ...]
    """Of every evaluation in a step."""
    batch_branches: bool
    residuals: BlockResiduals | None

    def __call__(self, latents: Tensor, sigma: float, reuse: bool = False) -> Tensor:
        """Velocities (k, c, t, h, w) of `latents` (1, c, t, h, w) at noise level `sigma`, one per evaluation.

        Whatever the transformer predicts. With `reuse` the blocks are skipped (step caching).
        """
        output = self.transformer(
            latents,
            latents.new_full((1,), NUM_TIMESTEPS * sigma),
            condition=self.condition,
            person_masks=self.person_masks,
            prepared=self.prepared,
            batch_branches=self.batch_branches,
            residuals=self.residuals,
            reuse_residuals=reuse,
        ).sample
        if self.transformer.config.prediction_type == "velocity":
            return output
        return velocity_from_sample(latents, output + self.reference_latents, sigma)


def bind_conditions(
    model: DubbingModel, conditions: ChunkConditions, settings: SamplingSettings, forwards: Sequence[Forward]
) -> tuple[VelocityModel, Tensor | None]:
    """The velocity of this chunk as a function, and its known latent frames (1, c, k, ...) if any."""
    layout, num_latent_frames = model.transformer.condition_layout, conditions.noise.shape[2]
    num_padding = conditions.audio.shape[1] - 1 if layout == "published" else 0
    padded_latents = encode_reference(model, conditions.reference, num_padding)
    # The codec is causal: this is the latent of the reference frame alone.
    reference_latents = padded_latents[:, :, :1]
    clean = reference_latents if settings.first_frame_is_reference else None
    if conditions.context is not None:
        clean = model.codec.encode(conditions.context.to(model.device))
    if layout == "published":
        condition = published_condition(padded_latents, model.codec.temporal_stride)
    else:
        condition = repeat_condition(reference_latents, 0 if clean is None else clean.shape[2], num_latent_frames)
    masks = conditions.person_masks
    velocity_model = VelocityModel(
        transformer=model.transformer,
        condition=condition,
        reference_latents=reference_latents,
        person_masks=None if masks is None else masks.to(model.device),
        prepared=prepare_forwards(model, conditions, forwards),
        batch_branches=settings.batch_guidance,
        residuals=None if settings.step_cache is None else BlockResiduals(),
    )
    return velocity_model, clean


def encode_reference(model: DubbingModel, reference: Tensor, num_padding: int) -> Tensor:
    """Latents of the reference frame (1, 3, 1, h, w) followed by `num_padding` grey frames."""
    reference = reference.to(model.device)
    grey = torch.zeros_like(reference).expand(-1, -1, num_padding, -1, -1)
    return model.codec.encode(torch.cat((reference, grey), dim=2))


def prepare_forwards(
    model: DubbingModel, conditions: ChunkConditions, forwards: Sequence[Forward]
) -> tuple[PreparedConditions, ...]:
    """Conditions of every evaluation in a step; those that agree in text or sound share its keys and values.

    Without sound means one person's all-zero windows: also for two people, as published.
    """
    image = None
    if model.transformer.config.image_dim is not None:
        image = Attended(model.image_encoder(conditions.reference.to(model.device)))
    audio = conditions.audio.to(model.device)
    sound = Attended(audio)
    return tuple(
        PreparedConditions(
            text=model.keys.text(model, forward.text) if model.has_text else None,
            image=image,
            audio=sound if forward.audio else model.keys.silence(audio),
            num_people=audio.shape[0] if forward.audio else 1,
        )
        for forward in forwards
    )
