"""Source -> where its scenes begin: found in the picture, or as the user lists them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import BaseModel

from infinitetalk_cli.config.base import Settings
from infinitetalk_cli.config.job import ExactSeconds, Job
from infinitetalk_cli.config.scene_list import read_scene_list
from infinitetalk_cli.errors import writing_to
from infinitetalk_cli.progress import Progress
from infinitetalk_cli.stages.stage import Inputs, Stage, StageContext

if TYPE_CHECKING:
    from infinitetalk_cli.media.timeline import SourceTimeline

SURROUNDINGS_S = 2
"""A preview is searched with this much of the film around it, so that its cuts are those of the whole."""


class SceneSettings(Settings):
    """Where in the source cuts matter: `end_s` None is its end."""

    start_s: ExactSeconds
    end_s: ExactSeconds | None


class Cut(Settings):
    """A scene begins with source frame `index`, at `time_s`.

    `reference_index` is its first frame that shows nothing of a fade or dissolve.
    """

    index: int
    time_s: ExactSeconds
    reference_index: int
    kind: Literal["cut", "fade", "dissolve", "listed"]


class SceneCuts(Settings):
    """`scenes.json`: the cuts in order; the first scene begins with the source, without one."""

    cuts: tuple[Cut, ...]


def read_scenes(path: Path) -> SceneCuts:
    """The `SceneCuts` written by this stage."""
    return SceneCuts.model_validate_json(path.read_bytes(), strict=False)


def find_scenes(inputs: Inputs, settings: SceneSettings, out_dir: Path, ctx: StageContext) -> None:
    """Write `scenes.json`.

    Raises:
        InputError: the source cannot be decoded, or a line of the user's list is not a time.
    """
    from infinitetalk_cli.media.timeline import SourceTimeline

    timeline = SourceTimeline.load(inputs["timeline"])
    if "scene_list" in inputs:
        cuts = tuple(_listed(read_scene_list(inputs["scene_list"]), timeline, inputs["scene_list"], ctx.progress))
    elif timeline.num_frames < 2:
        cuts = ()
    else:
        cuts = _found(inputs, timeline, settings, ctx.progress)
    with writing_to(out_dir):
        (out_dir / "scenes.json").write_text(SceneCuts(cuts=cuts).model_dump_json(indent=1), encoding="utf-8")


def _listed(times_s: Iterable[Fraction], timeline: SourceTimeline, path: Path, progress: Progress) -> Iterator[Cut]:
    """The source frame nearest to each time: a time rounded to a digit or two still means the frame that it names."""
    last = 0
    for time_s in times_s:
        if time_s >= timeline.duration_s:
            progress.note(f"{path.name}: cuts from {float(time_s):g} s on lie past the end of the video")
            return
        index = nearest_frame(timeline, time_s)
        if index > last:
            yield Cut(index=index, time_s=timeline.time_of(index), reference_index=index, kind="listed")
            last = index


def nearest_frame(timeline: SourceTimeline, time_s: Fraction) -> int:
    """The frame whose time is nearest to `time_s`."""
    before = timeline.frame_index_at(time_s)
    after = min(before + 1, timeline.num_frames - 1)
    return min(before, after, key=lambda index: abs(timeline.time_of(index) - time_s))


def _found(inputs: Inputs, timeline: SourceTimeline, settings: SceneSettings, progress: Progress) -> tuple[Cut, ...]:
    from infinitetalk_cli.models.scene_cuts import find_cuts

    first = timeline.frame_index_at(max(Fraction(0), settings.start_s - SURROUNDINGS_S))
    last = timeline.num_frames - 1
    if settings.end_s is not None:
        last = timeline.frame_index_at(settings.end_s + SURROUNDINGS_S)
    progress.start("looking for cuts", last + 1 - first)
    found = find_cuts(_thumbnails(inputs, timeline, range(first, last + 1), progress))
    return tuple(
        Cut(index=cut.index, time_s=timeline.time_of(cut.index), reference_index=cut.reference_index, kind=cut.kind)
        for cut in found
    )


def _thumbnails(
    inputs: Inputs, timeline: SourceTimeline, indices: range, progress: Progress
) -> Iterator[tuple[int, float, np.ndarray]]:
    from infinitetalk_cli.media.probe import MediaInfo
    from infinitetalk_cli.media.reader import FrameReader
    from infinitetalk_cli.models.scene_cuts import THUMBNAIL_SIZE

    info = MediaInfo.model_validate_json(inputs["media"].read_bytes())
    with FrameReader(inputs["source_video"], info, timeline, THUMBNAIL_SIZE) as reader:
        for index, pixels in zip(indices, reader.read(indices), strict=True):
            yield index, float(timeline.time_of(index)), pixels
            progress.advance()


def _settings(job: Job) -> BaseModel:
    return SceneSettings(start_s=job.clip.start_s, end_s=job.clip.end_s)


def _applies(job: Job) -> bool:
    return job.profile.chunks.scenes == "auto"


SCENES = Stage(
    name="scenes",
    version=1,
    inputs=("source_video", "media", "timeline"),
    outputs={"scenes": "scenes.json"},
    settings=_settings,
    run=find_scenes,
    optional_inputs=("scene_list",),
    applies=_applies,
)
