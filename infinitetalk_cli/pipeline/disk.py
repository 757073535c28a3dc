"""How much of the disk a job will take, from measured bytes per pixel, and whether there is room for it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from infinitetalk_cli.errors import ResourceError
from infinitetalk_cli.pipeline.delivery import nearest_folder
from infinitetalk_cli.pipeline.extent import length, num_chunks_begun
from infinitetalk_cli.pipeline.model_sizes import size_of
from infinitetalk_cli.pipeline.remaining import stages_to_do
from infinitetalk_cli.sizes import shown_bytes
from infinitetalk_cli.units import SPEECH_RATE_HZ

if TYPE_CHECKING:
    from infinitetalk_cli.pipeline.request import Prepared

RAW_BYTES_PER_PIXEL = 3
CHUNK_BYTES_PER_PIXEL = 0.16 * RAW_BYTES_PER_PIXEL
"""Of chunk files: 0.13 to 0.17 of the raw frames were measured on generated and on filmed pictures (docs/cache.md)."""

RESULT_BYTES_PER_PIXEL = {"h264": 0.021, "hevc": 0.012, "av1": 0.011, "vp9": 0.013, "prores": 0.7, "ffv1": 0.6}
"""Of results at the usual quality, measured on filmed pictures (docs/cache.md)."""

HALVED_EVERY = 6
"""So many more of the constant rate factor make about half the file."""

SOUND_BYTES_PER_S = 40_000
"""Of coded sound in a result: more than most have."""

CERTAIN = 0.5
"""Share of the forecast that is needed whatever the picture shows; if not even that is free the job is refused."""

CLOSE = 0.9
"""Share of the free room above which it is said that little is left."""

CHUNKS_IN_WORK = 2


@dataclass(frozen=True)
class DiskPart:
    """What one stage will leave in the cache."""

    stage: str
    num_bytes: int


@dataclass(frozen=True)
class DiskPlan:
    """What is left to do will write: `parts` to the cache, and the result to where the user wants it."""

    parts: tuple[DiskPart, ...]
    output_bytes: int
    cache: Path
    output: Path
    cache_free_bytes: int
    output_free_bytes: int
    is_one_disk: bool

    @property
    def cache_bytes(self) -> int:
        """Sum of `parts`."""
        return sum(part.num_bytes for part in self.parts)

    @property
    def state(self) -> Literal["fits", "close", "too much"]:
        """How it stands, on the disk that has least room for it."""
        shares = [needed / max(free, 1) for needed, free, _ in self._disks()]
        if CERTAIN * max(shares) > 1:
            return "too much"
        return "close" if max(shares) > CLOSE else "fits"

    def _disks(self) -> Iterator[tuple[int, int, Path]]:
        """Bytes needed, bytes free, and where."""
        both = self.cache_bytes + self.output_bytes
        yield (both if self.is_one_disk else self.cache_bytes), self.cache_free_bytes, self.cache
        if not self.is_one_disk:
            yield self.output_bytes, self.output_free_bytes, self.output

    @property
    def sentence(self) -> str:
        """What is needed and what there is, on the fullest disk."""
        needed, free, where = max(self._disks(), key=lambda disk: disk[0] / max(disk[1], 1))
        return f"about {shown_bytes(needed)} of disk at {where}, {shown_bytes(free)} free"

    def as_dict(self) -> dict[str, Any]:
        """The plan as plain data, for `--json`."""
        return {
            "state": self.state,
            "cache_bytes": self.cache_bytes,
            "cache_free_bytes": self.cache_free_bytes,
            "output_bytes": self.output_bytes,
            "output_free_bytes": self.output_free_bytes,
            "one_disk": self.is_one_disk,
            "parts": [asdict(part) for part in self.parts],
        }


def plan_disk(prepared: Prepared, frames_left: int | None = None) -> DiskPlan:
    """The forecast of a prepared job. `frames_left` are those still to be generated, if the plan is known."""
    parts = tuple(_parts(prepared, frames_left))
    cache, _ = nearest_folder(prepared.store.root)
    output, _ = nearest_folder(prepared.destination.output.parent)
    result = 0 if prepared.request.use_cache and prepared.is_delivered else _result_bytes(prepared)
    return DiskPlan(
        parts=parts,
        output_bytes=result,
        cache=prepared.store.root,
        output=prepared.destination.output.parent,
        cache_free_bytes=shutil.disk_usage(cache).free,
        output_free_bytes=shutil.disk_usage(output).free,
        is_one_disk=os.stat(cache).st_dev == os.stat(output).st_dev,
    )


def require_disk(plan: DiskPlan) -> str | None:
    """A note where it will be close; None where there is plenty.

    Raises:
        ResourceError: there is no room for the job; nothing was begun.
    """
    if plan.state == "too much":
        raise ResourceError(
            f"the job needs {plan.sentence}; free some (`infinitetalk cache prune --max-size ...`), or choose another "
            "place with --cache-dir or -o (--ignore-disk tries it all the same)"
        )
    return f"the disk will be nearly full: the job needs {plan.sentence}" if plan.state == "close" else None


def _parts(prepared: Prepared, frames_left: int | None) -> Iterator[DiskPart]:
    for stage in stages_to_do(prepared):
        num_bytes = _stage_bytes(prepared, stage, frames_left)
        if num_bytes:
            yield DiskPart(stage, round(num_bytes))


def _stage_bytes(prepared: Prepared, stage: str, frames_left: int | None) -> float:
    duration_s, num_frames, _ = length(prepared)
    chunks, num_people = prepared.job.profile.chunks, 1 if prepared.job.people is None else 2
    if stage in ("voices", "diarization"):
        return float(duration_s) * (num_people * 4 * SPEECH_RATE_HZ + SOUND_BYTES_PER_S)
    if stage == "audio_embedding":
        size = size_of(prepared.weights.files).transformer
        return num_people * (num_frames + chunks.num_frames) * size.audio_layers * size.audio_channels * 4
    if stage == "generate":
        if frames_left is None:
            new_frames = chunks.num_frames - chunks.context_frames
            frames_left = max(0, num_frames - num_chunks_begun(prepared) * new_frames)
        width, height = prepared.picture_size
        in_work = CHUNKS_IN_WORK * chunks.num_frames if frames_left else 0
        return (frames_left + in_work) * width * height * CHUNK_BYTES_PER_PIXEL
    return _result_bytes(prepared) if stage == "remux" else 0


def _result_bytes(prepared: Prepared) -> int:
    from infinitetalk_cli.media.containers import ENCODERS, container_of, video_codec_for
    from infinitetalk_cli.media.probe import require_video
    from infinitetalk_cli.stages.remux import encode_settings, output_rate

    encode, video = prepared.job.encode, require_video(prepared.request.video, prepared.source)
    codec = video_codec_for(container_of(encode.container, prepared.destination.output), encode_settings(encode))
    width, height = video.upright_size if prepared.job.profile.geometry.fit == "keep" else prepared.picture_size
    per_pixel, usual = RESULT_BYTES_PER_PIXEL[codec], ENCODERS[codec].quality
    if encode.quality is not None and usual is not None:
        per_pixel *= 2 ** ((usual.usual - encode.quality) / HALVED_EVERY)
    duration_s = float(length(prepared)[0])
    rate = output_rate(video.average_rate, encode.frame_rate)
    num_tracks = 1 + (len(prepared.source.audio) if encode.keep_original_audio else 0)
    return round(duration_s * (float(rate) * width * height * per_pixel + num_tracks * SOUND_BYTES_PER_S))
