"""What changes pixels: the settings of a job, as frozen models that check themselves.

Each section is what one stage sees, so its place decides what is computed again when a value changes:
`audio` concerns the embedding of the speech, `chunks`, `speech` and `camera` the plan over the timeline, `geometry`,
`sampling`, `post` and `compute` the generated pixels. Class defaults are the published numbers (the public command
line's, at its "480" size); a profile of another model states its own. Compatibility settings reproduce a published
behaviour that we consider a flaw; they are named as such, and never the default.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from infinitetalk_cli.config.base import Settings, Share
from infinitetalk_cli.config.camera import CameraProfile
from infinitetalk_cli.config.model import ModelProfile

GuidanceScale = Annotated[float, Field(ge=0.0, le=100.0)]


class GeometryProfile(Settings):
    """Size of the generated picture.

    `fit` "keep" keeps the source's aspect ratio at about `area_px`, both sides multiples of `multiple_px`.
    The two bucket values are for compatibility: the published size tables with their centre crop; they ignore
    `area_px` and `multiple_px`.
    """

    area_px: int = Field(default=640 * 640, ge=32 * 32, le=8192 * 8192)
    multiple_px: int = Field(default=8 * 2, ge=1, le=256)  # stride of the VAE times the patch
    fit: Literal["keep", "bucket-480", "bucket-720"] = "keep"

    @field_validator("multiple_px")
    @classmethod
    def _fits_into_area(cls, multiple_px: int, info: ValidationInfo) -> int:
        area_px = info.data.get("area_px")
        if area_px is not None and multiple_px**2 > area_px:
            raise ValueError(f"a square of {multiple_px} px is larger than area_px {area_px}; change one")
        return multiple_px


class AudioProfile(Settings):
    """How speech becomes embedding rows.

    `loudness_lufs` None leaves the level alone. `frame_count` "floor" is for compatibility: the published
    count drops the last, partial frame (and sometimes a whole one by rounding); "ceil" covers all of the
    speech.
    """

    loudness_lufs: float | None = Field(default=-23.0, ge=-70.0, le=0.0)
    frame_count: Literal["ceil", "floor"] = "ceil"


class ChunkProfile(Settings):
    """The plan over the timeline.

    `reference_refresh` "chunk" takes a new reference frame for every chunk (published), "hold" keeps the
    first. `scenes` "auto" looks for cuts, and every scene begins anew from its own first frame; "off" takes the whole
    stretch for one scene. `tail` says what the frames of the last chunk past the end of the speech hear: "silence", or
    for compatibility "mirror", the last embedding rows in reverse order. `last_chunk` "full" generates the last chunk
    of a scene or stretch at its full length and drops what is too much (published), "fit" shortens it: less work where
    scenes are short.

    `conditioning` is what a chunk is held to, and so how chunks overlap: "sparse" continues from `context_frames` and
    looks at a reference frame of the source. The other two are the paper's baselines (Section 3.2): "i2v" goes on from
    the last frame of the chunk before, its only reference, and "fl2v" pins every chunk to the source's own first and
    last frame. They read neither `context_frames` nor `reference_refresh`; "fl2v" always fits the last chunk.
    """

    conditioning: Literal["sparse", "i2v", "fl2v"] = "sparse"
    num_frames: int = Field(default=81, ge=5, le=1 + 4 * 256)
    context_frames: int = Field(default=9, ge=1)
    reference_refresh: Literal["chunk", "hold"] = "chunk"
    scenes: Literal["auto", "off"] = "auto"
    tail: Literal["silence", "mirror"] = "silence"
    last_chunk: Literal["full", "fit"] = "full"

    @field_validator("num_frames", "context_frames")
    @classmethod
    def _whole_latent_frames(cls, value: int) -> int:
        if value % 4 != 1:
            below = max(1, value - (value - 1) % 4)
            choice = f"{below} or {below + 4} would do"
            raise ValueError(f"must be 1 + 4k (the video codec joins 4 frames); {choice}")
        return value

    @field_validator("num_frames")
    @classmethod
    def _leaves_a_middle(cls, num_frames: int, info: ValidationInfo) -> int:
        if info.data.get("conditioning") == "fl2v" and num_frames < 9:
            raise ValueError("must be at least 9 with conditioning fl2v, or both ends would be all of a chunk")
        return num_frames

    @field_validator("context_frames")
    @classmethod
    def _leaves_new_frames(cls, context_frames: int, info: ValidationInfo) -> int:
        num_frames, conditioning = info.data.get("num_frames"), info.data.get("conditioning")
        if conditioning == "sparse" and num_frames is not None and context_frames >= num_frames:
            raise ValueError(f"must be below num_frames ({num_frames}), or a chunk would bring no new frame")
        return context_frames


class SpeechProfile(Settings):
    """Whether only stretches with speech are generated; all else then keeps the source's own frames.

    Speech is widened by `margin_s` on both sides: the picture goes over to the generated one, and back, within it.
    Pauses shorter than `min_gap_s` are generated all the same.
    """

    only: bool = False
    margin_s: float = Field(default=0.4, ge=8 / 25, le=60.0)  # at least the frames of a blend
    min_gap_s: float = Field(default=2.0, ge=0.0, le=3600.0)


class ApgProfile(Settings):
    """Adaptive projected guidance; its presence switches it on."""

    momentum: float = Field(default=-0.75, gt=-1.0, lt=1.0)
    norm_threshold: float = Field(default=55.0, gt=0.0)


class StepCacheProfile(Settings):
    """Reuse of the blocks' last result while the timestep embedding changes little; its presence switches it on.

    The estimated change since the last computed step, corrected by the polynomial fitted for the model's size, has
    to reach `threshold` before the blocks run again. The first `warmup_steps` of a chunk always run.
    """

    threshold: float = Field(default=0.2, gt=0.0, le=10.0)
    polynomial: Literal["480", "720"] = "480"
    warmup_steps: int = Field(default=5, ge=1, le=1000)


class SamplingProfile(Settings):
    """The denoising of one chunk.

    `last_timestep` is the last one of the evenly spaced timesteps before 0 is appended (published: 1); None
    spaces them evenly down to 0 itself. `sdedit_t0` is the sigma, after the shift, at which denoising starts:
    1 from pure noise, less keeps more of the source. `seed` fixes the noise of every chunk.
    """

    num_steps: int = Field(default=40, ge=1, le=1000)
    timestep_shift: float = Field(default=7.0, gt=0.0, le=100.0)
    last_timestep: float | None = Field(default=1.0, gt=0.0, lt=1000.0)
    text_guidance_scale: GuidanceScale = 5.0
    audio_guidance_scale: GuidanceScale = 4.0
    apg: ApgProfile | None = None
    step_cache: StepCacheProfile | None = None
    sdedit_t0: Share = 1.0
    seed: int = Field(default=42, ge=0, lt=2**63)
    prompt: str = ""
    negative_prompt: str = ""


class ComputeProfile(Settings):
    """Number formats and kernels: whatever can change a pixel, if only in its last bit.

    `attention` "auto" and `quantization` "auto" are settled for the device before the job is planned: what they
    become enters the fingerprint. "auto" quantization is fp8 where the device multiplies it, else none.
    `batch_guidance` evaluates the guidance branches of a step together: faster where the device is not busy, more
    memory.
    """

    dtype: Literal["float32", "bfloat16"] = "bfloat16"
    vae_dtype: Literal["float32", "bfloat16"] = "float32"
    attention: Literal["auto", "sdpa", "flash", "flash-3", "sage"] = "auto"
    quantization: Literal["none", "auto", "int8", "fp8"] = "none"
    compile: bool = False
    vae_tiling: bool = False
    batch_guidance: bool = False


class MemoryProfile(Settings):
    """Where weights wait while they are not needed. Changes no pixel, so it is no part of any fingerprint.

    `offload` "blocks" keeps the transformer's blocks in the computer's memory and brings them over one by one,
    "all" does so with every network.
    """

    offload: Literal["none", "blocks", "all"] = "none"


class PostProfile(Settings):
    """What happens to decoded pixels.

    `color_match_reference` "keyframe" matches each chunk to its own reference frame; "first_frame" is for
    compatibility: everything to the first frame of the source, also after a cut. `temporal_smoothing` is the
    share of small frame-to-frame changes that is held back (0 off), against flicker.
    """

    color_match_strength: Share = 1.0
    color_match_reference: Literal["keyframe", "first_frame"] = "keyframe"
    temporal_smoothing: float = Field(default=0.0, ge=0.0, lt=1.0)


class QualityProfile(Settings):
    """What a finished chunk is checked for, and how often one that fails is drawn, with other noise each time.

    After `max_attempts` the best attempt is kept and flagged in the report; 1 only reports. The other numbers are the
    highest that pass: equal frames in a row while somebody speaks; CIEDE2000 of a jump in colours, and from the colours
    of the reference frame; change at a chunk's first frame over the usual change; motion of the mouth over that of the
    face in silence (only where the extra `faces` is installed). docs/quality.md says how they were found.
    """

    gates: bool = True
    max_attempts: int = Field(default=2, ge=1, le=10)
    frozen_frames: int = Field(default=25, ge=2, le=10_000)
    color_step: float = Field(default=5.0, gt=0.0, le=200.0)
    color_reference: float = Field(default=9.0, gt=0.0, le=200.0)
    seam: float = Field(default=12.0, gt=0.0, le=10_000.0)
    mouth_in_silence: float = Field(default=2.5, gt=0.0, le=1000.0)


class Profile(Settings):
    """All that decides what a dub looks like, and `memory`; how it is run (device, folders) is no part of it."""

    name: str = Field(min_length=1)
    description: str = Field(min_length=1)
    model: ModelProfile
    geometry: GeometryProfile = GeometryProfile()
    audio: AudioProfile = AudioProfile()
    chunks: ChunkProfile = ChunkProfile()
    speech: SpeechProfile = SpeechProfile()
    camera: CameraProfile = CameraProfile()
    sampling: SamplingProfile = SamplingProfile()
    post: PostProfile = PostProfile()
    quality: QualityProfile = QualityProfile()
    compute: ComputeProfile = ComputeProfile()
    memory: MemoryProfile = MemoryProfile()

    @model_validator(mode="after")
    def _lock_has_an_effect(self) -> Profile:
        t0 = self.sampling.sdedit_t0
        if self.camera.method == "uni3c" and t0 < 1:
            raise ValueError(
                f"sampling.sdedit_t0 {t0:g} has no effect with camera.method uni3c; set it to 1, or the method to both"
            )
        return self

    @property
    def starts_from_source(self) -> bool:
        """Whether chunks that are locked start from the noisy source (SDEdit)."""
        camera = self.camera
        by_motion = camera.lock == "moving" and camera.method != "uni3c" and bool(camera.sdedit_strength_by_motion)
        return self.sampling.sdedit_t0 < 1 or by_motion

    @property
    def steers_camera(self) -> bool:
        """Whether chunks that are locked are steered by the camera branch (Uni3C)."""
        camera = self.camera
        by_motion = camera.lock == "moving" and bool(camera.uni3c_strength_by_motion)
        return camera.method != "sdedit" and camera.uni3c.end > 0 and (camera.uni3c.strength > 0 or by_motion)

    @property
    def locks_camera(self) -> bool:
        """Whether any chunk can be locked to the source's camera."""
        return self.starts_from_source or self.steers_camera
