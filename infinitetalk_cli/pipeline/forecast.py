"""What a job will take, before anything is computed: stages, chunks, memory, disk, and time where it was measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from fractions import Fraction
from pathlib import Path
from typing import Any

from infinitetalk_cli.config.job import Length
from infinitetalk_cli.media.probe import require_video
from infinitetalk_cli.media.timeline import SourceTimeline
from infinitetalk_cli.pipeline.fitting import MemoryPlan, plan_of
from infinitetalk_cli.pipeline.pace import known_pace
from infinitetalk_cli.pipeline.plan import StageState
from infinitetalk_cli.pipeline.request import Prepared
from infinitetalk_cli.stages.audio_embedding import read_track
from infinitetalk_cli.stages.chunk_files import num_committed
from infinitetalk_cli.stages.keyframes import KEYFRAMES, ChunkPlan, make_plan
from infinitetalk_cli.stages.scenes import read_scenes
from infinitetalk_cli.stages.speech_spans import read_speech_spans
from infinitetalk_cli.units import frame_time, frames_in


@dataclass(frozen=True)
class SceneForecast:
    """A scene of the result: where in the source it begins, how, and how many chunks bring its frames."""

    start_s: float
    begins: str
    num_chunks: int


@dataclass(frozen=True)
class Forecast:
    """The plan of a job. Lengths are estimates until the audio has been decoded once.

    `memory` None: nothing is left that needs any. `generate_s` is the time for the chunks that are left, None unless
    this machine has made such chunks before.
    """

    output: Path
    profile: str
    stages: tuple[tuple[str, str], ...]
    duration_s: Fraction
    num_frames: int
    is_estimate: bool
    num_chunks: int
    num_chunks_done: int
    chunk_frames: int
    scenes: tuple[SceneForecast, ...]
    num_kept_frames: int
    """Frames that stay the source's own."""
    share_saved: float
    """Of the frames that would be generated if pauses were too, context included."""
    width: int
    height: int
    output_size: str
    disk_bytes: int
    memory: MemoryPlan | None
    generate_s: float | None

    def as_dict(self) -> dict[str, Any]:
        """The plan as plain data, for `--json`."""
        plain = {field.name: getattr(self, field.name) for field in fields(self)}
        return {
            "status": "planned",
            **plain,
            "output": str(self.output),
            "duration_s": float(self.duration_s),
            "stages": [{"name": name, "state": state} for name, state in self.stages],
            "scenes": [asdict(scene) for scene in self.scenes],
            "memory": None if self.memory is None else self.memory.as_dict(),
        }


def forecast(prepared: Prepared, seen: Mapping[str, Path]) -> Forecast:
    """The plan of `prepared`; `seen` are the artefacts of a `survey`. Reads the headers of the weights too."""
    profile, chunks = prepared.job.profile, prepared.job.profile.chunks
    duration_s, num_frames, is_estimate = _length(prepared)
    plan, unsparing = _plans(prepared, num_frames, seen)
    planned = plan.chunks
    video = require_video(prepared.request.video, prepared.source)
    width, height = prepared.picture_size
    num_done = _chunks_done(prepared, len(planned))
    pace = known_pace(prepared, prepared.picture_size)
    return Forecast(
        output=prepared.destination.output,
        profile=profile.name,
        stages=tuple((step.stage.name, str(step.state)) for step in prepared.stages),
        duration_s=duration_s,
        num_frames=num_frames,
        is_estimate=is_estimate,
        num_chunks=len(planned),
        num_chunks_done=num_done,
        chunk_frames=chunks.num_frames,
        scenes=tuple(
            SceneForecast(
                start_s=float(prepared.job.clip.start_s + frame_time(scene.start_frame)),
                begins=scene.kind,
                num_chunks=plan.chunks_in(scene),
            )
            for scene in plan.scenes
        ),
        num_kept_frames=plan.num_kept,
        share_saved=round(1 - plan.num_generated / max(1, unsparing.num_generated), 4),
        width=width,
        height=height,
        output_size="x".join(map(str, video.upright_size)),
        disk_bytes=(len(planned) - num_done) * chunks.num_frames * height * width * 3,
        memory=plan_of(prepared),
        generate_s=None if pace is None else (len(planned) - num_done) * pace.seconds_per_chunk,
    )


def _plans(prepared: Prepared, num_frames: int, seen: Mapping[str, Path]) -> tuple[ChunkPlan, ChunkPlan]:
    """The plan of the chunks, and what it would be if pauses were generated too."""
    settings = KEYFRAMES.settings(prepared.job)
    cuts = read_scenes(seen["scenes"]).cuts if "scenes" in seen else ()
    timeline = SourceTimeline.load(seen["timeline"])
    unsparing = make_plan(num_frames, settings, timeline, cuts)
    if "speech_spans" not in seen:
        return unsparing, unsparing
    return make_plan(num_frames, settings, timeline, cuts, read_speech_spans(seen["speech_spans"])), unsparing


def _length(prepared: Prepared) -> tuple[Fraction, int, bool]:
    """Duration, model frames, and whether these are only what the containers claim."""
    for step in prepared.stages:
        if step.stage.name == "audio_embedding" and step.state is StageState.DONE:
            entry = prepared.store.final_path(step.stage.name, step.fingerprint)
            track = read_track(entry / step.stage.outputs["track"])
            return track.duration_s, track.num_frames, False
    clip = prepared.job.clip
    claimed = {Length.AUDIO: [prepared.dub_audio], Length.VIDEO: [prepared.source]}
    ends = [info.duration_s for info in claimed.get(clip.length, [prepared.dub_audio, prepared.source])]
    known = [end for end in ends if end is not None]
    end_s = min(known, default=Fraction(0))
    if clip.end_s is not None:
        end_s = min(end_s, clip.end_s)
    duration_s = max(end_s - clip.start_s, Fraction(0))
    return duration_s, frames_in(duration_s), True


def _chunks_done(prepared: Prepared, num_chunks: int) -> int:
    step = next(step for step in prepared.stages if step.stage.name == "generate")
    if step.state is StageState.DONE:
        return num_chunks
    partial = prepared.store.partial_path(step.stage.name, step.fingerprint)
    return num_committed(partial / step.stage.outputs["chunks"], num_chunks)
