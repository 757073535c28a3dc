"""What `infinitetalk eval synthetic` is asked for, and the terms it works in: situations, methods, takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import sqrt
from typing import Literal, get_args

from pydantic import BaseModel, ConfigDict

from infinitetalk_cli.config.load import load_profile
from infinitetalk_cli.config.profile import Profile
from infinitetalk_cli.world.camera import STILL_CAMERA, CameraAmplitudes

ClaimName = Literal["lips", "drift", "seams", "camera", "ablation"]
CLAIMS: tuple[ClaimName, ...] = get_args(ClaimName)

MAIN = "main"
"""Name of the weights that are judged, among all those named."""

STRATEGIES = ("m0", "m1", "m2", "m3")
BASELINES = ("i2v", "fl2v")
KNOWN_MODELS = (*STRATEGIES, *BASELINES)

DEFAULT_CHUNKS: dict[ClaimName, int] = {"lips": 3, "drift": 10, "seams": 10, "camera": 3, "ablation": 10}
DEFAULT_CLIPS = 8
LOCK_STRENGTHS = (0.2, 0.3, 0.5, 0.7, 0.9)
UNI3C_STRENGTHS = (0.5, 1.0, 1.5, 2.0)
BOTH_STRENGTHS = (0.3, 0.5)
"""Of SDEdit, beside a camera branch at strength 1."""
SEAM_CONTEXTS = (1, 9)

_GRID_PX = 16


@dataclass(frozen=True)
class Situation:
    """How restless the clips are; `head_motion` and the amplitudes of the camera are 0 still .. 1 free."""

    name: str
    said: str
    head_motion: float
    camera: CameraAmplitudes = STILL_CAMERA


STILL = Situation("still", "heads nearly still", 0.03)
MODERATE = Situation("moderate", "moderate head motion", 0.25)
GENTLE = Situation("gentle", "gentle head and camera motion", 0.15, CameraAmplitudes(0.125, 0.125, 0.0625))
PANNING = Situation(
    "panning", "gentle head motion, a camera that pans and zooms", 0.15, CameraAmplitudes(0.5, 0.5, 0.0)
)
SITUATIONS = {situation.name: situation for situation in (STILL, MODERATE, GENTLE, PANNING)}


@dataclass(frozen=True)
class Method:
    """One way to dub: which weights, and what the profile says otherwise than usual.

    `cut_every`: the clip is treated as scenes of so many frames, so that chunks begin anew; None: as one scene.
    """

    name: str
    said: str
    weights: str = MAIN
    changes: tuple[tuple[str, str | float], ...] = ()
    cut_every: int | None = None


@dataclass(frozen=True)
class Take:
    """A method on every clip of a situation, `num_chunks` chunks long."""

    method: Method
    situation: Situation
    num_chunks: int


class EvalSettings(BaseModel):
    """What is measured. None: as the profile has it, or as the claim needs it (chunks)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    profile: str = "nano"
    num_clips: int = DEFAULT_CLIPS
    num_chunks: int | None = None
    num_steps: int | None = None
    audio_guidance_scale: float | None = None
    temporal_smoothing: float | None = None
    seed: int | None = None
    strengths: tuple[float, ...] = LOCK_STRENGTHS
    uni3c_strengths: tuple[float, ...] = UNI3C_STRENGTHS
    both_strengths: tuple[float, ...] = BOTH_STRENGTHS
    context_frames: tuple[int, ...] = SEAM_CONTEXTS

    def chunks_of(self, claim: ClaimName) -> int:
        """Chunks per clip."""
        return self.num_chunks or DEFAULT_CHUNKS[claim]

    def load_profile(self, changes: Mapping[str, object] | None = None) -> Profile:
        """The profile as asked for, with the `changes` of a method on top.

        Raises:
            ProfileError: the profile, or a change to it, is unusable.
        """
        asked = {
            "sampling.num_steps": self.num_steps,
            "sampling.audio_guidance_scale": self.audio_guidance_scale,
            "sampling.seed": self.seed,
            "post.temporal_smoothing": self.temporal_smoothing,
        }
        given = {key: value for key, value in asked.items() if value is not None}
        return load_profile(self.profile, {**given, **(changes or {})})


def picture_side(profile: Profile) -> int:
    """Pixels of the square pictures that hold what the profile generates, so that nothing is scaled."""
    return max(_GRID_PX, round(sqrt(profile.geometry.area_px) / _GRID_PX) * _GRID_PX)


def num_frames(profile: Profile, num_chunks: int) -> int:
    """Frames of a clip that takes `num_chunks` chunks."""
    chunks = profile.chunks
    return chunks.num_frames + (num_chunks - 1) * (chunks.num_frames - chunks.context_frames)
