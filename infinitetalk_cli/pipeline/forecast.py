"""What a job will take, before anything is computed: stages, chunks, memory, disk, and time where it was measured."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from fractions import Fraction
from pathlib import Path
from typing import Any

from infinitetalk_cli.media.probe import require_video
from infinitetalk_cli.media.timeline import SourceTimeline
from infinitetalk_cli.pipeline.camera import scene_strengths
from infinitetalk_cli.pipeline.disk import DiskPlan, plan_disk
from infinitetalk_cli.pipeline.extent import chunks_left, length
from infinitetalk_cli.pipeline.fitting import MemoryPlan, plan_of
from infinitetalk_cli.pipeline.jobs import job_records, last_run
from infinitetalk_cli.pipeline.layout import Layout, layout_of
from infinitetalk_cli.pipeline.pace import known_pace
from infinitetalk_cli.pipeline.plan import StageState
from infinitetalk_cli.pipeline.reasons import reasons
from infinitetalk_cli.pipeline.remaining import stages_to_do
from infinitetalk_cli.pipeline.request import Prepared
from infinitetalk_cli.stages.camera_motion import read_camera_motion
from infinitetalk_cli.stages.generate import GENERATE
from infinitetalk_cli.stages.keyframes import KEYFRAMES, ChunkPlan, PlannedScene, make_plan
from infinitetalk_cli.stages.scenes import read_scenes
from infinitetalk_cli.stages.sharing import streams_of
from infinitetalk_cli.stages.speech_spans import read_speech_spans
from infinitetalk_cli.units import frame_time


@dataclass(frozen=True)
class CameraForecast:
    """Whether a scene is locked to the source's camera, and why: its most restless second, which begins at `at_s`.

    Speeds are in px per second at the size that is generated; `kind` is "pan", "zoom", "turn", "shake", "still", or
    "unseen" where no background could be judged.
    """

    locked: bool
    kind: str
    speed_px_s: float
    threshold_px_s: float
    at_s: float
    sdedit_strength: float | None = None
    uni3c_strength: float | None = None
    """How strongly, by method; None: not by it, or free."""


@dataclass(frozen=True)
class SceneForecast:
    """A scene of the result: where in the source it begins, how, and how many chunks bring its frames.

    `camera` None: its motion does not decide anything.
    """

    start_s: float
    begins: str
    num_chunks: int
    camera: CameraForecast | None = None


@dataclass(frozen=True)
class StageForecast:
    """A stage, and why it is made: empty where these files are dubbed for the first time.

    `state` "done" is in the cache, "to do" will be made, "begun" continued; "not needed" is neither there nor missed.
    """

    name: str
    state: str
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class Forecast:
    """The plan of a job. Lengths are estimates until the audio has been decoded once.

    `memory` None: nothing is left that needs any. `generate_s` is the time for the chunks that are left, None unless
    this machine has made such chunks before.
    """

    output: Path
    profile: str
    stages: tuple[StageForecast, ...]
    duration_s: Fraction
    num_frames: int
    is_estimate: bool
    num_chunks: int
    num_chunks_done: int
    num_chunks_left: int
    """Chunks that will be made: none where the result is there without them."""
    chunk_frames: int
    scenes: tuple[SceneForecast, ...]
    num_kept_frames: int
    """Frames that stay the source's own."""
    share_saved: float
    """Of the frames that would be generated if pauses were too, context included."""
    width: int
    height: int
    output_size: str
    disk: DiskPlan
    memory: MemoryPlan | None
    layout: Layout | None
    """How several processes share what is left; None: there is one, or nothing is left."""
    generate_s: float | None

    def as_dict(self) -> dict[str, Any]:
        """The plan as plain data, for `--json`."""
        plain = {field.name: getattr(self, field.name) for field in fields(self)}
        return {
            "status": "planned",
            **plain,
            "output": str(self.output),
            "duration_s": float(self.duration_s),
            "stages": [asdict(stage) for stage in self.stages],
            "scenes": [asdict(scene) for scene in self.scenes],
            "disk": self.disk.as_dict(),
            "memory": None if self.memory is None else self.memory.as_dict(),
            "layout": None if self.layout is None else {**self.layout.as_dict(), "text": self.layout.text},
        }


def forecast(prepared: Prepared, seen: Mapping[str, Path]) -> Forecast:
    """The plan of `prepared`; `seen` are the artefacts of a `survey`. Reads the headers of the weights too."""
    profile, chunks = prepared.job.profile, prepared.job.profile.chunks
    duration_s, num_frames, is_estimate = length(prepared)
    plan, unsparing = _plans(prepared, num_frames, seen)
    planned = plan.chunks
    video = require_video(prepared.request.video, prepared.source)
    width, height = prepared.picture_size
    left = chunks_left(prepared, planned)
    num_left = len(left) if GENERATE.name in stages_to_do(prepared) else 0
    pace = known_pace(prepared, prepared.picture_size)
    return Forecast(
        output=prepared.destination.output,
        profile=profile.name,
        stages=tuple(_stages(prepared)),
        duration_s=duration_s,
        num_frames=num_frames,
        is_estimate=is_estimate,
        num_chunks=len(planned),
        num_chunks_done=len(planned) - len(left),
        num_chunks_left=num_left,
        chunk_frames=chunks.num_frames,
        scenes=tuple(
            SceneForecast(
                start_s=float(prepared.job.clip.start_s + frame_time(scene.start_frame)),
                begins=scene.kind,
                num_chunks=plan.chunks_in(scene),
                camera=_camera(prepared, scene),
            )
            for scene in plan.scenes
        ),
        num_kept_frames=plan.num_kept,
        share_saved=round(1 - plan.num_generated / max(1, unsparing.num_generated), 4),
        width=width,
        height=height,
        output_size="x".join(map(str, video.upright_size)),
        disk=plan_disk(prepared, sum(chunk.new_stop - chunk.new_start for chunk in left)),
        memory=plan_of(prepared),
        layout=layout_of(prepared, streams_of(left)) if num_left and prepared.request.num_processes > 1 else None,
        generate_s=None if pace is None else num_left * pace.seconds_per_chunk,
    )


def _stages(prepared: Prepared) -> Iterator[StageForecast]:
    last = last_run(job_records(prepared.store), prepared.key, prepared.sources)
    why = reasons(prepared.stages, last, prepared.store)
    to_do, counts_done = stages_to_do(prepared), prepared.request.use_cache
    for step in prepared.stages:
        name, state = step.stage.name, step.state
        if name in to_do:
            yield StageForecast(name, str(state if counts_done else StageState.TODO), why.get(name, ()))
        else:
            yield StageForecast(name, "done" if state is StageState.DONE else "not needed", ())


def _plans(prepared: Prepared, num_frames: int, seen: Mapping[str, Path]) -> tuple[ChunkPlan, ChunkPlan]:
    """The plan of the chunks, and what it would be if pauses were generated too."""
    settings = KEYFRAMES.settings(prepared.job)
    cuts = read_scenes(seen["scenes"]).cuts if "scenes" in seen else ()
    timeline = SourceTimeline.load(seen["timeline"])
    camera = read_camera_motion(seen["camera_motion"]) if "camera_motion" in seen else None
    unsparing = make_plan(num_frames, settings, timeline, cuts, camera=camera)
    if "speech_spans" not in seen:
        return unsparing, unsparing
    return make_plan(num_frames, settings, timeline, cuts, read_speech_spans(seen["speech_spans"]), camera), unsparing


def _camera(prepared: Prepared, scene: PlannedScene) -> CameraForecast | None:
    if scene.camera is None:
        return None
    width, height = prepared.picture_size
    speed_px_s = round(scene.camera.speed_px(width, height), 2)
    threshold_px_s = round(prepared.job.profile.camera.min_motion * (width * height) ** 0.5, 2)
    at_s = scene.camera.at_s
    kind, locked = scene.camera.kind, scene.follows_source
    return CameraForecast(locked, kind, speed_px_s, threshold_px_s, at_s, *scene_strengths(prepared.job.profile, scene))
