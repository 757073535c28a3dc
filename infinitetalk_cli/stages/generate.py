"""The chunk loop: reference frame, context frames and embeddings -> new frames, one file per chunk.

A chunk is committed when it is finished. What the next chunk continues from is read back from the files, so an
interrupted run goes on from the very same pixels.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from pydantic import BaseModel

from infinitetalk_cli.cache.files import commit_file, committed, sidecar_of, temporary_for
from infinitetalk_cli.checkpoints.files import CODEC, IMAGE_ENCODER, TRANSFORMER
from infinitetalk_cli.config.job import ExactSeconds, Job
from infinitetalk_cli.config.people import SpeakerBox
from infinitetalk_cli.config.profile import (
    ChunkProfile,
    ComputeProfile,
    GeometryProfile,
    PostProfile,
    SamplingProfile,
    Settings,
)
from infinitetalk_cli.errors import DependencyError, writing_to
from infinitetalk_cli.progress import Progress, SilentProgress
from infinitetalk_cli.stages.keyframes import ChunkPlan, PlannedChunk, read_plan
from infinitetalk_cli.stages.regions import person_regions
from infinitetalk_cli.stages.stage import Inputs, Stage, StageContext
from infinitetalk_cli.stages.text_embedding import read_text
from infinitetalk_cli.units import MODEL_RATE, FrameSpan, frame_time

if TYPE_CHECKING:
    from torch import Tensor

    from infinitetalk_cli.media.probe import VideoInfo
    from infinitetalk_cli.media.reader import FrameReader
    from infinitetalk_cli.media.timeline import SourceTimeline
    from infinitetalk_cli.models.streaming import ChunkConditions, DubbingModel, SamplingSettings

FIRST_ATTEMPT = 0


class GenerateSettings(Settings):
    """Everything that decides the generated pixels, besides the inputs and the model."""

    geometry: GeometryProfile
    chunks: ChunkProfile
    sampling: SamplingProfile
    post: PostProfile
    compute: ComputeProfile
    start_s: ExactSeconds


class TwoPeopleSettings(GenerateSettings):
    """The same for two people; `boxes` None: in the left and the right half."""

    boxes: tuple[SpeakerBox, SpeakerBox] | None


def chunk_file(folder: Path, index: int) -> Path:
    """Where the new frames of chunk `index` are kept."""
    return folder / f"chunk-{index:06d}.mkv"


def num_committed(folder: Path, num_chunks: int) -> int:
    """How many chunks from the first on are finished and undamaged."""
    return next((i for i in range(num_chunks) if not committed(chunk_file(folder, i))), num_chunks)


def read_kept_frames(folder: Path, plan: ChunkPlan, span: FrameSpan) -> Iterator[np.ndarray]:
    """Finished frames `(h, w, 3)` uint8 of the model's timeline, from as many chunk files as they lie in."""
    from infinitetalk_cli.media.lossless import read_frames

    for chunk in plan.chunks:
        start, stop = max(span.start, chunk.new_start), min(span.stop, chunk.new_stop)
        if start < stop:
            file = chunk_file(folder, chunk.index)
            yield from read_frames(file, start - chunk.new_start, stop - chunk.new_start)


def model_size(video: VideoInfo, geometry: GeometryProfile) -> tuple[int, int]:
    """(height, width) at which a video is generated."""
    from infinitetalk_cli.models import geometry as sizes

    if geometry.fit == "keep":
        width, height = video.display_size
        return sizes.fit_size((height, width), geometry.area_px, geometry.multiple_px)
    width, height = video.upright_size
    buckets = sizes.BUCKETS_480 if geometry.fit == "bucket-480" else sizes.BUCKETS_720
    return buckets[sizes.choose_bucket((height, width), buckets)]


def generate(inputs: Inputs, settings: GenerateSettings, out_dir: Path, ctx: StageContext) -> None:
    """Write `chunks/chunk-NNNNNN.mkv`, each the new frames of one chunk at the model's size, losslessly.

    Chunks that an earlier run committed are kept; a damaged one is made again, with all that follow from it.

    Raises:
        InputError: the source cannot be decoded where a frame is needed.
        DependencyError: what the model made are no numbers.
        ResourceError: the device's memory ran out.
    """
    from infinitetalk_cli.media.lossless import write_frames
    from infinitetalk_cli.media.probe import MediaInfo, require_video
    from infinitetalk_cli.media.reader import FrameReader
    from infinitetalk_cli.media.timeline import SourceTimeline

    plan = read_plan(inputs["plan"])
    folder = out_dir / "chunks"
    with writing_to(folder):
        folder.mkdir(exist_ok=True)
    first = num_committed(folder, len(plan.chunks))
    if first == len(plan.chunks):
        return
    for chunk in plan.chunks[first:]:
        sidecar_of(chunk_file(folder, chunk.index)).unlink(missing_ok=True)
    info = MediaInfo.model_validate_json(inputs["media"].read_bytes())
    timeline = SourceTimeline.load(inputs["timeline"])
    ctx.progress.start("loading the model")
    model = ctx.models.dubbing_model()
    if "text" in inputs:
        text, negative_text = read_text(inputs["text"])
        model = replace(model, text=text, negative_text=negative_text)
    meter = _Meter(ctx.progress, plan, first, sampling_settings(settings))
    with FrameReader(inputs["source_video"], info, timeline) as reader:
        video = require_video(inputs["source_video"], info)
        source = _Source(reader, timeline, model_size(video, settings.geometry), settings)
        embeddings = np.load(inputs["embeddings"], mmap_mode="r", allow_pickle=False)
        masks = _person_masks(video, source.size, settings, model.codec.spatial_stride)
        for chunk in plan.chunks[first:]:
            meter.begin(chunk)
            context = _context(folder, plan, chunk)
            conditions = _conditions(model, chunk, source, context, embeddings, masks, settings)
            frames = _new_frames(model, conditions, chunk, settings, meter)
            final = chunk_file(folder, chunk.index)
            write_frames(temporary_for(final), frames, MODEL_RATE)
            ctx.check_inputs()
            commit_file(temporary_for(final), final)
            meter.finish(chunk)


def sampling_settings(settings: GenerateSettings) -> SamplingSettings:
    """The profile's numbers as the sampler takes them."""
    from infinitetalk_cli.models.step_cache import POLYNOMIALS, StepCacheSettings
    from infinitetalk_cli.models.streaming import ProjectionSettings, SamplingSettings

    sampling, cache = settings.sampling, settings.sampling.step_cache
    return SamplingSettings(
        num_steps=sampling.num_steps,
        timestep_shift=sampling.timestep_shift,
        last_timestep=sampling.last_timestep,
        text_guidance_scale=sampling.text_guidance_scale,
        audio_guidance_scale=sampling.audio_guidance_scale,
        projection=sampling.apg and ProjectionSettings(sampling.apg.momentum, sampling.apg.norm_threshold),
        sdedit_t0=sampling.sdedit_t0,
        color_strength=settings.post.color_match_strength,
        step_cache=cache and StepCacheSettings(cache.threshold, POLYNOMIALS[cache.polynomial], cache.warmup_steps),
        batch_guidance=settings.compute.batch_guidance,
    )


@dataclass(frozen=True)
class _Source:
    """Source frames by model frame, at the model's size."""

    reader: FrameReader
    timeline: SourceTimeline
    size: tuple[int, int]
    settings: GenerateSettings

    def pixels(self, indices: Iterable[int]) -> Tensor:
        """(1, 3, t, h, w) in [-1, 1] of source frames `indices`."""
        from infinitetalk_cli.models.geometry import cover_and_crop, pixels_from_frames, resize_frame

        fit = resize_frame if self.settings.geometry.fit == "keep" else cover_and_crop
        return pixels_from_frames(np.stack([fit(frame, self.size) for frame in self.reader.read(indices)]))

    def index_at(self, model_frame: int) -> int:
        """The source frame on screen at a frame of the model's timeline."""
        return self.timeline.frame_index_at(self.settings.start_s + frame_time(model_frame))


def _context(folder: Path, plan: ChunkPlan, chunk: PlannedChunk) -> np.ndarray | None:
    """Frames (c, h, w, 3) that the chunk continues from; None where a scene begins."""
    if chunk.new_start == chunk.start_frame:
        return None
    return np.stack(list(read_kept_frames(folder, plan, FrameSpan(chunk.start_frame, chunk.new_start))))


def _person_masks(
    video: VideoInfo, size: tuple[int, int], settings: GenerateSettings, spatial_stride: int
) -> Tensor | None:
    """Where the two people are in the latents; None for one person, who is everywhere."""
    if not isinstance(settings, TwoPeopleSettings):
        return None
    grid = (size[0] // spatial_stride, size[1] // spatial_stride)
    return person_regions(video, settings.boxes, settings.geometry, size, grid)


def _conditions(
    model: DubbingModel,
    chunk: PlannedChunk,
    source: _Source,
    context: np.ndarray | None,
    embeddings: np.ndarray,
    masks: Tensor | None,
    settings: GenerateSettings,
) -> ChunkConditions:
    from infinitetalk_cli.models import chunking
    from infinitetalk_cli.models.conditioning import audio_windows
    from infinitetalk_cli.models.geometry import pixels_from_frames
    from infinitetalk_cli.models.sampling import chunk_noise
    from infinitetalk_cli.models.streaming import ChunkConditions

    num_frames, codec = chunk.num_frames, model.codec
    voices = [embeddings] if masks is None else list(embeddings)
    rows: np.ndarray | int = len(voices[0])
    if settings.chunks.tail == "mirror":
        rows = chunking.mirrored_rows(rows, chunk.start_frame + num_frames)
    window = chunking.window_rows(chunk.start_frame, num_frames, rows)
    noise_shape = (
        1,
        codec.latent_channels,
        chunking.latent_frames(num_frames, codec.temporal_stride),
        *(side // codec.spatial_stride for side in source.size),
    )
    first_frame = settings.post.color_match_reference == "first_frame"
    follows_source = settings.sampling.sdedit_t0 < 1
    # What lies past the end of the chunk's new frames is dropped, and may belong to the next scene.
    span = (min(frame, chunk.new_stop - 1) for frame in range(chunk.start_frame, chunk.start_frame + num_frames))
    return ChunkConditions(
        reference=source.pixels([chunk.reference_index]),
        audio=audio_windows(voices, [window] * len(voices)),
        noise=chunk_noise(settings.sampling.seed, chunk.scene, chunk.index_in_scene, FIRST_ATTEMPT, noise_shape),
        context=None if context is None else pixels_from_frames(context),
        person_masks=masks,
        source=source.pixels(map(source.index_at, span)) if follows_source else None,
        color_reference=source.pixels([source.index_at(0)]) if first_frame else None,
    )


def _new_frames(
    model: DubbingModel,
    conditions: ChunkConditions,
    chunk: PlannedChunk,
    settings: GenerateSettings,
    progress: Progress,
) -> np.ndarray:
    """The frames (t, h, w, 3) uint8 that the chunk adds."""
    from infinitetalk_cli.models.devices import watching_memory
    from infinitetalk_cli.models.geometry import frames_from_pixels
    from infinitetalk_cli.models.smoothing import hold_small_changes
    from infinitetalk_cli.models.streaming import generate_chunk

    with watching_memory(f"chunk {chunk.index + 1}"):
        pixels = generate_chunk(model, conditions, sampling_settings(settings), progress)
    if not pixels.isfinite().all():
        raise DependencyError(
            f"chunk {chunk.index + 1}: the model made no picture (NaN or infinity): its weights are damaged, or "
            f"compute.dtype {settings.compute.dtype} is too narrow for them; check them with "
            "`infinitetalk models verify --sha256`, or set compute.dtype float32 in the profile"
        )
    start, stop = chunk.new_start - chunk.start_frame, chunk.new_stop - chunk.start_frame
    previous = None if conditions.context is None else conditions.context[:, :, -1]
    kept = hold_small_changes(pixels[:, :, start:stop], previous, settings.post.temporal_smoothing)
    return frames_from_pixels(kept)


class _Meter(SilentProgress):
    """Hears the steps of every chunk and reports them as progress of the whole, with the pace so far."""

    def __init__(self, progress: Progress, plan: ChunkPlan, first: int, sampling: SamplingSettings) -> None:
        self._progress, self._num_chunks = progress, len(plan.chunks)
        self._steps = len(sampling.sigmas()) - 1
        progress.start("generate", self._steps * self._num_chunks, done=self._steps * first)
        self._began_s, self._seconds_made, self._step = time.monotonic(), 0.0, 0
        self._where = self._skipped = ""

    def begin(self, chunk: PlannedChunk) -> None:
        self._where, self._step, self._skipped = f"chunk {chunk.index + 1}/{self._num_chunks}", 0, ""

    def detail(self, text: str) -> None:
        self._skipped = f", {text}"  # by step caching

    def advance(self, steps: int = 1) -> None:
        self._step += steps
        speed = self._seconds_made / max(time.monotonic() - self._began_s, 1e-9)
        pace = f", {speed:.1f} x real time" if self._seconds_made else ""
        self._progress.detail(f"{self._where}, step {self._step}/{self._steps}{self._skipped}{pace}")
        self._progress.advance(steps)

    def finish(self, chunk: PlannedChunk) -> None:
        self._seconds_made += float(frame_time(chunk.new_stop - chunk.new_start))


def _settings(job: Job) -> BaseModel:
    profile, sampling = job.profile, job.profile.sampling
    if not profile.model.reads_text:
        sampling = sampling.model_copy(update={"prompt": "", "negative_prompt": "", "text_guidance_scale": 1.0})
    settings = GenerateSettings(
        geometry=profile.geometry,
        chunks=profile.chunks,
        sampling=sampling,
        post=profile.post,
        compute=profile.compute,
        start_s=job.clip.start_s,
    )
    if job.people is None:
        return settings
    return TwoPeopleSettings(**dict(settings), boxes=job.people.boxes)


GENERATE = Stage(
    name="generate",
    version=2,
    inputs=("source_video", "media", "timeline", "embeddings", "plan"),
    outputs={"chunks": "chunks"},
    settings=_settings,
    run=generate,
    networks=(TRANSFORMER, CODEC, IMAGE_ENCODER),
    optional_inputs=("text",),
    resumable=True,
)
