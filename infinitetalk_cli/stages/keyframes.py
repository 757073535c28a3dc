"""Timeline, scenes and speech -> chunk plan, and the reference frame of every chunk, chosen by time stamp."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel

from infinitetalk_cli.config.job import ExactSeconds, Job
from infinitetalk_cli.config.profile import ChunkProfile, Settings, SpeechProfile
from infinitetalk_cli.errors import writing_to
from infinitetalk_cli.stages.audio_embedding import read_track
from infinitetalk_cli.stages.scenes import Cut, read_scenes
from infinitetalk_cli.stages.speech_spans import SpeechSpans, read_speech_spans
from infinitetalk_cli.stages.stage import Inputs, Stage, StageContext
from infinitetalk_cli.units import MODEL_RATE, SPEECH_RATE_HZ, frame_time, frames_in

if TYPE_CHECKING:
    from infinitetalk_cli.media.timeline import SourceTimeline
    from infinitetalk_cli.models.stretches import Stretch


class KeyframeSettings(Settings):
    """What decides the plan: the chunk and speech profiles, and where in the source the stretch begins."""

    chunks: ChunkProfile
    speech: SpeechProfile = SpeechProfile()
    start_s: ExactSeconds


class PlannedChunk(Settings):
    """One chunk on the model's timeline (25 fps, frame 0 at the start of the stretch).

    It is generated for frames `[start_frame, start_frame + num_frames)` and contributes
    `[new_start, new_stop)`; what lies before `new_start` is context. `reference_index` is a source frame. `scene`
    counts streams: a scene, or a stretch of speech in one; it and `index_in_scene` name the noise.
    """

    index: int
    scene: int
    index_in_scene: int
    start_frame: int
    num_frames: int
    new_start: int
    new_stop: int
    reference_index: int
    reference_time_s: ExactSeconds


class PlannedScene(Settings):
    """Frames `[start_frame, stop_frame)` of the model's timeline; `kind` says how the scene begins."""

    start_frame: int
    stop_frame: int
    kind: str


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
    )
    with writing_to(out_dir):
        (out_dir / "plan.json").write_text(plan.model_dump_json(indent=1), encoding="utf-8")


def make_plan(
    num_frames: int,
    settings: KeyframeSettings,
    timeline: SourceTimeline,
    cuts: Sequence[Cut] = (),
    speech: SpeechSpans | None = None,
) -> ChunkPlan:
    """Chunks for `num_frames` model frames, none of which crosses one of `cuts`, only where `speech` is if given.

    A scene begins with the first model frame at which its first source frame is on screen. The reference of a chunk is
    the source frame on screen when the chunk begins (the published loop; paper Section 3.3), or with
    `reference_refresh: hold` when its stream begins; in a scene that fades in, none before it stands clear.
    """
    from infinitetalk_cli.models.chunking import plan_chunks
    from infinitetalk_cli.models.stretches import scene_spans

    starts = {max(0, frames_in(cut.time_s - settings.start_s)): cut for cut in cuts}
    spans = scene_spans(starts, num_frames)
    stretches = _stretches(spans, settings.speech, speech)
    chunks: list[PlannedChunk] = []
    for number, stretch in enumerate(stretches):
        cut, next_cut = (starts.get(edge) for edge in spans[stretch.scene])
        length, fits = stretch.stop - stretch.start, settings.chunks.last_chunk == "fit"
        for chunk in plan_chunks(length, settings.chunks.num_frames, settings.chunks.context_frames, number, fits):
            holds = settings.chunks.reference_refresh == "hold"
            time_s = settings.start_s + frame_time(stretch.start + (0 if holds else chunk.start_frame))
            index = timeline.frame_index_at(time_s)
            if cut is not None and index < cut.reference_index:
                index = cut.reference_index if next_cut is None else min(cut.reference_index, next_cut.index - 1)
                time_s = timeline.time_of(index)
            chunks.append(
                PlannedChunk(
                    index=len(chunks),
                    scene=chunk.scene,
                    index_in_scene=chunk.index,
                    start_frame=stretch.start + chunk.start_frame,
                    num_frames=chunk.num_frames,
                    new_start=stretch.start + chunk.new_start,
                    new_stop=stretch.start + chunk.new_stop,
                    reference_index=index,
                    reference_time_s=time_s,
                )
            )
    scenes = tuple(
        PlannedScene(start_frame=start, stop_frame=stop, kind=starts[start].kind if start else "start")
        for start, stop in spans
    )
    streams = tuple(PlannedStream(**asdict(stretch)) for stretch in stretches)
    return ChunkPlan(num_frames=num_frames, chunks=tuple(chunks), scenes=scenes, streams=streams)


def _stretches(scenes: Sequence[tuple[int, int]], settings: SpeechProfile, speech: SpeechSpans | None) -> list[Stretch]:
    from infinitetalk_cli.models.stretches import spoken_stretches, whole_scenes

    if speech is None:
        return whole_scenes(scenes)
    samples_per_frame = SPEECH_RATE_HZ // MODEL_RATE
    spoken = [(start // samples_per_frame, -(-stop // samples_per_frame)) for start, stop in speech.spans]
    margin, min_gap = (round(seconds * MODEL_RATE) for seconds in (settings.margin_s, settings.min_gap_s))
    return spoken_stretches(scenes, spoken, margin, min_gap)


def _settings(job: Job) -> BaseModel:
    return KeyframeSettings(chunks=job.profile.chunks, speech=job.profile.speech, start_s=job.clip.start_s)


KEYFRAMES = Stage(
    name="keyframes",
    version=2,
    inputs=("timeline", "track"),
    outputs={"plan": "plan.json"},
    settings=_settings,
    run=select_keyframes,
    optional_inputs=("scenes", "speech_spans"),
)
