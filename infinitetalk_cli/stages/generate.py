"""The chunk loop: reference frame, context frames and embeddings -> new frames, one file per chunk.

A chunk is checked when it is finished, drawn again with other noise if it fails, and committed. What the next chunk
continues from is read back from the files, so an interrupted run goes on from the very same pixels.
"""

from __future__ import annotations

import os
import shutil
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from infinitetalk_cli.cache.files import TEMPORARY_PREFIX, commit_file, make_folder, temporary_for
from infinitetalk_cli.checkpoints.files import CODEC, CONTROL, IMAGE_ENCODER, TRANSFORMER
from infinitetalk_cli.errors import DependencyError, PeerError, writing_to
from infinitetalk_cli.progress import Progress
from infinitetalk_cli.quality.gates import best_of
from infinitetalk_cli.stages.attempts import (
    AttemptRecord,
    ChunkRecord,
    FailedAttempts,
    forget,
    forget_attempts,
    read_record,
    write_record,
)
from infinitetalk_cli.stages.camera_render import ARTEFACTS, CameraRender, open_camera_render
from infinitetalk_cli.stages.chunk_checks import ChunkChecks
from infinitetalk_cli.stages.chunk_conditions import chunk_conditions, person_masks, read_context, read_previous
from infinitetalk_cli.stages.chunk_files import chunk_file, record_file, unfinished
from infinitetalk_cli.stages.chunk_meter import ChunkMeter
from infinitetalk_cli.stages.generate_settings import GenerateSettings, generate_settings, sampling_settings
from infinitetalk_cli.stages.keyframes import ChunkPlan, read_plan
from infinitetalk_cli.stages.planned_chunk import PlannedChunk
from infinitetalk_cli.stages.sharing import Alone, Share, streams_of
from infinitetalk_cli.stages.snapshots import Snapshots
from infinitetalk_cli.stages.source_pixels import SourcePixels, model_size
from infinitetalk_cli.stages.stage import Inputs, Stage, StageContext
from infinitetalk_cli.stages.text_embedding import read_text
from infinitetalk_cli.units import MODEL_RATE

if TYPE_CHECKING:
    from torch import Tensor

    from infinitetalk_cli.models.dubbing_model import ChunkConditions, DubbingModel
    from infinitetalk_cli.models.sampler_state import StateKeeper


VISIBLE_WITHIN_S = 60.0
"""How long files of other machines may take to appear on a shared file system."""


def generate(inputs: Inputs, settings: GenerateSettings, out_dir: Path, ctx: StageContext) -> None:
    """Write `chunks/chunk-NNNNNN.mkv`, each the new frames of one chunk at the model's size, losslessly.

    Beside each lies its record, see `stages.attempts`. Chunks that an earlier run committed are kept, however many
    processes made them; a damaged one is made again, with all of its stream that follow from it.

    Raises:
        InputError: the source cannot be decoded where a frame is needed.
        DependencyError: what the model made are no numbers.
        ResourceError: the device's memory ran out.
    """
    plan = read_plan(inputs["plan"])
    folder, attempts = out_dir / "chunks", out_dir / "attempts"
    with writing_to(folder):
        make_folder(folder)
    left = unfinished(folder, plan.chunks, always_hash=True)
    if left:
        for chunk in left:
            forget(chunk_file(folder, chunk.index))
        forget_attempts(attempts, but={stream[0].index for stream in streams_of(left)})
        with (ctx.crew or Alone()).share(left) as share:
            make_streams(inputs, settings, out_dir, share, left, ctx)
            _require_all(folder, left, share)
    forget_attempts(attempts)
    Snapshots(out_dir / "snapshot").clear_all()


def make_streams(
    inputs: Inputs,
    settings: GenerateSettings,
    out_dir: Path,
    share: Share,
    left: Sequence[PlannedChunk],
    ctx: StageContext,
) -> None:
    """Make our `share` of the chunks that are `left`; nothing of theirs is committed yet. Errors as `generate`."""
    plan = read_plan(inputs["plan"])
    with _maker(inputs, settings, plan, out_dir, share, ctx) as maker:
        meter = ChunkMeter(ctx.progress, plan, left, settings, share)
        for stream in share.streams():
            for chunk in stream:
                maker.make(chunk, meter)
        for made in share.rest():
            meter.hear(made)


def _require_all(folder: Path, left: Sequence[PlannedChunk], share: Share) -> None:
    """Wait until what others made is seen here, too: file systems on a network show it late."""
    deadline = time.monotonic() + VISIBLE_WITHIN_S
    while share.is_shared and (missing := unfinished(folder, left)):
        if time.monotonic() > deadline:
            raise PeerError(
                f"{folder}: chunk {missing[0].index + 1} was made by another process, but does not appear here; "
                "run the same command again"
            )
        time.sleep(1.0)


@dataclass(frozen=True, eq=False)
class _ChunkMaker:
    """Makes one chunk after the other; holds what they have in common."""

    model: DubbingModel
    plan: ChunkPlan
    source: SourcePixels
    embeddings: Path
    """Opened anew for every chunk: what was read of a map stays in memory for as long as it is open."""
    masks: Tensor | None
    render: CameraRender | None
    settings: GenerateSettings
    checks: ChunkChecks
    out_dir: Path
    snapshots: Snapshots
    is_shared: bool
    ctx: StageContext

    def make(self, chunk: PlannedChunk, meter: ChunkMeter) -> None:
        """Draw `chunk` until it passes or the budget is spent, and commit the best attempt with its record."""
        failed = FailedAttempts(self.out_dir / "attempts", chunk.index)
        records = failed.kept()
        context = read_context(self.folder, self.plan, chunk)
        previous = read_previous(self.folder, self.plan, chunk, context)
        if chunk.index_in_scene and read_record(record_file(self.folder, chunk.index - 1)).is_flagged:
            previous = previous[:0]  # that this chunk differs from a bad one is no fault
        while True:
            attempt = len(records)
            meter.begin(chunk, attempt)
            rows = np.load(self.embeddings, mmap_mode="r", allow_pickle=False)
            conditions = chunk_conditions(
                self.model, chunk, self.source, context, rows, self.masks, self.settings, attempt, self.render
            )
            keeper = self.snapshots.of(chunk=chunk.index, attempt=attempt)
            frames = _new_frames(self.model, conditions, chunk, self.settings, meter, keeper)
            records.append(self.checks.examine(attempt, frames, previous, chunk, conditions))
            self.ctx.check_inputs()
            if not records[-1].reasons or len(records) >= self.checks.max_attempts:
                break
            failed.keep(records[-1], frames)
            self.snapshots.clear()
        self._commit(chunk, records, frames, failed)
        meter.finish(chunk)

    @property
    def folder(self) -> Path:
        """Where the chunks are."""
        return self.out_dir / "chunks"

    def _commit(
        self, chunk: PlannedChunk, records: list[AttemptRecord], frames: np.ndarray | None, failed: FailedAttempts
    ) -> None:
        """Commit the last attempt (`frames`) if it passes, else the best of all; then forget the others."""
        from infinitetalk_cli.media.lossless import write_frames

        place = len(records) - 1 if not records[-1].reasons else best_of([record.verdict for record in records])
        if place is None:
            self.snapshots.clear()
            failed.forget()
            raise _no_picture(chunk, self.settings)
        chosen, final = records[place], chunk_file(self.folder, chunk.index)
        temporary = self._temporary_for(final)
        if chosen is records[-1]:
            assert frames is not None
            write_frames(temporary, frames, MODEL_RATE)
        else:
            with writing_to(final):
                shutil.copyfile(failed.file(chosen.attempt), temporary)
        record = ChunkRecord(attempt=chosen.attempt, attempts=tuple(records), not_checked=self.checks.not_checked)
        write_record(record_file(self.folder, chunk.index), record)
        commit_file(temporary, final)
        self.snapshots.clear()
        failed.forget()

    def _temporary_for(self, final: Path) -> Path:
        """A name of this process's own where there are several: one that was given up may be at work for a minute."""
        common = temporary_for(final)
        if not self.is_shared:
            return common
        own = f"{TEMPORARY_PREFIX}{socket.gethostname()}-{os.getpid()}-"
        return common.with_name(own + final.name)


@contextmanager
def _maker(
    inputs: Inputs, settings: GenerateSettings, plan: ChunkPlan, out_dir: Path, share: Share, ctx: StageContext
) -> Iterator[_ChunkMaker]:
    """Everything opened and loaded that chunks are made with."""
    from infinitetalk_cli.media.probe import MediaInfo, require_video
    from infinitetalk_cli.media.reader import FrameReader
    from infinitetalk_cli.media.timeline import SourceTimeline

    info = MediaInfo.model_validate_json(inputs["media"].read_bytes())
    timeline = SourceTimeline.load(inputs["timeline"])
    video = require_video(inputs["source_video"], info)
    size = model_size(video, settings.geometry)
    with (
        FrameReader(inputs["source_video"], info, timeline) as reader,
        open_camera_render(inputs, size, plan.num_frames) as render,
    ):
        ctx.progress.start("loading the model")
        model = ctx.models.dubbing_model()
        if render is not None and model.control is not None and not model.control.reads_masks:
            raise DependencyError(
                f"{inputs['camera_render'].parent}: this model's camera branch was made for videos without holes and "
                "reads no mask and no camera path; leave out --camera-render, or name another branch in model.uni3c"
            )
        if "text" in inputs:
            text, negative_text = read_text(inputs["text"])
            model = replace(model, text=text, negative_text=negative_text)
        levels = np.load(inputs["levels"], allow_pickle=False)
        yield _ChunkMaker(
            model=model,
            plan=plan,
            source=SourcePixels(reader, timeline, size, settings.geometry, settings.start_s),
            embeddings=inputs["embeddings"],
            masks=person_masks(video, size, settings, model.codec.spatial_stride),
            render=render,
            settings=settings,
            checks=ChunkChecks(settings.quality, settings.finds_faces, levels),
            out_dir=out_dir,
            snapshots=Snapshots(out_dir / "snapshot", is_shared=share.is_shared),
            is_shared=share.is_shared,
            ctx=ctx,
        )


def _new_frames(
    model: DubbingModel,
    conditions: ChunkConditions,
    chunk: PlannedChunk,
    settings: GenerateSettings,
    progress: Progress,
    keeper: StateKeeper,
) -> np.ndarray | None:
    """The frames (t, h, w, 3) uint8 that the chunk adds; None if what the model made are no numbers."""
    from infinitetalk_cli.models.devices import watching_memory
    from infinitetalk_cli.models.geometry import frames_from_pixels
    from infinitetalk_cli.models.smoothing import hold_small_changes
    from infinitetalk_cli.models.streaming import generate_chunk

    with watching_memory(f"chunk {chunk.index + 1}"):
        pixels = generate_chunk(model, conditions, sampling_settings(settings, chunk), progress, keeper)
    if not pixels.isfinite().all():
        return None
    start, stop = chunk.new_start - chunk.start_frame, chunk.new_stop - chunk.start_frame
    previous = None if conditions.context is None else conditions.context[:, :, -1]
    kept = hold_small_changes(pixels[:, :, start:stop], previous, settings.post.temporal_smoothing)
    return frames_from_pixels(kept)


def _no_picture(chunk: PlannedChunk, settings: GenerateSettings) -> DependencyError:
    return DependencyError(
        f"chunk {chunk.index + 1}: the model made no picture (NaN or infinity): its weights are damaged, or "
        f"compute.dtype {settings.compute.dtype} is too narrow for them; check them with "
        "`infinitetalk models verify --sha256`, or set compute.dtype float32 in the profile"
    )


GENERATE = Stage(
    name="generate",
    version=3,
    inputs=("source_video", "media", "timeline", "embeddings", "levels", "plan"),
    outputs={"chunks": "chunks"},
    settings=generate_settings,
    run=generate,
    networks=(TRANSFORMER, CODEC, IMAGE_ENCODER, CONTROL),
    optional_inputs=("text", *ARTEFACTS),
    resumable=True,
)
