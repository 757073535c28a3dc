"""The velocity of one chunk as a function of its latents: everything bound that stays the same from step to step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from infinitetalk_cli.models.camera_control import BoundControl, bind_control
from infinitetalk_cli.models.conditioning import KnownLatents, published_condition, repeat_condition
from infinitetalk_cli.models.dubbing_model import ChunkConditions, DubbingModel
from infinitetalk_cli.models.prepared import Attended, PreparedConditions
from infinitetalk_cli.models.sampling import NUM_TIMESTEPS, Forward, velocity_from_sample
from infinitetalk_cli.models.sampling_settings import SamplingSettings
from infinitetalk_cli.models.step_cache import BlockResiduals
from infinitetalk_cli.models.transformer import InfiniteTalkTransformer3DModel


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
        residuals=None if settings.step_cache is None else model.transformer.new_residuals(),
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


def steered_steps(conditions: ChunkConditions, settings: SamplingSettings, num_steps: int) -> list[bool]:
    """Whether the camera branch steers in each step."""
    if settings.control is None or conditions.control is None:
        return [False] * num_steps
    return settings.control.steers(num_steps)


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
