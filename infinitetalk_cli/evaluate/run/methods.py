"""Where the results come from: the project's own pipeline, files that any method has made, or the source itself."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from infinitetalk_cli.cache.files import written_whole
from infinitetalk_cli.cache.fingerprint import fingerprint
from infinitetalk_cli.errors import writing_to
from infinitetalk_cli.evaluate.measures.seams import seam_positions
from infinitetalk_cli.evaluate.splits.prepare import PreparedClip
from infinitetalk_cli.units import MODEL_RATE

if TYPE_CHECKING:
    from infinitetalk_cli.pipeline.request import DubRequest, Prepared
    from infinitetalk_cli.pipeline.runner import PipelineProgress

SUFFIXES = (".mp4", ".mkv", ".mov", ".webm", ".avi", ".m4v")


@dataclass(frozen=True)
class Result:
    """What a method made of a clip; `seams`: first frames of later chunks; `seconds` None: it was there before.

    `made_with`: the profile and the weights that were really used, as plain data; empty where nobody knows.
    """

    path: Path
    seams: tuple[int, ...]
    seconds: float | None = None
    made_with: Mapping[str, Any] = field(default_factory=dict)


class Method(Protocol):
    """Something that dubs."""

    name: str

    def about(self) -> dict[str, Any]:
        """What it is, as plain data: equal methods say the same."""

    def result(self, clip: PreparedClip, folder: Path) -> Result | None:
        """The result for a clip, made below `folder` if it has to be; None if there is none.

        Raises:
            InfiniteTalkError: it could not be made.
        """


@dataclass(frozen=True)
class ChunkLayout:
    """Chunks of a method that is not ours; the published numbers unless told otherwise."""

    chunk_frames: int = 81
    context_frames: int = 9

    def seams(self, num_frames: int) -> tuple[int, ...]:
        """First new frames of all chunks but the first."""
        return tuple(seam_positions(num_frames, self.chunk_frames, self.context_frames))


@dataclass(frozen=True)
class CopyMethod:
    """The source's picture, bit by bit, with the new sound: the best FID, FVD and CSIM there can be, and no dubbing."""

    name: str = "copy"
    layout: ChunkLayout = ChunkLayout()

    def about(self) -> dict[str, Any]:
        """See `Method.about`."""
        return {"kind": "copy"}

    def result(self, clip: PreparedClip, folder: Path) -> Result:
        """See `Method.result`."""
        from infinitetalk_cli.media.joining import join

        path = folder / f"{clip.id}.mkv"
        began_s = time.monotonic()
        with written_whole(path) as scratch:
            join(clip.video, clip.audio, scratch)
        return Result(path, self.layout.seams(clip.num_frames), time.monotonic() - began_s)


@dataclass(frozen=True)
class FolderMethod:
    """Results that are there already, as `ID.mp4` or with another suffix."""

    name: str
    outputs: Path
    layout: ChunkLayout = ChunkLayout()

    def about(self) -> dict[str, Any]:
        """See `Method.about`."""
        return {
            "kind": "outputs",
            "chunk_frames": self.layout.chunk_frames,
            "context_frames": self.layout.context_frames,
        }

    def result(self, clip: PreparedClip, folder: Path) -> Result | None:
        """See `Method.result`."""
        found = (self.outputs / f"{clip.id}{suffix}" for suffix in SUFFIXES)
        path = next((path for path in found if path.is_file()), None)
        return None if path is None else Result(path, self.layout.seams(clip.num_frames))


@dataclass(frozen=True)
class DubMethod:
    """The project's own pipeline with a profile; interrupted clips go on where they stopped.

    `context` False: every chunk begins anew, as if a new scene began with it.
    """

    name: str
    profile: str | None
    cache_root: Path
    progress: PipelineProgress
    overrides: Mapping[str, tuple[str, object]] = field(default_factory=dict)
    context: bool = True
    device: str = "auto"
    weights_root: Path | None = None
    ignore_memory: bool = False

    def about(self) -> dict[str, Any]:
        """See `Method.about`."""
        settings = dict(self.overrides.values())
        return {"kind": "profile", "profile": self.profile, "settings": settings, "context_frames": self.context}

    def result(self, clip: PreparedClip, folder: Path) -> Result:
        """See `Method.result`."""
        from infinitetalk_cli.pipeline import dubbing, preparing

        path = folder / f"{clip.id}.mp4"
        prepared = preparing.prepare(self._request(clip, path), self.progress)
        if not self.context:
            cuts = _write_cuts(prepared, clip, path.with_suffix(".cuts.txt"))
            prepared = preparing.prepare(self._request(clip, path, cuts), self.progress)
        if path.exists() and not prepared.is_delivered:
            path.unlink()  # made from other files, or with other settings
        done = dubbing.dub(prepared, self.progress)
        seconds = None if done.already_done or done.resumed else done.seconds
        seams = _planned_seams(prepared, clip.num_frames, context=self.context)
        profile = prepared.job.profile
        made_with = {
            "profile": profile.name,
            "settings_sha256": fingerprint(profile.model_dump(mode="json")),
            "weights": dict(prepared.weights.revisions),
        }
        return Result(path, seams, seconds, made_with)

    def _request(self, clip: PreparedClip, path: Path, cuts: Path | None = None) -> DubRequest:
        from infinitetalk_cli.pipeline.request import DubRequest

        overrides = dict(self.overrides)
        if cuts is not None:
            overrides["--no-context"] = ("chunks.scenes", "auto")
        return DubRequest(
            video=clip.video, audio=(clip.audio,), cache_root=self.cache_root, profile=self.profile,
            overrides=overrides, output=path, device=self.device, weights_root=self.weights_root, scene_list=cuts,
            report=False, ignore_memory=self.ignore_memory,
        )  # fmt: skip


def _write_cuts(prepared: Prepared, clip: PreparedClip, path: Path) -> Path:
    """A list of cuts at the ends of the chunks, so that none continues from another."""
    step = prepared.job.profile.chunks.num_frames
    times = (Fraction(frame) / MODEL_RATE for frame in range(step, clip.num_frames, step))
    with writing_to(path):
        path.write_text("".join(f"{time_s}\n" for time_s in times), encoding="utf-8")
    return path


def _planned_seams(prepared: Prepared, num_frames: int, *, context: bool) -> tuple[int, ...]:
    """First new frames of later chunks as planned; by the profile's arithmetic if the cache has lost the plan.

    Where a scene of the source begins there is no joint; without `context` the scenes are the chunks themselves.
    """
    from infinitetalk_cli.models.chunking import mode_context_frames
    from infinitetalk_cli.stages.keyframes import KEYFRAMES, read_plan

    planned = next(planned for planned in prepared.stages if planned.stage.name == KEYFRAMES.name)
    entry = prepared.store.lookup(planned.stage.name, planned.fingerprint)
    if entry is not None:
        plan = read_plan(entry.path / planned.stage.outputs["plan"])
        joints = (chunk for chunk in plan.chunks if chunk.index_in_scene > 0 or not context)
        return tuple(chunk.new_start for chunk in joints if chunk.new_start > 0)
    chunks = prepared.job.profile.chunks
    num_context = mode_context_frames(chunks.conditioning, chunks.context_frames) if context else 0
    return ChunkLayout(chunks.num_frames, num_context).seams(num_frames)
