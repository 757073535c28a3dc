"""The chunk loop: reference frame, context frames and embeddings -> new frames, one file per chunk.

A chunk is committed when it is finished. What the next chunk continues from is read back from the files, so an
interrupted run goes on from the very same pixels.
"""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from infinitetalk_cli.cache.files import commit_file, sidecar_of, temporary_for
from infinitetalk_cli.checkpoints.files import CODEC, IMAGE_ENCODER, TRANSFORMER
from infinitetalk_cli.errors import DependencyError, writing_to
from infinitetalk_cli.progress import Progress, SilentProgress
from infinitetalk_cli.stages.chunk_conditions import chunk_conditions, person_masks, read_context
from infinitetalk_cli.stages.chunk_files import chunk_file, num_committed
from infinitetalk_cli.stages.generate_settings import GenerateSettings, generate_settings, sampling_settings
from infinitetalk_cli.stages.keyframes import ChunkPlan, PlannedChunk, read_plan
from infinitetalk_cli.stages.source_pixels import SourcePixels, model_size
from infinitetalk_cli.stages.stage import Inputs, Stage, StageContext
from infinitetalk_cli.stages.text_embedding import read_text
from infinitetalk_cli.units import MODEL_RATE, frame_time

if TYPE_CHECKING:
    from infinitetalk_cli.models.streaming import ChunkConditions, DubbingModel, SamplingSettings


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
        size = model_size(video, settings.geometry)
        source = SourcePixels(reader, timeline, size, settings.geometry, settings.start_s)
        embeddings = np.load(inputs["embeddings"], mmap_mode="r", allow_pickle=False)
        masks = person_masks(video, source.size, settings, model.codec.spatial_stride)
        for chunk in plan.chunks[first:]:
            meter.begin(chunk)
            context = read_context(folder, plan, chunk)
            conditions = chunk_conditions(model, chunk, source, context, embeddings, masks, settings)
            frames = _new_frames(model, conditions, chunk, settings, meter)
            final = chunk_file(folder, chunk.index)
            write_frames(temporary_for(final), frames, MODEL_RATE)
            ctx.check_inputs()
            commit_file(temporary_for(final), final)
            meter.finish(chunk)


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


GENERATE = Stage(
    name="generate",
    version=2,
    inputs=("source_video", "media", "timeline", "embeddings", "plan"),
    outputs={"chunks": "chunks"},
    settings=generate_settings,
    run=generate,
    networks=(TRANSFORMER, CODEC, IMAGE_ENCODER),
    optional_inputs=("text",),
    resumable=True,
)
