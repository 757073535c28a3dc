"""Conditional flow matching of nano: what the transformer sees, what it should say, and how wrong it is.

x_sigma = (1 - sigma) * clean + sigma * noise (paper, Section 3.1, with its time running the other way). The model
answers with the difference between the clean latents and the reference latent ("sample_residual"), so an untrained
model repeats the reference.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise

import torch
from torch import Tensor, nn

from infinitetalk_cli.models.sampling import NUM_TIMESTEPS, add_noise, euler_step, make_sigmas, velocity_from_sample
from infinitetalk_cli.train.chunks import Batch, ChunkSampler
from infinitetalk_cli.train.settings import FlowSettings, Phase

_SMALLEST_SIGMA = 0.4
"""Below it the weight of the loss no longer grows: a few steps of sampling never go there."""
_GRID_STEPS = 4


def condition_of(given_mask: Tensor, reference: Tensor, shape: tuple[int, ...]) -> Tensor:
    """(b, 1 + c, t, h, w): mask of the given latent frames, then the reference latent in every frame.

    The layout of `models.conditioning.repeat_condition`, with a mask of its own for every sample.
    """
    b, c, t, h, w = shape
    return torch.cat((given_mask.expand(b, 1, t, h, w), reference.expand(b, c, t, h, w)), dim=1)


def clean_estimate(model: nn.Module, batch: Batch, noisy: Tensor, sigma: Tensor, audio: Tensor) -> Tensor:
    """The model's idea of the clean latents (b, c, t, h, w) behind `noisy` at noise levels `sigma` (b,)."""
    noisy = torch.where(batch.given_mask.bool(), batch.given, noisy)
    output = model(
        noisy,
        sigma * NUM_TIMESTEPS,
        condition=condition_of(batch.given_mask, batch.reference, noisy.shape),
        audio=audio,
        return_dict=False,
    )[0]
    return output.float() + batch.reference


def predict_clean(model: nn.Module, batch: Batch, audio: Tensor) -> Tensor:
    """The same for the batch's own noise, with `audio` (b, f, 5, 1, channels)."""
    noisy = add_noise(batch.clean, batch.noise, batch.sigma.view(-1, 1, 1, 1, 1))
    return clean_estimate(model, batch, noisy, batch.sigma, audio)


def sample_weights(batch: Batch, mouth_weight: float) -> Tensor:
    """How much each latent counts, (b, 1, t, h, w): heavier at the mouth, given frames not at all."""
    return (1 + mouth_weight * batch.mouth) * (1 - batch.given_mask)


def loss_weight(batch: Batch, mouth_weight: float) -> Tensor:
    """What the error of a batch is divided by for its mean."""
    return sample_weights(batch, mouth_weight).sum() * batch.clean.shape[1]


def flow_error(model: nn.Module, batch: Batch, mouth_weight: float) -> Tensor:
    """Sum of weighted velocity errors times sigma, over the latent frames that are not given.

    The velocity error is the error of the clean latents over sigma; squared and times sigma, error^2 / sigma.
    """
    error = (predict_clean(model, batch, batch.audio) - batch.clean).square()
    by_sigma = 1 / batch.sigma.clamp(min=_SMALLEST_SIGMA).view(-1, 1, 1, 1, 1)
    return (error * sample_weights(batch, mouth_weight) * by_sigma).sum()


@torch.no_grad()
def audio_gain(model: nn.Module, batch: Batch, sigma: float = 0.8) -> float:
    """1 - mouth error with the right sound / with another clip's sound: the earliest sign of lip movement.

    The other sound is that of the next sample in the batch. Where no mouth is known, the whole picture counts.
    """
    batch = replace(batch, sigma=torch.full_like(batch.sigma, sigma))
    mouth = batch.mouth if batch.mouth.any() else torch.ones_like(batch.mouth)
    weight = mouth * (1 - batch.given_mask)
    errors = []
    for audio in (batch.audio, batch.audio.roll(1, dims=0)):
        error = (predict_clean(model, batch, audio) - batch.clean).square()
        errors.append(float((error * weight).sum()))
    return 1 - errors[0] / errors[1]


@torch.no_grad()
def generate_latents(model: nn.Module, batch: Batch, timestep_shift: float, num_steps: int = _GRID_STEPS) -> Tensor:
    """Clean latents (b, c, t, h, w) that the model makes of the batch's noise, in `num_steps` Euler steps."""
    latents = batch.noise
    for sigma, next_sigma in pairwise(make_sigmas(num_steps, timestep_shift, None).tolist()):
        level = latents.new_full((len(latents),), sigma)
        clean = clean_estimate(model, batch, latents, level, batch.audio)
        latents = euler_step(latents, velocity_from_sample(latents, clean, sigma), sigma, next_sigma)
    return torch.where(batch.given_mask.bool(), batch.given, latents)


class NanoTask:
    """What the trainer needs to know of nano: its batches by world, its loss, its figures.

    `samplers` have the clips of the phases' worlds (None: the main one); `held_out` is never trained on.
    """

    def __init__(
        self, samplers: Mapping[str | None, ChunkSampler], settings: FlowSettings, held_out: Batch | None = None
    ) -> None:
        self.samplers, self.settings, self.held_out = samplers, settings, held_out

    def batch(self, step: int, phase: Phase, part: int) -> Batch:
        """Part `part` of step `step`."""
        return self.samplers[phase.world].batch(step, phase, part)

    def weight(self, batch: Batch) -> Tensor:
        """See `loss_weight`."""
        return loss_weight(batch, self.settings.mouth_weight)

    def error(self, model: nn.Module, batch: Batch) -> Tensor:
        """See `flow_error`."""
        return flow_error(model, batch, self.settings.mouth_weight)

    def figures(self, model: nn.Module, device: torch.device) -> dict[str, float]:
        """What is measured at every checkpoint."""
        return {} if self.held_out is None else {"audio_gain": audio_gain(model, self.held_out.to(device))}

    def samples(self, model: nn.Module, device: torch.device, count: int) -> tuple[Batch, Tensor] | None:
        """`count` held-out chunks and the latents that the model makes instead of theirs."""
        if self.held_out is None:
            return None
        batch = Batch(**{name: value[:count] for name, value in vars(self.held_out.to(device)).items()})
        return batch, generate_latents(model, batch, self.settings.timestep_shift)


def held_out_batch(sampler: ChunkSampler, num_samples: int = 24, chunk_frames: int = 21) -> Batch:
    """Chunks for the figures: whole pictures that continue from context, all of them with sound."""
    return sampler.batch(0, Phase(num_steps=1, chunk_frames=chunk_frames, batch_size=num_samples))


def judging(settings: FlowSettings) -> FlowSettings:
    """`settings` as held-out chunks are drawn."""
    changes: dict[str, float] = dict.fromkeys(("audio_dropout", "first_chunk_share", "i2v_share", "fl2v_share"), 0.0)
    if settings.i2v_share + settings.fl2v_share == 1:  # a baseline is judged as what it is
        changes = {"audio_dropout": 0.0}
    return settings.model_copy(update=changes)


def flow_loss(model: nn.Module, batch: Batch, mouth_weight: float) -> Tensor:
    """The mean loss of one batch."""
    return flow_error(model, batch, mouth_weight) / loss_weight(batch, mouth_weight)
