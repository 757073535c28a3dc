"""Timeline -> chunk plan, and the reference frame of every chunk, chosen by time stamp."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel

from infinitetalk_cli.config.job import ExactSeconds, Job
from infinitetalk_cli.config.profile import ChunkProfile, Settings
from infinitetalk_cli.errors import writing_to
from infinitetalk_cli.stages.audio_embedding import read_track
from infinitetalk_cli.stages.stage import Inputs, Stage, StageContext
from infinitetalk_cli.units import frame_time


class KeyframeSettings(Settings):
    """What decides the plan: the chunk profile, and where in the source the stretch begins."""

    chunks: ChunkProfile
    start_s: ExactSeconds


class PlannedChunk(Settings):
    """One chunk on the model's timeline (25 fps, frame 0 at the start of the stretch).

    It is generated for frames `[start_frame, start_frame + num_frames of a chunk)` and contributes
    `[new_start, new_stop)`; what lies before `new_start` is context. `reference_index` is a source frame.
    """

    index: int
    scene: int
    index_in_scene: int
    start_frame: int
    new_start: int
    new_stop: int
    reference_index: int
    reference_time_s: ExactSeconds


class ChunkPlan(Settings):
    """`plan.json`: the chunks that make up the result's `num_frames` model frames."""

    num_frames: int
    chunks: tuple[PlannedChunk, ...]


def read_plan(path: Path) -> ChunkPlan:
    """The `ChunkPlan` written by this stage."""
    return ChunkPlan.model_validate_json(path.read_bytes(), strict=False)


def select_keyframes(inputs: Inputs, settings: KeyframeSettings, out_dir: Path, ctx: StageContext) -> None:
    """Write `plan.json`.

    The reference of a chunk is the source frame on screen when the chunk begins (the published loop; paper
    Section 3.3), or with `reference_refresh: hold` when its scene begins.
    """
    from infinitetalk_cli.media.timeline import SourceTimeline
    from infinitetalk_cli.models.chunking import plan_chunks

    track = read_track(inputs["track"])
    timeline = SourceTimeline.load(inputs["timeline"])
    chunks = []
    for chunk in plan_chunks(track.num_frames, settings.chunks.num_frames, settings.chunks.context_frames):
        holds = settings.chunks.reference_refresh == "hold"
        time_s = settings.start_s + frame_time(0 if holds else chunk.start_frame)
        chunks.append(
            PlannedChunk(
                index=len(chunks),
                scene=chunk.scene,
                index_in_scene=chunk.index,
                start_frame=chunk.start_frame,
                new_start=chunk.new_start,
                new_stop=chunk.new_stop,
                reference_index=timeline.frame_index_at(time_s),
                reference_time_s=time_s,
            )
        )
    plan = ChunkPlan(num_frames=track.num_frames, chunks=tuple(chunks))
    with writing_to(out_dir):
        (out_dir / "plan.json").write_text(plan.model_dump_json(indent=1), encoding="utf-8")


def _settings(job: Job) -> BaseModel:
    return KeyframeSettings(chunks=job.profile.chunks, start_s=job.clip.start_s)


KEYFRAMES = Stage(
    name="keyframes",
    version=1,
    inputs=("timeline", "track"),
    outputs={"plan": "plan.json"},
    settings=_settings,
    run=select_keyframes,
)
