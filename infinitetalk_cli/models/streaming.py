"""One chunk from noise to pixels: the loop that every model runs.

The caller plans chunks (`chunking.py`), gathers what each one needs and keeps the frames; see
`ChunkConditions`.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from functools import cache
from itertools import pairwise

import torch
from torch import Tensor

from infinitetalk_cli.models.camera_control import switches
from infinitetalk_cli.models.color import match_color
from infinitetalk_cli.models.dubbing_model import ChunkConditions, DubbingModel
from infinitetalk_cli.models.sampler_state import KeepsNothing, SamplerState, StateKeeper, conditions_key, state_of
from infinitetalk_cli.models.sampling import NUM_TIMESTEPS, ProjectedGuidance, add_noise, euler_step, guide
from infinitetalk_cli.models.sampling_settings import ProjectionSettings, SamplingSettings
from infinitetalk_cli.models.step_cache import StepCacheSettings, decide_steps
from infinitetalk_cli.models.transformer import InfiniteTalkTransformer3DModel
from infinitetalk_cli.models.velocity import bind_conditions, steered_steps
from infinitetalk_cli.progress import Progress, SilentProgress

logger = logging.getLogger(__name__)


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
