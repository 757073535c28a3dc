"""What a dubbing job is, as values: as the user asked for it, and checked and planned."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

from infinitetalk_cli.cache.store import Store
from infinitetalk_cli.config.job import Job
from infinitetalk_cli.config.people import BoxText
from infinitetalk_cli.media.probe import MediaInfo, require_video
from infinitetalk_cli.pipeline import choose, delivery
from infinitetalk_cli.pipeline.compute import Device
from infinitetalk_cli.pipeline.plan import PlannedStage
from infinitetalk_cli.pipeline.sources import SourceFile
from infinitetalk_cli.pipeline.split import Split
from infinitetalk_cli.pipeline.weights import Weights
from infinitetalk_cli.stages.source_pixels import model_size


@dataclass(frozen=True)
class DubRequest:
    """What the user asked for, before anything was looked at; see `infinitetalk dub --help`."""

    video: Path
    audio: tuple[Path, ...]
    cache_root: Path
    speech: tuple[Path, ...] = ()
    turns: str | None = None
    speaker_boxes: tuple[BoxText, ...] = ()
    diarize: bool = False
    diarizer: Path | None = None
    scene_list: Path | None = None
    camera_render: Path | None = None
    start_s: Fraction = Fraction(0)
    end_s: Fraction | None = None
    length: str = "audio"
    profile: str | None = None
    overrides: Mapping[str, tuple[str, object]] = field(default_factory=dict)
    output: Path | None = None
    container: str | None = None
    video_codec: str | None = None
    quality: int | None = None
    encoder_preset: str | None = None
    audio_codec: str = "auto"
    frame_rate: str = "model"
    keep_original_audio: bool = False
    audio_language: str | None = None
    device: str = "auto"
    weights_root: Path | None = None
    force: bool = False
    use_cache: bool = True
    wait_for_lock: bool = True
    ignore_memory: bool = False
    report: bool = True
    ignore_disk: bool = False
    cache_bytes: int | None = None
    """The cache is kept to this size after the job; None: it grows."""
    num_processes: int = 1
    """Processes that share the job, `num_local` of them on one machine; they change nothing of what it is."""
    num_local: int = 1
    split: Split | None = None
    """What each of them does; None: what is fastest."""


@dataclass(frozen=True)
class Prepared:
    """A checked job, its model and its plan; nothing has been computed yet."""

    request: DubRequest
    job: Job
    key: str
    choice: choose.Choice
    weights: Weights
    store: Store
    sources: Mapping[str, SourceFile]
    stages: list[PlannedStage]
    source: MediaInfo
    dub_audio: MediaInfo
    destination: delivery.Destination
    device: Device

    @property
    def picture_size(self) -> tuple[int, int]:
        """(width, height) at which the picture is generated."""
        video = require_video(self.request.video, self.source)
        height, width = model_size(video, self.job.profile.geometry)
        return width, height

    @property
    def is_delivered(self) -> bool:
        """Whether the output already is this job's result."""
        last = self.stages[-1]
        entry = self.store.lookup(last.stage.name, last.fingerprint)
        return self.destination.is_delivered(None if entry is None else entry.path / last.stage.outputs["dubbed"])

    def check_destination(self, *, make_folders: bool = True) -> None:
        """Raise `OutputError` if the result could not be put in its place, or would do harm there.

        The folders above it are made unless `make_folders` is off.
        """
        if self.request.force or not self.is_delivered:
            files = tuple(source.path for source in self.sources.values())
            self.destination.check(files, force=self.request.force, make_folders=make_folders)
