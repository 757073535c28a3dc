"""Timeline, scenes and speech -> chunk plan, and the reference frame of every chunk, chosen by time stamp."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import BaseModel, SerializerFunctionWrapHandler, model_serializer

from infinitetalk_cli.config.base import Settings
from infinitetalk_cli.config.camera import MotionCurve
from infinitetalk_cli.config.job import ExactSeconds, Job
from infinitetalk_cli.config.profile import ChunkProfile, SpeechProfile
from infinitetalk_cli.errors import writing_to
from infinitetalk_cli.stages.audio_embedding import read_track
from infinitetalk_cli.stages.camera_motion import (
    CameraMotion,
    SceneMotion,
    locks_moving_scenes,
    read_camera_motion,
)
from infinitetalk_cli.stages.planned_chunk import PlannedChunk
from infinitetalk_cli.stages.scenes import Cut, read_scenes
from infinitetalk_cli.stages.speech_spans import SpeechSpans, read_speech_spans
from infinitetalk_cli.stages.stage import Inputs, Stage, StageContext
from infinitetalk_cli.units import MODEL_RATE, SPEECH_RATE_HZ, frame_time, frames_in

if TYPE_CHECKING:
    from infinitetalk_cli.media.timeline import SourceTimeline
    from infinitetalk_cli.models.stretches import Stretch


class KeyframeSettings(Settings):
    """What decides the plan: the chunk and speech profiles, and where in the source the stretch begins.

    `min_motion` is the camera's speed from which a scene follows the source; None where all do, or none. The curves say
    how strongly, by method; empty: as the profile says for all.
    """

    chunks: ChunkProfile
    speech: SpeechProfile = SpeechProfile()
    start_s: ExactSeconds
    min_motion: float | None = None
    sdedit_strength_by_motion: MotionCurve = ()
    uni3c_strength_by_motion: MotionCurve = ()

    @model_serializer(mode="wrap")
    def _only_what_counts(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Jobs without curves are the same jobs as before there were any."""
        unused = {name for name in _CURVES if not getattr(self, name)}
        return {key: value for key, value in dump(self).items() if key not in unused}

    def strength(self, curve: str, motion: SceneMotion | None) -> float | None:
        """How strongly a scene with this motion is locked by the method of `curve`; None: no curve says it."""
        points: MotionCurve = getattr(self, curve)
        if motion is None or not points:
            return None
        speeds, strengths = zip(*points, strict=True)
        return round(float(np.interp(motion.speed, speeds, strengths)), 6)


_CURVES = ("sdedit_strength_by_motion", "uni3c_strength_by_motion")


class PlannedScene(Settings):
    """Frames `[start_frame, stop_frame)` of the model's timeline; `kind` says how the scene begins.

    `camera` is how its camera moves, None where nobody asked; `follows_source` and the strengths as in its chunks.
    """

    start_frame: int
    stop_frame: int
    kind: str
    camera: SceneMotion | None = None
    follows_source: bool = True
    sdedit_strength: float | None = None
    uni3c_strength: float | None = None


class PlannedStream(Settings):
    """What is generated in one stream; see `models.stretches.Stretch`. Outside of all, the source's own frames stay."""

    scene: int
    start: int
    stop: int
    blends_in: bool
    blends_out: bool


class ChunkPlan(Settings):
    """`plan.json`: the chunks that make up the result's `num_frames` model frames."""

    num_frames: int
    chunks: tuple[PlannedChunk, ...]
    scenes: tuple[PlannedScene, ...]
    streams: tuple[PlannedStream, ...]

    @property
    def num_kept(self) -> int:
        """Frames that keep the source's own."""
        return self.num_frames - sum(stream.stop - stream.start for stream in self.streams)

    @property
    def num_generated(self) -> int:
        """Frames that are generated, with context and what is dropped: what the work goes by."""
        return sum(chunk.num_frames for chunk in self.chunks)

    def chunks_in(self, scene: PlannedScene) -> int:
        """How many chunks bring frames of `scene`."""
        return sum(scene.start_frame <= chunk.new_start < scene.stop_frame for chunk in self.chunks)


def read_plan(path: Path) -> ChunkPlan:
    """The `ChunkPlan` written by this stage."""
    return ChunkPlan.model_validate_json(path.read_bytes(), strict=False)


def select_keyframes(inputs: Inputs, settings: KeyframeSettings, out_dir: Path, ctx: StageContext) -> None:
    """Write `plan.json`; see `make_plan`."""
    from infinitetalk_cli.media.timeline import SourceTimeline

    plan = make_plan(
        read_track(inputs["track"]).num_frames,
        settings,
        SourceTimeline.load(inputs["timeline"]),
        read_scenes(inputs["scenes"]).cuts if "scenes" in inputs else (),
        read_speech_spans(inputs["speech_spans"]) if "speech_spans" in inputs else None,
        read_camera_motion(inputs["camera_motion"]) if "camera_motion" in inputs else None,
    )
    with writing_to(out_dir):
        (out_dir / "plan.json").write_text(plan.model_dump_json(indent=1), encoding="utf-8")


def make_plan(
    num_frames: int,
    settings: KeyframeSettings,
    timeline: SourceTimeline,
    cuts: Sequence[Cut] = (),
    speech: SpeechSpans | None = None,
    camera: CameraMotion | None = None,
) -> ChunkPlan:
    """Chunks for `num_frames` model frames, none of which crosses one of `cuts`, only where `speech` is if given.

    A scene begins with the first model frame at which its first source frame is on screen. `chunks.conditioning` says
    how chunks overlap and what holds them. If `camera` is given, only scenes in which it moves follow the source.
    """
    from infinitetalk_cli.models.stretches import scene_spans

    starts = {max(0, frames_in(cut.time_s - settings.start_s)): cut for cut in cuts}
    spans = scene_spans(starts, num_frames)
    stretches = _stretches(spans, settings.speech, speech)
    frames = [_SceneFrames(timeline, settings.start_s, *(starts.get(edge) for edge in span)) for span in spans]
    scenes = []
    for (start, stop), shown in zip(spans, frames, strict=True):
        motion = None if camera is None else camera.scene_at(shown.index_at(start)[0])
        scenes.append(
            PlannedScene(
                start_frame=start,
                stop_frame=stop,
                kind=starts[start].kind if start else "start",
                camera=motion,
                follows_source=motion is None or motion.speed >= settings.min_motion,
                sdedit_strength=settings.strength("sdedit_strength_by_motion", motion),
                uni3c_strength=settings.strength("uni3c_strength_by_motion", motion),
            )
        )
    chunks: list[PlannedChunk] = []
    for number, stretch in enumerate(stretches):
        scene = scenes[stretch.scene]
        chunks += _chunks_of(stretch, number, len(chunks), frames[stretch.scene], settings.chunks, scene)
    streams = tuple(PlannedStream(**asdict(stretch)) for stretch in stretches)
    return ChunkPlan(num_frames=num_frames, chunks=tuple(chunks), scenes=tuple(scenes), streams=streams)


@dataclass(frozen=True)
class _SceneFrames:
    """Source frames of one scene, which begins with `cut` (None: with the source) and ends before `next_cut`."""

    timeline: SourceTimeline
    start_s: Fraction
    cut: Cut | None
    next_cut: Cut | None

    def index_at(self, model_frame: int) -> tuple[int, Fraction]:
        """The source frame on screen at a model frame, and its time; in a scene that fades in none before it is clear.

        The published loop takes the reference of a chunk where it begins (paper, Section 3.3).
        """
        time_s = self.start_s + frame_time(model_frame)
        index = self.timeline.frame_index_at(time_s)
        if self.cut is None or index >= self.cut.reference_index:
            return index, time_s
        index = self.cut.reference_index
        if self.next_cut is not None:
            index = min(index, self.next_cut.index - 1)
        return index, self.timeline.time_of(index)


def _chunks_of(
    stretch: Stretch, number: int, first: int, frames: _SceneFrames, settings: ChunkProfile, scene: PlannedScene
) -> Iterator[PlannedChunk]:
    """Chunks of stream `number`, counted from `first`."""
    from infinitetalk_cli.models.chunking import ending_frames, mode_context_frames, plan_chunks

    mode = settings.conditioning
    fits, holds = settings.last_chunk == "fit" or mode == "fl2v", settings.reference_refresh == "hold"
    num_context = mode_context_frames(mode, settings.context_frames)
    for chunk in plan_chunks(stretch.stop - stretch.start, settings.num_frames, num_context, number, fits):
        from_first = holds and mode == "sparse"
        index, time_s = frames.index_at(stretch.start + (0 if from_first else chunk.start_frame))
        ending = ending_frames(chunk) if mode == "fl2v" else ()
        yield PlannedChunk(
            index=first + chunk.index,
            scene=chunk.scene,
            index_in_scene=chunk.index,
            start_frame=stretch.start + chunk.start_frame,
            num_frames=chunk.num_frames,
            new_start=stretch.start + chunk.new_start,
            new_stop=stretch.start + chunk.new_stop,
            reference_index=index,
            reference_time_s=time_s,
            reference="previous" if mode == "i2v" and not chunk.is_first else "source",
            ending_indices=tuple(frames.index_at(stretch.start + frame)[0] for frame in ending),
            follows_source=scene.follows_source,
            sdedit_strength=scene.sdedit_strength,
            uni3c_strength=scene.uni3c_strength,
        )


def _stretches(scenes: Sequence[tuple[int, int]], settings: SpeechProfile, speech: SpeechSpans | None) -> list[Stretch]:
    from infinitetalk_cli.models.stretches import spoken_stretches, whole_scenes

    if speech is None:
        return whole_scenes(scenes)
    samples_per_frame = SPEECH_RATE_HZ // MODEL_RATE
    spoken = [(start // samples_per_frame, -(-stop // samples_per_frame)) for start, stop in speech.spans]
    margin, min_gap = (round(seconds * MODEL_RATE) for seconds in (settings.margin_s, settings.min_gap_s))
    return spoken_stretches(scenes, spoken, margin, min_gap)


def _settings(job: Job) -> BaseModel:
    profile, camera = job.profile, job.profile.camera
    by_motion = locks_moving_scenes(job)
    return KeyframeSettings(
        chunks=profile.chunks,
        speech=profile.speech,
        start_s=job.clip.start_s,
        min_motion=camera.min_motion if by_motion else None,
        sdedit_strength_by_motion=camera.sdedit_strength_by_motion if by_motion and profile.starts_from_source else (),
        uni3c_strength_by_motion=camera.uni3c_strength_by_motion if by_motion and profile.steers_camera else (),
    )


KEYFRAMES = Stage(
    name="keyframes",
    version=3,
    inputs=("timeline", "track"),
    outputs={"plan": "plan.json"},
    settings=_settings,
    run=select_keyframes,
    optional_inputs=("scenes", "speech_spans", "camera_motion"),
)
