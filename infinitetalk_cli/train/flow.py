"""Conditional flow matching: what the transformer sees, what it should say, and how wrong it is.

x_sigma = (1 - sigma) * clean + sigma * noise. The model answers with the difference between the clean latents
and the reference latent ("sample_residual"), so an untrained model repeats the reference.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from infinitetalk_cli.train.latents import Batch

_SMALLEST_SIGMA = 0.4
"""Below it the weight of the loss no longer grows: a few steps of sampling never go there."""


def condition_of(context_mask: Tensor, reference: Tensor, shape: tuple[int, ...]) -> Tensor:
    """(b, 1 + c, t, h, w): mask of the given latent frames, then the reference latent in every frame."""
    b, c, t, h, w = shape
    return torch.cat((context_mask.expand(b, 1, t, h, w), reference.expand(b, c, t, h, w)), dim=1)


def predict_clean(model: nn.Module, batch: Batch, audio: Tensor) -> Tensor:
    """The model's idea of the clean latents (b, c, t, h, w), with `audio` (b, f, 5, 1, channels)."""
    sigma = batch.sigma.view(-1, 1, 1, 1, 1)
    noisy = (1 - sigma) * batch.clean + sigma * batch.noise
    noisy = torch.where(batch.context_mask.bool(), batch.given, noisy)
    output = model(
        noisy,
        batch.sigma * 1000,
        condition=condition_of(batch.context_mask, batch.reference, noisy.shape),
        audio=audio,
        return_dict=False,
    )[0]
    return output.float() + batch.reference


def flow_loss(model: nn.Module, batch: Batch, mouth_weight: float) -> Tensor:
    """Velocity error times sigma, over the latent frames that are not given, heavier at the mouth.

    The velocity error is the error of the clean latents over sigma; squared and times sigma, error^2 / sigma.
    """
    error = (predict_clean(model, batch, batch.audio) - batch.clean).square()
    by_sigma = 1 / batch.sigma.clamp(min=_SMALLEST_SIGMA).view(-1, 1, 1, 1, 1)
    weight = (1 + mouth_weight * batch.mouth) * (1 - batch.context_mask)
    return (error * weight * by_sigma).sum() / (weight.sum() * batch.clean.shape[1])


@torch.no_grad()
def audio_gain(model: nn.Module, batch: Batch, sigma: float = 0.8) -> float:
    """1 - mouth error with the right sound / with another clip's sound: the earliest sign of lip movement.

    The other sound is that of the next sample in the batch.
    """
    level = torch.full_like(batch.sigma, sigma)
    batch = Batch(**{**vars(batch), "sigma": level})
    weight = batch.mouth * (1 - batch.context_mask)
    errors = []
    for audio in (batch.audio, batch.audio.roll(1, dims=0)):
        error = (predict_clean(model, batch, audio) - batch.clean).square()
        errors.append(float((error * weight).sum()))
    return 1 - errors[0] / errors[1]
