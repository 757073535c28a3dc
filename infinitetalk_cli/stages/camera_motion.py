"""Source -> how much its camera moves in each scene, for jobs that lock only the scenes in which it does."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from math import sqrt
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import BaseModel

from infinitetalk_cli.config.base import Settings
from infinitetalk_cli.config.job import ExactSeconds, Job
from infinitetalk_cli.errors import writing_to
from infinitetalk_cli.stages.scenes import read_scenes
from infinitetalk_cli.stages.stage import Inputs, Stage, StageContext

if TYPE_CHECKING:
    from infinitetalk_cli.media.probe import VideoInfo
    from infinitetalk_cli.media.reader import FrameReader
    from infinitetalk_cli.media.timeline import SourceTimeline
    from infinitetalk_cli.models.camera_motion import Motion

LOOKS_PER_S = Fraction(25, 2)
"""So often the camera is looked at: a hand shakes a few times a second."""

_AT_ONCE = 16


class CameraSettings(Settings):
    """The stretch that is looked at; `end_s` None is the end of the source."""

    start_s: ExactSeconds
    end_s: ExactSeconds | None


class SceneMotion(Settings):
    """The scene that begins with source frame `start_index`, and its most restless second.

    `speed` is what `models.camera_motion.Busiest` says: shares of the picture's size per second. `at_s` counts from the
    start of the source.
    """

    start_index: int
    speed: float
    kind: Literal["still", "pan", "zoom", "turn", "shake", "unseen"]
    at_s: float

    def speed_px(self, width: int, height: int) -> float:
        """Px per second in a picture of this size."""
        return self.speed * sqrt(width * height)


class CameraMotion(Settings):
    """`camera.json`: the scenes in the stretch, in order."""

    scenes: tuple[SceneMotion, ...]

    def scene_at(self, source_index: int) -> SceneMotion:
        """The scene that a source frame belongs to."""
        begun = [scene for scene in self.scenes if scene.start_index <= source_index]
        return begun[-1] if begun else self.scenes[0]


def read_camera_motion(path: Path) -> CameraMotion:
    """The `CameraMotion` written by this stage."""
    return CameraMotion.model_validate_json(path.read_bytes(), strict=False)


def measure_camera(inputs: Inputs, settings: CameraSettings, out_dir: Path, ctx: StageContext) -> None:
    """Write `camera.json`.

    Raises:
        InputError: the source cannot be decoded.
    """
    from infinitetalk_cli.media.probe import MediaInfo, require_video
    from infinitetalk_cli.media.reader import FrameReader
    from infinitetalk_cli.media.timeline import SourceTimeline
    from infinitetalk_cli.models.camera_motion import working_size

    info = MediaInfo.model_validate_json(inputs["media"].read_bytes())
    timeline = SourceTimeline.load(inputs["timeline"])
    video = require_video(inputs["source_video"], info)
    size = working_size(*video.display_size)
    stored_size = size[::-1] if video.rotation in (90, 270) else size
    starts = [0, *(cut.index for cut in read_scenes(inputs["scenes"]).cuts)] if "scenes" in inputs else [0]
    spans = list(_spans(starts, timeline, settings))
    ctx.progress.start("measuring the camera", sum(len(indices) for _, indices in spans))
    scenes = []
    with FrameReader(inputs["source_video"], info, timeline, stored_size) as reader:
        for start, indices in spans:
            scenes.append(_measured(start, indices, reader, timeline, video, ctx))
    with writing_to(out_dir):
        (out_dir / "camera.json").write_text(
            CameraMotion(scenes=tuple(scenes)).model_dump_json(indent=1), encoding="utf-8"
        )


def _spans(starts: list[int], timeline: SourceTimeline, settings: CameraSettings) -> Iterator[tuple[int, list[int]]]:
    """Of every scene in the stretch: its first source frame, and the frames that are looked at."""
    first = timeline.frame_index_at(settings.start_s)
    last = timeline.num_frames - 1 if settings.end_s is None else timeline.frame_index_at(settings.end_s)
    for start, stop in zip(starts, [*starts[1:], timeline.num_frames], strict=True):
        begin, end = max(start, first), min(stop - 1, last)
        if begin > end:
            continue
        num_looks = int((timeline.time_of(end) - timeline.time_of(begin)) * LOOKS_PER_S) + 1
        times = (timeline.time_of(begin) + index / LOOKS_PER_S for index in range(num_looks))
        yield start, sorted({max(begin, timeline.frame_index_at(time_s)) for time_s in times})


def _measured(
    start: int, indices: list[int], reader: FrameReader, timeline: SourceTimeline, video: VideoInfo, ctx: StageContext
) -> SceneMotion:
    from infinitetalk_cli.models.camera_motion import busiest_second

    times_s = [float(timeline.time_of(index)) for index in indices]
    motions = list(_motions(indices, reader, ctx))
    width, height = video.display_size
    busiest = busiest_second(motions, times_s, width / height)
    return SceneMotion(start_index=start, speed=round(busiest.speed, 6), kind=busiest.kind, at_s=round(busiest.at_s, 3))


def _motions(indices: list[int], reader: FrameReader, ctx: StageContext) -> Iterator[Motion]:
    """From each of these frames to the next; a few pictures at a time, so memory stays constant."""
    from infinitetalk_cli.models.camera_motion import camera_motions

    waiting: list[np.ndarray] = []
    for place, pixels in enumerate(reader.read(indices)):
        waiting.append(pixels.mean(axis=2, dtype=np.float32))
        ctx.progress.advance()
        if len(waiting) > _AT_ONCE or place == len(indices) - 1:
            yield from camera_motions(waiting, [(k, k + 1) for k in range(len(waiting) - 1)])
            del waiting[:-1]


def _settings(job: Job) -> BaseModel:
    return CameraSettings(start_s=job.clip.start_s, end_s=job.clip.end_s)


def locks_moving_scenes(job: Job) -> bool:
    """Whether the plan needs to know how the camera moves."""
    return job.profile.camera.lock == "moving" and job.profile.locks_camera


CAMERA_MOTION = Stage(
    name="camera_motion",
    version=1,
    inputs=("source_video", "media", "timeline"),
    outputs={"camera_motion": "camera.json"},
    settings=_settings,
    run=measure_camera,
    optional_inputs=("scenes",),
    applies=locks_moving_scenes,
)
