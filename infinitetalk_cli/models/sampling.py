"""Noise, schedule, guidance and the Euler step, as functions of tensors.

A velocity points from data to noise: `noise - clean`. Sigma is the noise level after the shift, 1 pure noise;
the timestep given to the model is `1000 * sigma`.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

NUM_TIMESTEPS = 1000


def make_sigmas(num_steps: int, shift: float, last_timestep: float | None = 1.0) -> Tensor:
    """Noise levels (num_steps + 1,), float32, falling from 1 to 0, warped by `shift` towards high noise.

    Before the shift they are even from 1000 to `last_timestep` with a 0 appended (published: 1), or even from
    1000 all the way to 0 if `last_timestep` is None.
    """
    if last_timestep is None:
        timesteps = torch.linspace(NUM_TIMESTEPS, 0, num_steps + 1)
    else:
        timesteps = torch.cat((torch.linspace(NUM_TIMESTEPS, last_timestep, num_steps), torch.zeros(1)))
    even = timesteps / NUM_TIMESTEPS
    return shift * even / (1 + (shift - 1) * even)


def sigmas_from(sigmas: Tensor, sdedit_t0: float) -> Tensor:
    """The part of a schedule that is left when denoising starts at noise level `sdedit_t0`.

    The start replaces the sigma nearest to it, so the number of remaining steps is the one counted from
    there. 1 leaves all steps; 0 leaves `[0.]`, no step at all.
    """
    first = sigmas.new_tensor([sdedit_t0])
    if first == 0:
        return sigmas[-1:]
    nearest = int((sigmas[:-1] - first).abs().argmin())
    return torch.cat((first, sigmas[nearest + 1 :]))


def chunk_noise(seed: int, scene: int, chunk: int, attempt: int, shape: tuple[int, ...]) -> Tensor:
    """Standard normal noise of one chunk, float32 on the CPU; the same whenever and wherever it runs."""
    key = f"infinitetalk noise {seed} {scene} {chunk} {attempt}".encode()
    generator_seed = int.from_bytes(hashlib.sha256(key).digest()[:8], "big", signed=True)
    return torch.randn(shape, generator=torch.Generator("cpu").manual_seed(generator_seed), dtype=torch.float32)


def add_noise(source: Tensor, noise: Tensor, sigma: float | Tensor) -> Tensor:
    """`source` at noise level `sigma`."""
    return (1 - sigma) * source + sigma * noise


def euler_step(latents: Tensor, velocity: Tensor, sigma: float | Tensor, next_sigma: float | Tensor) -> Tensor:
    """Latents carried from `sigma` to the lower `next_sigma`."""
    return latents - velocity * (sigma - next_sigma)


def velocity_from_sample(latents: Tensor, sample: Tensor, sigma: float | Tensor) -> Tensor:
    """Velocity at `latents` (noise level `sigma` > 0) that leads to the clean `sample`."""
    return (latents - sample) / sigma


class Forward(NamedTuple):
    """One evaluation of the model: with the prompt or the negative one, with the sound or zero sound."""

    text: bool
    audio: bool


FULL = Forward(text=True, audio=True)


def forwards_needed(text_scale: float, audio_scale: float) -> tuple[Forward, ...]:
    """The evaluations that guidance with these scales reads; a scale of 1 needs no comparison."""
    with_text, with_audio = not math.isclose(text_scale, 1), not math.isclose(audio_scale, 1)
    forwards = [FULL]
    if with_text:
        forwards.append(Forward(text=False, audio=True))
    if with_audio:
        forwards.append(Forward(text=not with_text, audio=False))
    return tuple(forwards)


@dataclass
class ProjectedGuidance:
    """Adaptive projected guidance: differences gain momentum, get a limit, lose what is not new.

    Keeps one running difference per condition, so make a new one for every chunk.
    """

    momentum: float
    norm_threshold: float
    running: dict[str, Tensor] = field(default_factory=dict)

    def refine(self, name: str, difference: Tensor, full: Tensor) -> Tensor:
        """`difference` of the condition `name`, refined. The momentum keeps its unlimited value."""
        if name in self.running:
            difference = difference + self.momentum * self.running[name]
        self.running[name] = difference
        limited = difference * (self.norm_threshold / difference.norm()).clamp(max=1)
        return orthogonal_part(limited, full)


def orthogonal_part(vector: Tensor, direction: Tensor) -> Tensor:
    """`vector` without its component along `direction`, both taken as flat vectors; float64 inside."""
    vector64, direction64 = vector.double(), direction.double()
    along = (vector64 * direction64).sum() / (direction64 * direction64).sum()
    return (vector64 - along * direction64).to(vector.dtype)


def guide(
    velocities: Mapping[Forward, Tensor],
    text_scale: float,
    audio_scale: float,
    projected: ProjectedGuidance | None = None,
) -> Tensor:
    """The guided velocity from the evaluations that `forwards_needed` names.

    `full + (text_scale - 1) * text difference + (audio_scale - 1) * audio difference`. The audio difference
    is taken without the prompt when the prompt is guided too; this equals the published `u + text_scale (c -
    n) + audio_scale (n - u)`.
    """
    guided = full = velocities[FULL]
    compared = full
    for name, scale, forward in (
        ("text", text_scale, Forward(text=False, audio=True)),
        ("audio", audio_scale, Forward(text=Forward(False, True) not in velocities, audio=False)),
    ):
        if forward not in velocities:
            continue
        difference = compared - velocities[forward]
        compared = velocities[forward]
        if projected is not None:
            difference = projected.refine(name, difference, full)
        guided = guided + (scale - 1) * difference
    return guided
