"""Where a training stands: by steps, or by the clock where it has so many hours."""

from __future__ import annotations

import math
from dataclasses import dataclass

from infinitetalk_cli.models.nano_codec import TEMPORAL_STRIDE
from infinitetalk_cli.train.settings import OptimizerSettings, Phase

_LAST_RATE_SHARE = 0.02
_WHOLE_PICTURE_LATENTS = 12
"""Side that a whole picture is taken to have when the work of phases is compared: 96 pixels."""


@dataclass(frozen=True)
class Place:
    """One step: its phase, and the share of the training that lies before it; from 1 on there is nothing to do."""

    phase: Phase
    share: float

    @property
    def is_over(self) -> bool:
        """Whether the training has ended."""
        return self.share >= 1


def place_at(settings: OptimizerSettings, step: int, seconds: float) -> Place:
    """Where `step` (from 0) stands, `seconds` after the training began (of all its runs together).

    With `hours` the clock decides, and each phase gets the part of the time that its work is of the whole; else the
    number of steps does.
    """
    phases = settings.phases
    if settings.hours is None:
        position, sizes = float(step), [float(phase.num_steps) for phase in phases]
    else:
        sizes = [_work(phase) for phase in phases]
        position = seconds / (3600 * settings.hours) * sum(sizes)
    share = position / sum(sizes)
    for phase, size in zip(phases, sizes, strict=True):
        if position < size:
            return Place(phase, share)
        position -= size
    return Place(phases[-1], max(share, 1.0))


def learning_rate(settings: OptimizerSettings, step: int, share: float) -> float:
    """Linear warm-up over `warmup_steps`, then half a cosine down to 2 %, which `share` runs along."""
    if step < settings.warmup_steps:
        return settings.learning_rate * (step + 1) / settings.warmup_steps
    if settings.hours is None:  # exactly from the end of the warm-up
        share = (step - settings.warmup_steps) / max(1, settings.num_steps - settings.warmup_steps)
    cosine = 0.5 * (1 + math.cos(math.pi * min(share, 1.0)))
    return settings.learning_rate * (_LAST_RATE_SHARE + (1 - _LAST_RATE_SHARE) * cosine)


def _work(phase: Phase) -> float:
    """About how much a phase computes: its samples times their latents."""
    side = phase.crop_latents or _WHOLE_PICTURE_LATENTS
    return phase.num_steps * phase.batch_size * (1 + (phase.chunk_frames - 1) / TEMPORAL_STRIDE) * side**2
