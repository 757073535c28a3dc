"""How a chunk is denoised, as numbers."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from infinitetalk_cli.models.camera_control import ControlSettings
from infinitetalk_cli.models.sampling import Forward, forwards_needed, make_sigmas, sigmas_from
from infinitetalk_cli.models.step_cache import StepCacheSettings


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
    control: ControlSettings | None = None
    """How the camera branch steers chunks that have something for it to look at; None: not at all."""

    def sigmas(self) -> Tensor:
        """Noise levels from the start of denoising to 0; their number less one is the number of steps."""
        return sigmas_from(make_sigmas(self.num_steps, self.timestep_shift, self.last_timestep), self.sdedit_t0)

    def forwards(self, has_text: bool) -> tuple[Forward, ...]:
        """Evaluations of the model in every step."""
        return forwards_needed(self.text_guidance_scale if has_text else 1.0, self.audio_guidance_scale)
