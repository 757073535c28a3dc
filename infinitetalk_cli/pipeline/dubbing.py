"""One dubbing job from request to delivered file: check, plan, run, hand over."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from infinitetalk_cli.cache.fingerprint import fingerprint
from infinitetalk_cli.cache.store import Store
from infinitetalk_cli.config.job import ClipSettings, FrameRate, Job, Length, OutputSettings
from infinitetalk_cli.config.profile import Profile
from infinitetalk_cli.config.scene_list import read_scene_list
from infinitetalk_cli.errors import InputError, OutputError
from infinitetalk_cli.media.probe import MediaInfo, probe, require_audio, require_video
from infinitetalk_cli.media.rehearsal import rehearse_output
from infinitetalk_cli.models.load import LoadedModels
from infinitetalk_cli.pipeline import choose, delivery
from infinitetalk_cli.pipeline.compute import Device, settle
from infinitetalk_cli.pipeline.fitting import plan_of, require_room
from infinitetalk_cli.pipeline.pace import remember_pace
from infinitetalk_cli.pipeline.people import (
    MAX_PEOPLE,
    add_diarizer,
    check_people,
    heard_encoding,
    heard_track,
    settle_people,
    source_paths,
)
from infinitetalk_cli.pipeline.plan import plan_stages
from infinitetalk_cli.pipeline.request import DubRequest, Prepared
from infinitetalk_cli.pipeline.runner import PipelineProgress, Runner, RunReport, StageReport
from infinitetalk_cli.pipeline.sources import read_source
from infinitetalk_cli.pipeline.weights import find_weights
from infinitetalk_cli.stages import STAGES
from infinitetalk_cli.stages.audio_embedding import read_track
from infinitetalk_cli.stages.generate import GENERATE
from infinitetalk_cli.stages.keyframes import read_plan
from infinitetalk_cli.stages.remux import encode_settings, output_rate
from infinitetalk_cli.units import clock


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

    @property
    def resumed(self) -> bool:
        """Whether part of the work was done by earlier runs, so that `seconds` says nothing of the speed."""
        return any(report.reused or report.resumed for report in self.stages)

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
    source = probe(request.video)
    video = require_video(request.video, source)
    people = settle_people(request, video)
    dub_audio = heard_track(request, people)
    voice = require_audio(request.audio[0], dub_audio)
    clip = _clip(request, source, dub_audio)
    output = _output_path(request)
    encode = heard_encoding(_output_settings(request, output), people, output)
    rate = output_rate(video.average_rate, encode.frame_rate)
    rehearse_output(output, encode_settings(encode), source, voice, rate, starts_at_zero=clip.start_s == 0)
    paths = source_paths(request, people) | _scene_list(request)
    sources = {name: read_source(path, store, progress) for name, path in paths.items()}
    hashes = {name: file.sha256 for name, file in sources.items()}
    key = choose.job_key(hashes, clip)
    weights_root = request.weights_root or store.root / "weights"
    num_people = 1 if people is None else MAX_PEOPLE
    choice = choose.choose_profile(request.profile, request.overrides, key, store, weights_root, num_people)
    check_people(choice.profile, people, video)
    device = Device(request.device)
    settled = settle(choice.profile, device, choose.begun_compute(store, key))
    for sentence in (choice.sentence, *settled.notes, *_without_effect(request, choice.profile, source)):
        progress.note(sentence)
    weights = find_weights(settled.profile, weights_root, store, progress)
    weights = add_diarizer(weights, request, weights_root, store)
    job = Job(profile=settled.profile, clip=clip, encode=encode, people=people)
    stages = plan_stages(STAGES, job, hashes, weights.revisions, store)
    names = {name: os.path.abspath(file.path) for name, file in sources.items()}
    destination = delivery.Destination(output, fingerprint(names), stages[-1].fingerprint, store)
    return Prepared(request, job, key, choice, weights, store, sources, stages, source, dub_audio, destination, device)


def dub(prepared: Prepared, progress: PipelineProgress) -> DubResult:
    """Run what is missing of the job and hand the result over.

    Raises:
        InfiniteTalkError: what went wrong; everything finished before stays in the cache.
    """
    began_s = time.monotonic()
    job, store, request, destination = prepared.job, prepared.store, prepared.request, prepared.destination
    profile = job.profile
    prepared.check_destination()
    wait_s = None if request.wait_for_lock else 0.0
    with store.session(), destination.lock(wait_s=wait_s, on_wait=progress.note):
        if request.use_cache and not request.force and prepared.is_delivered:
            return DubResult(destination.output, True, profile.name, time.monotonic() - began_s)
        _check_memory(prepared, progress)
        choose.remember_begun(store, prepared.key, prepared.choice, profile.compute)
        models = LoadedModels(prepared.weights.files, request.device, profile.compute, profile.memory)
        runner = Runner(job, prepared.sources, store, models, progress, request.use_cache, request.wait_for_lock)
        report = runner.run(prepared.stages)
        prepared.check_destination()  # the night was long
        destination.deliver(report.artefacts["dubbed"])
        choose.forget_begun(store, prepared.key)
        track = read_track(report.artefacts["track"])
        _remember_pace(prepared, report)
    seconds = time.monotonic() - began_s
    return DubResult(
        destination.output, False, profile.name, seconds, track.num_frames, track.duration_s, report.stages
    )


def _check_memory(prepared: Prepared, progress: PipelineProgress) -> None:
    """Raise `ResourceError` before the work starts if what is left of it will not fit; say so if it will be close."""
    plan = None if prepared.request.ignore_memory else plan_of(prepared)
    note = None if plan is None else require_room(plan, prepared.job.profile)
    if note is not None:
        progress.note(note)


def _remember_pace(prepared: Prepared, report: RunReport) -> None:
    num_chunks = len(read_plan(report.artefacts["plan"]).chunks)
    for stage in report.stages:
        if stage.name == GENERATE.name and num_chunks and not (stage.reused or stage.resumed):
            remember_pace(prepared, prepared.picture_size, num_chunks, stage.seconds)


def _scene_list(request: DubRequest) -> dict[str, Path]:
    """The user's own list of cuts, checked, if there is one."""
    if request.scene_list is None:
        return {}
    read_scene_list(request.scene_list)
    return {"scene_list": request.scene_list}


def _clip(request: DubRequest, source: MediaInfo, dub_audio: MediaInfo) -> ClipSettings:
    if source.is_image and request.length != "audio":
        raise InputError(f"{request.video}: a still image has no length; leave out --length {request.length}")
    if dub_audio.duration_s is not None and request.start_s >= dub_audio.duration_s:
        raise InputError(
            f"{' and '.join(map(str, request.audio))}: ends at {clock(dub_audio.duration_s)}, "
            f"before --start {clock(request.start_s)}"
        )
    return ClipSettings(start_s=request.start_s, end_s=request.end_s, length=Length(request.length))


def _output_path(request: DubRequest) -> Path:
    output, container = request.output, request.container
    default_name = f"{request.video.stem}.dubbed.{container or 'mp4'}"
    if output is None:
        output = request.video.with_name(default_name)
    elif output.is_dir():
        output = output / default_name
    elif container is not None and output.suffix.lower() != f".{container}":
        raise OutputError(f"{output}: does not end in .{container}; drop --container or rename the output")
    return output.resolve() if output.is_symlink() else output


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


def _without_effect(request: DubRequest, profile: Profile, source: MediaInfo) -> Iterator[str]:
    """One sentence for every option that changes nothing here."""
    if request.overrides.get("--prompt") and not profile.model.reads_text:
        yield f"--prompt has no effect: {profile.name} reads no text"
    if request.keep_original_audio and not source.audio:
        yield f"--keep-original-audio has no effect: {request.video.name} has no sound"
    if request.scene_list is not None and source.is_image:
        yield "--scenes has no effect: a still image has no cuts"
    if request.frame_rate == "source" and source.is_image:
        yield "--fps source has no effect: a still image has no frame rate"
