"""One chunk from noise to pixels: the loop that every model runs.

The caller plans chunks (`chunking.py`), gathers what each one needs and keeps the frames; see
`ChunkConditions`.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise
from typing import Protocol

import torch
from torch import Tensor

from infinitetalk_cli.models.camera_control import BoundControl, ControlVideo, bind_control, switches
from infinitetalk_cli.models.codec import VideoCodec
from infinitetalk_cli.models.color import match_color
from infinitetalk_cli.models.conditioning import KnownLatents, published_condition, repeat_condition
from infinitetalk_cli.models.prepared import Attended, PreparedConditions
from infinitetalk_cli.models.sampler_state import KeepsNothing, SamplerState, StateKeeper, conditions_key, state_of
from infinitetalk_cli.models.sampling import (
    NUM_TIMESTEPS,
    Forward,
    ProjectedGuidance,
    add_noise,
    euler_step,
    guide,
    velocity_from_sample,
)
from infinitetalk_cli.models.sampling_settings import ProjectionSettings, SamplingSettings
from infinitetalk_cli.models.step_cache import BlockResiduals, StepCacheSettings, decide_steps
from infinitetalk_cli.models.transformer import InfiniteTalkTransformer3DModel
from infinitetalk_cli.models.uni3c import Uni3CControlNet
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
        self._silence: tuple[tuple[int, ...], Attended] | None = None

    def text(self, model: DubbingModel, with_prompt: bool) -> Attended:
        """The prompt, or the negative one."""
        if with_prompt not in self._texts:
            text = model.text if with_prompt else model.negative_text
            self._texts[with_prompt] = Attended(text.to(model.device))
        return self._texts[with_prompt]

    def silence(self, audio: Tensor) -> Attended:
        """One person's all-zero windows, of the shape of `audio` (p, f, ...).

        Only those of the last shape are kept: where last chunks are fitted a film has many, and each takes memory.
        """
        shape = tuple(audio[:1].shape)
        if self._silence is None or self._silence[0] != shape:
            self._silence = (shape, Attended(torch.zeros_like(audio[:1])))
        return self._silence[1]


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
    control: Uni3CControlNet | None = None
    """The camera branch, where a job steers by it."""
    keys: JobKeys = field(default_factory=JobKeys, init=False, repr=False)

    @property
    def has_text(self) -> bool:
        """Whether the prompt is read at all."""
        return self.transformer.config.text_dim is not None

    @property
    def device(self) -> torch.device:
        """Where latents live, also while weights wait elsewhere."""
        return self.transformer.device


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
    ending: Tensor | None = None
    """Source frames up to the chunk's last one, t = 1 + whole groups, whose last group the chunk must end with; None
    leaves its end free."""
    source: Tensor | None = None
    """The f source frames under this chunk; needed when `sdedit_t0` is below 1."""
    color_reference: Tensor | None = None
    """Frame whose colours are matched, t = 1; None: the reference frame."""
    control: ControlVideo | None = None
    """What the camera branch looks at, frame for frame beside this chunk; None: it does not steer it."""


@torch.no_grad()
def generate_chunk(
    model: DubbingModel,
    conditions: ChunkConditions,
    settings: SamplingSettings,
    progress: Progress | None = None,
    keeper: StateKeeper | None = None,
) -> Tensor:
    """Pixels (1, 3, f, h, w) in [-1, 1], float32 on the CPU, of one chunk, context frames included.

    `progress` advances by `len(settings.sigmas()) - 1`, once per step. What `keeper` kept of an interrupted run is
    gone on from, to the same pixels.
    """
    latents = denoise(model, conditions, settings, progress or SilentProgress(), keeper or KeepsNothing())
    pixels = model.codec.decode(latents).float()
    target = conditions.reference if conditions.color_reference is None else conditions.color_reference
    return match_color(pixels, target.to(pixels.device), settings.color_strength).cpu()


@torch.no_grad()
def denoise(
    model: DubbingModel,
    conditions: ChunkConditions,
    settings: SamplingSettings,
    progress: Progress,
    keeper: StateKeeper,
) -> Tensor:
    """Clean latents (1, c, t_lat, h_lat, w_lat), float32, of one chunk.

    Known latent frames (context, or the reference in a first chunk; a pinned end) are clean at every step and in the
    result. `keeper` is asked where to begin, and offered the state after every step.
    """
    sigmas = settings.sigmas().tolist()
    steered = steered_steps(conditions, settings, len(sigmas) - 1)
    runs = running_steps(model.transformer, sigmas[:-1], settings.step_cache, switches(steered))
    key = cache(lambda: conditions_key(conditions, settings, runs))
    state = keeper.kept(key)
    if state is not None:
        progress.advance(state.num_done)
        if state.num_done == len(runs):
            return state.latents.to(model.device)
    forwards = settings.forwards(model.has_text)
    velocity_model, known = bind_conditions(model, conditions, settings, forwards)
    residuals, projected = velocity_model.residuals, projected_guidance(settings.projection)
    if state is None:
        state = SamplerState(0, start_latents(model, conditions, sigmas[0]))
        known.put_into(state.latents)
    first, latents = state.num_done, state.resume(model.device, projected, residuals)
    del state  # its tensors wait for nobody
    for index, (sigma, next_sigma) in enumerate(pairwise(sigmas[first:]), first):
        evaluated = velocity_model(latents, sigma, reuse=not runs[index], steered=steered[index])
        velocities = dict(zip(forwards, evaluated, strict=True))
        velocity = guide(velocities, settings.text_guidance_scale, settings.audio_guidance_scale, projected)
        latents = euler_step(latents, velocity, sigma, next_sigma)
        known.put_into(latents)
        if settings.step_cache is not None:
            progress.detail(f"{runs[: index + 1].count(False) * len(forwards)} forwards skipped")
        progress.advance()
        keeper.offer(key, state_of(index + 1, runs, latents, projected, residuals))
    if settings.step_cache is not None:
        skipped, every = runs.count(False) * len(forwards), len(runs) * len(forwards)
        logger.info("step cache: the blocks were skipped in %d of %d forwards", skipped, every)
    return latents


def projected_guidance(settings: ProjectionSettings | None) -> ProjectedGuidance | None:
    """Fresh buffers for one chunk."""
    return None if settings is None else ProjectedGuidance(settings.momentum, settings.norm_threshold)


def steered_steps(conditions: ChunkConditions, settings: SamplingSettings, num_steps: int) -> list[bool]:
    """Whether the camera branch steers in each step."""
    if settings.control is None or conditions.control is None:
        return [False] * num_steps
    return settings.control.steers(num_steps)


def running_steps(
    transformer: InfiniteTalkTransformer3DModel,
    sigmas: Sequence[float],
    settings: StepCacheSettings | None,
    forced: Collection[int] = (),
) -> list[bool]:
    """Whether the blocks run in each step; decided before the first one, so that no step waits for the device.

    They run in the steps `forced` at any rate.
    """
    if settings is None or not sigmas:
        return [True] * len(sigmas)
    timesteps = NUM_TIMESTEPS * torch.tensor(sigmas)
    return [decision.runs for decision in decide_steps(transformer.modulations(timesteps), settings, forced)]


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
    control: BoundControl | None = None

    def __call__(self, latents: Tensor, sigma: float, reuse: bool = False, steered: bool = True) -> Tensor:
        """Velocities (k, c, t, h, w) of `latents` (1, c, t, h, w) at noise level `sigma`, one per evaluation.

        Whatever the transformer predicts. With `reuse` the blocks are skipped (step caching); unless `steered` the
        camera branch is.
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
            control=self.control if steered else None,
        ).sample
        if self.transformer.config.prediction_type == "velocity":
            return output
        return velocity_from_sample(latents, output + self.reference_latents, sigma)


def bind_conditions(
    model: DubbingModel, conditions: ChunkConditions, settings: SamplingSettings, forwards: Sequence[Forward]
) -> tuple[VelocityModel, KnownLatents]:
    """The velocity of this chunk as a function, and its known latent frames."""
    layout, num_latent_frames = model.transformer.condition_layout, conditions.noise.shape[2]
    pins_end = conditions.ending is not None
    last_frame = conditions.ending[:, :, -1:] if pins_end else None
    num_padding = conditions.audio.shape[1] - 1 if layout == "published" else 0
    padded_latents = encode_reference(model, conditions.reference, num_padding, last_frame)
    # The codec is causal: this is the latent of the reference frame alone.
    reference_latents = padded_latents[:, :, :1]
    clean = reference_latents if settings.first_frame_is_reference else None
    if conditions.context is not None:
        clean = model.codec.encode(conditions.context.to(model.device))
    if layout == "published":
        condition = published_condition(padded_latents, model.codec.temporal_stride, pins_end)
    else:
        num_clean = 0 if clean is None else clean.shape[2]
        condition = repeat_condition(reference_latents, num_clean, num_latent_frames, pins_end)
    end = model.codec.encode(conditions.ending.to(model.device))[:, :, -1:] if pins_end else None
    masks = conditions.person_masks
    velocity_model = VelocityModel(
        transformer=model.transformer,
        condition=condition,
        reference_latents=reference_latents,
        person_masks=None if masks is None else masks.to(model.device),
        prepared=prepare_forwards(model, conditions, forwards),
        batch_branches=settings.batch_guidance,
        residuals=None if settings.step_cache is None else BlockResiduals(),
        control=bound_control(model, conditions, settings, condition),
    )
    return velocity_model, KnownLatents(clean, end)


def bound_control(
    model: DubbingModel, conditions: ChunkConditions, settings: SamplingSettings, condition: Tensor
) -> BoundControl | None:
    """The camera branch for this chunk, whose condition channels are `condition`; None where it never steers."""
    if not any(steered_steps(conditions, settings, len(settings.sigmas()) - 1)):
        return None
    if model.control is None:
        raise ValueError("the camera branch is to steer, and the model has none")
    strength = settings.control.strength
    return bind_control(model.control, conditions.control, condition, model.codec, strength, model.device)


def encode_reference(
    model: DubbingModel, reference: Tensor, num_padding: int, last_frame: Tensor | None = None
) -> Tensor:
    """Latents of the reference frame (1, 3, 1, h, w) followed by `num_padding` frames: grey, but for a `last_frame`."""
    reference = reference.to(model.device)
    padding = torch.zeros_like(reference).expand(-1, -1, num_padding, -1, -1)
    if num_padding and last_frame is not None:
        padding = torch.cat((padding[:, :, 1:], last_frame.to(model.device)), dim=2)
    return model.codec.encode(torch.cat((reference, padding), dim=2))


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
