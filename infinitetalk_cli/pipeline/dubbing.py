"""One dubbing job from request to delivered file: check, plan, run, hand over."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

from infinitetalk_cli.cache.fingerprint import file_content_hash
from infinitetalk_cli.cache.store import Store
from infinitetalk_cli.config.job import ClipSettings, FrameRate, Job, Length, OutputSettings
from infinitetalk_cli.errors import InputError, OutputError
from infinitetalk_cli.media.containers import check_output
from infinitetalk_cli.media.probe import MediaInfo, probe, require_audio, require_video
from infinitetalk_cli.models.load import LoadedModels
from infinitetalk_cli.pipeline import choose, delivery
from infinitetalk_cli.pipeline.plan import PlannedStage, plan_stages
from infinitetalk_cli.pipeline.runner import PipelineProgress, StageReport, run_stages
from infinitetalk_cli.pipeline.weights import Weights, find_weights
from infinitetalk_cli.stages import STAGES
from infinitetalk_cli.stages.audio_embedding import read_track
from infinitetalk_cli.stages.remux import encode_settings


@dataclass(frozen=True)
class DubRequest:
    """What the user asked for, before anything was looked at; see `infinitetalk dub --help`."""

    video: Path
    audio: Path
    cache_root: Path
    speech: Path | None = None
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


@dataclass(frozen=True)
class Prepared:
    """A checked job, its model and its plan; nothing has been computed yet."""

    request: DubRequest
    job: Job
    key: str
    choice: choose.Choice
    weights: Weights
    store: Store
    stages: list[PlannedStage]
    source: MediaInfo
    dub_audio: MediaInfo

    @property
    def delivered(self) -> bool:
        """Whether the output already is this job's result."""
        return delivery.is_delivered(self.store, self.job.output, self.stages[-1].fingerprint)


@dataclass(frozen=True)
class DubResult:
    """What a finished `dub` tells the user; frames and duration are None when nothing had to be done."""

    output: Path
    already_done: bool
    profile: str
    seconds: float
    num_frames: int | None = None
    duration_s: Fraction | None = None
    stages: tuple[StageReport, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """The result as plain data, for `--json`."""
        return {
            "status": "already done" if self.already_done else "done",
            "output": str(self.output),
            "profile": self.profile,
            "model_frames": self.num_frames,
            "duration_s": None if self.duration_s is None else float(self.duration_s),
            "seconds": round(self.seconds, 3),
            "stages": [asdict(report) for report in self.stages],
        }


def prepare(request: DubRequest, progress: PipelineProgress) -> Prepared:
    """Look at the inputs, settle the profile and plan the stages; fails early on whatever cannot work.

    Raises:
        InputError, ProfileError, DependencyError, OutputError: what is wrong, and what to do.
    """
    store = Store(request.cache_root)
    source, dub_audio = probe(request.video), probe(request.audio)
    require_video(request.video, source)
    dub_codec = require_audio(request.audio, dub_audio).codec
    if request.speech is not None:
        require_audio(request.speech, probe(request.speech))
    clip = _clip(request, source)
    files = {"source_video": request.video, "dub_audio": request.audio, "speech": request.speech or request.audio}
    hashes = {name: file_content_hash(path, store.hashes_dir) for name, path in files.items()}
    key = choose.job_key(hashes, clip)
    weights_root = request.weights_root or store.root / "weights"
    choice = choose.choose_profile(request.profile, request.overrides, key, store, weights_root)
    progress.note(choice.sentence)
    weights = find_weights(choice.profile, weights_root, store)
    output = _output_path(request)
    job = Job(
        video=request.video,
        audio=request.audio,
        speech=request.speech,
        output=output,
        profile=choice.profile,
        clip=clip,
        encode=_output_settings(request, output),
    )
    check_output(output, encode_settings(job.encode), dub_codec=dub_codec)
    stages = plan_stages(STAGES, job, hashes, weights.revision, store)
    return Prepared(request, job, key, choice, weights, store, stages, source, dub_audio)


def dub(prepared: Prepared, progress: PipelineProgress) -> DubResult:
    """Run what is missing of the job and hand the result over.

    Raises:
        InfiniteTalkError: what went wrong; everything finished before stays in the cache.
    """
    began_s = time.monotonic()
    job, store, request = prepared.job, prepared.store, prepared.request
    if prepared.delivered and request.use_cache and not request.force:
        return DubResult(job.output, True, job.profile.name, time.monotonic() - began_s)
    delivery.check_destination(job.output, (job.video, job.audio, job.driving_speech), store, force=request.force)
    choose.remember_begun(store, prepared.key, prepared.choice)
    profile = job.profile
    models = LoadedModels(profile.model.family, prepared.weights.folder, request.device, profile.sampling.dtype)
    with store.session():
        report = run_stages(
            prepared.stages,
            job,
            store,
            models,
            progress,
            use_cache=request.use_cache,
            wait_for_lock=request.wait_for_lock,
        )
        delivery.deliver(report.artefacts["dubbed"], job.output, prepared.stages[-1].fingerprint, store)
        track = read_track(report.artefacts["track"])
    choose.forget_begun(store, prepared.key)
    seconds = time.monotonic() - began_s
    return DubResult(job.output, False, profile.name, seconds, track.num_frames, track.duration_s, report.stages)


def _clip(request: DubRequest, source: MediaInfo) -> ClipSettings:
    if source.is_image and request.length != "audio":
        raise InputError(f"{request.video}: a still image has no length; leave out --length {request.length}")
    return ClipSettings(start_s=request.start_s, end_s=request.end_s, length=Length(request.length))


def _output_path(request: DubRequest) -> Path:
    output, container = request.output, request.container
    default_name = f"{request.video.stem}.dubbed.{container or 'mp4'}"
    if output is None:
        return request.video.with_name(default_name)
    if output.is_dir():
        return output / default_name
    if container is not None and output.suffix.lower() != f".{container}":
        raise OutputError(f"{output}: does not end in .{container}; drop --container or rename the output")
    return output


def _output_settings(request: DubRequest, output: Path) -> OutputSettings:
    return OutputSettings(
        container=output.suffix.lower(),
        video_codec=request.video_codec,
        quality=request.quality,
        encoder_preset=request.encoder_preset,
        audio_codec=request.audio_codec,
        frame_rate=FrameRate(request.frame_rate),
        keep_original_audio=request.keep_original_audio,
        audio_language=request.audio_language,
    )
