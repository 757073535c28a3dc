"""Finished chunks beside the source -> how far the result has drifted, and small pictures of every chunk."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image
from pydantic import BaseModel, SerializerFunctionWrapHandler, model_serializer

from infinitetalk_cli.cache.files import write_text_atomic
from infinitetalk_cli.config.base import Settings
from infinitetalk_cli.config.job import ExactSeconds, Job
from infinitetalk_cli.config.profile import GeometryProfile
from infinitetalk_cli.errors import InputError, writing_to
from infinitetalk_cli.quality import faces
from infinitetalk_cli.quality.colour import palette, palette_distance
from infinitetalk_cli.quality.drift import DriftMinute, DriftSample, per_minute
from infinitetalk_cli.quality.likeness import likeness
from infinitetalk_cli.quality.pictures import shrink
from infinitetalk_cli.stages.attempts import ChunkRecord, read_record
from infinitetalk_cli.stages.camera_check import CameraCheck, SceneCamera
from infinitetalk_cli.stages.chunk_files import chunk_file, record_file
from infinitetalk_cli.stages.keyframes import ChunkPlan, read_plan
from infinitetalk_cli.stages.planned_chunk import PlannedChunk
from infinitetalk_cli.stages.source_pixels import SourcePixels, fitted, model_size
from infinitetalk_cli.stages.stage import Inputs, Stage, StageContext
from infinitetalk_cli.units import MODEL_RATE, frame_time

if TYPE_CHECKING:
    from infinitetalk_cli.media.reader import FrameReader
    from infinitetalk_cli.media.timeline import SourceTimeline

SAMPLE_EVERY_FRAMES = int(MODEL_RATE)
"""One frame per second, from its middle: the first frame of a scene is the source's own and tells nothing."""

FACE_EVERY_SAMPLES = 5
THUMBNAIL_HEIGHT_PX = 90
_WEBP_QUALITY = 70


class InspectionSettings(Settings):
    """What decides the comparison; `camera`: whether the cameras are compared as well."""

    geometry: GeometryProfile
    start_s: ExactSeconds
    finds_faces: bool
    camera: bool = False

    @model_serializer(mode="wrap")
    def _only_what_counts(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Jobs that leave the camera alone are the same jobs as before it was compared."""
        return {key: value for key, value in dump(self).items() if key != "camera" or value}


class Inspection(Settings):
    """`inspection.json`: how every chunk came about, and the drift.

    `num_unreadable` samples could not be compared, because the source is damaged there. `camera`: of all scenes of
    which something was generated, where it was asked for.
    """

    chunks: tuple[ChunkRecord, ...]
    minutes: tuple[DriftMinute, ...]
    samples: tuple[DriftSample, ...]
    num_unreadable: int
    camera: tuple[SceneCamera, ...] = ()


def read_inspection(path: Path) -> Inspection:
    """The `Inspection` written by this stage."""
    return Inspection.model_validate_json(path.read_bytes(), strict=False)


def thumbnail_file(folder: Path, index: int) -> Path:
    """First, middle and last frame of chunk `index`, side by side."""
    return folder / f"chunk-{index:06d}.webp"


def inspect(inputs: Inputs, settings: InspectionSettings, out_dir: Path, ctx: StageContext) -> None:
    """Write `inspection.json` and `thumbnails/`. A source that cannot be read somewhere is compared elsewhere."""
    from infinitetalk_cli.media.probe import MediaInfo
    from infinitetalk_cli.media.reader import FrameReader
    from infinitetalk_cli.media.timeline import SourceTimeline

    plan = read_plan(inputs["plan"])
    info = MediaInfo.model_validate_json(inputs["media"].read_bytes())
    timeline = SourceTimeline.load(inputs["timeline"])
    folder = out_dir / "thumbnails"
    with writing_to(folder):
        folder.mkdir()
    samples = {frame: DriftSample(float(frame_time(frame))) for frame in _sampled(0, plan.num_frames)}
    ctx.progress.start("looking at the result", len(plan.chunks))
    size = model_size(info.video, settings.geometry)
    with ExitStack() as stack:
        reader, beside = (stack.enter_context(FrameReader(inputs["source_video"], info, timeline)) for _ in range(2))
        compare = _Comparison(reader, timeline, size, settings, plan)
        camera = None
        if settings.camera and timeline.num_frames > 1:
            camera = CameraCheck(SourcePixels(beside, timeline, size, settings.geometry, settings.start_s), plan)
        for chunk in plan.chunks:
            frames = _frames(inputs["chunks"], chunk, camera)
            _write_thumbnails(thumbnail_file(folder, chunk.index), frames, chunk)
            for frame in _sampled(chunk.new_start, chunk.new_stop):
                samples[frame] = compare.sample(frame, frames[frame])
            ctx.progress.advance()
        seen = () if camera is None else camera.scenes()
    found = Inspection(
        chunks=tuple(read_record(record_file(inputs["chunks"], chunk.index)) for chunk in plan.chunks),
        minutes=tuple(per_minute(list(samples.values()))),
        samples=tuple(samples.values()),
        num_unreadable=compare.num_unreadable,
        camera=seen,
    )
    write_text_atomic(out_dir / "inspection.json", found.model_dump_json())


class _Comparison:
    """Frames of the result beside those of the source at the same times, asked for in rising order."""

    def __init__(
        self,
        reader: FrameReader,
        timeline: SourceTimeline,
        size: tuple[int, int],
        settings: InspectionSettings,
        plan: ChunkPlan,
    ) -> None:
        self._reader, self._timeline, self._size, self._settings = reader, timeline, size, settings
        self._scene_starts = {scene.start_frame for scene in plan.scenes}
        self._before: tuple[int, np.ndarray] | None = None
        self.num_unreadable = 0

    def sample(self, frame: int, made: np.ndarray) -> DriftSample:
        """`made` (h, w, 3) is model frame `frame`."""
        nothing = DriftSample(float(frame_time(frame)))
        index = self._timeline.frame_index_at(self._settings.start_s + frame_time(frame))
        try:
            source = fitted(self._reader.at(index), self._size, self._settings.geometry)
        except InputError:
            self.num_unreadable += 1
            return nothing
        found = replace(nothing, delta_e=_color_distance(made, source), likeness=likeness(made, source))
        if self._settings.finds_faces and (frame // SAMPLE_EVERY_FRAMES) % FACE_EVERY_SAMPLES == 0:
            found = replace(found, face_likeness=_face_likeness(made, source))
        before, self._before = self._before, (frame, source)
        if before is None or any(before[0] < start <= frame for start in self._scene_starts):
            return found
        return replace(
            found, source_delta_e=_color_distance(before[1], source), source_likeness=likeness(before[1], source)
        )


def _sampled(start: int, stop: int) -> range:
    middle = SAMPLE_EVERY_FRAMES // 2
    return range(start + (middle - start) % SAMPLE_EVERY_FRAMES, stop, SAMPLE_EVERY_FRAMES)


def _shown(chunk: PlannedChunk) -> tuple[int, int, int]:
    return chunk.new_start, (chunk.new_start + chunk.new_stop - 1) // 2, chunk.new_stop - 1


def _frames(chunks: Path, chunk: PlannedChunk, camera: CameraCheck | None) -> dict[int, np.ndarray]:
    """The frames of a chunk that are looked at, by their place in the model's timeline; `camera` sees all of them."""
    from infinitetalk_cli.media.lossless import read_frames

    wanted = {*_shown(chunk), *_sampled(chunk.new_start, chunk.new_stop)}
    found = {}
    for frame, pixels in enumerate(read_frames(chunk_file(chunks, chunk.index)), start=chunk.new_start):
        if camera is not None:
            camera.see(frame, pixels)
        if frame in wanted:
            found[frame] = pixels
    return found


def _write_thumbnails(path: Path, frames: dict[int, np.ndarray], chunk: PlannedChunk) -> None:
    pictures = [frames[frame] for frame in _shown(chunk)]
    height, width = pictures[0].shape[:2]
    size = (max(1, round(width * THUMBNAIL_HEIGHT_PX / height)), THUMBNAIL_HEIGHT_PX)
    small = [np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.LANCZOS)) for picture in pictures]
    with writing_to(path):
        Image.fromarray(np.concatenate(small, axis=1)).save(path, quality=_WEBP_QUALITY)


def _color_distance(one: np.ndarray, other: np.ndarray) -> float:
    palettes = palette(shrink([one, other]))
    return round(float(palette_distance(palettes[0], palettes[1])), 3)


def _face_likeness(one: np.ndarray, other: np.ndarray) -> float | None:
    """Of the largest faces in both, whatever their place and size."""
    cut = []
    for picture in (other, one):
        face = faces.find_face(picture)
        if face is None:
            return None
        cut.append(np.moveaxis(face.cut(np.moveaxis(picture, -1, 0)), 0, -1))
    return likeness(cut[0], cut[1])


def _settings(job: Job) -> BaseModel:
    profile = job.profile
    return InspectionSettings(
        geometry=profile.geometry,
        start_s=job.clip.start_s,
        finds_faces=faces.is_installed(),
        camera=profile.locks_camera or profile.camera.compare == "always",
    )


def _applies(job: Job) -> bool:
    return job.report


INSPECTION = Stage(
    name="inspect",
    version=1,
    inputs=("source_video", "media", "timeline", "plan", "chunks"),
    outputs={"inspection": "inspection.json", "thumbnails": "thumbnails"},
    settings=_settings,
    run=inspect,
    applies=_applies,
)
