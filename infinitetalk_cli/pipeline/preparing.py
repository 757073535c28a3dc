"""From what the user asked for to a checked job with its plan; nothing is computed yet."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from infinitetalk_cli.cache.fingerprint import fingerprint
from infinitetalk_cli.cache.store import Store
from infinitetalk_cli.config.job import ClipSettings, FrameRate, Job, Length, OutputSettings
from infinitetalk_cli.config.profile import Profile
from infinitetalk_cli.config.scene_list import read_scene_list
from infinitetalk_cli.errors import InputError, OutputError
from infinitetalk_cli.media.probe import MediaInfo, probe, require_audio, require_video
from infinitetalk_cli.media.rehearsal import rehearse_output
from infinitetalk_cli.pipeline import choose, delivery
from infinitetalk_cli.pipeline.camera import camera_notes, check_camera, render_paths
from infinitetalk_cli.pipeline.compute import Device, settle
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
from infinitetalk_cli.pipeline.runner import PipelineProgress
from infinitetalk_cli.pipeline.sources import read_source
from infinitetalk_cli.pipeline.weights import find_weights
from infinitetalk_cli.stages import STAGES
from infinitetalk_cli.stages.remux import HIGHEST_RATE, encode_settings, output_rate
from infinitetalk_cli.units import clock


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
    output = output_path(request)
    encode = heard_encoding(_output_settings(request, output), people, output)
    rate = output_rate(video.average_rate, encode.frame_rate)
    if rate > HIGHEST_RATE:
        raise InputError(f"{request.video}: claims {float(rate):g} frames per second; leave out --fps source")
    rehearse_output(output, encode_settings(encode), source, voice, rate, starts_at_zero=clip.start_s == 0)
    paths = {**source_paths(request, people), **_scene_list(request), **render_paths(request)}
    sources = {name: read_source(path, store, progress) for name, path in paths.items()}
    hashes = {name: file.sha256 for name, file in sources.items()}
    key = choose.job_key(hashes, clip)
    weights_root = request.weights_root or store.root / "weights"
    num_people = 1 if people is None else MAX_PEOPLE
    choice = choose.choose_profile(request.profile, request.overrides, key, store, weights_root, num_people)
    check_people(choice.profile, people, video)
    check_camera(request, choice.profile, source)
    device = Device(request.device)
    settled = settle(choice.profile, device, choose.begun_compute(store, key))
    remarks = (
        *_without_effect(request, choice.profile, source),
        *camera_notes(request, choice.profile, source, dub_audio),
    )
    for sentence in (choice.sentence, *settled.notes, *remarks):
        progress.note(sentence)
    weights = find_weights(settled.profile, weights_root, store, progress)
    weights = add_diarizer(weights, request, weights_root, store)
    job = Job(profile=settled.profile, clip=clip, encode=encode, people=people, report=request.report)
    stages = plan_stages(STAGES, job, hashes, weights.revisions, store)
    names = {name: os.path.abspath(file.path) for name, file in sources.items()}
    destination = delivery.Destination(output, fingerprint(names), stages[-1].fingerprint, store)
    return Prepared(request, job, key, choice, weights, store, sources, stages, source, dub_audio, destination, device)


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


def output_path(request: DubRequest) -> Path:
    """Where the result goes, with the name it has unless one was given."""
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
    """One sentence for every option that changes nothing here, or not what one might hope."""
    if request.overrides.get("--prompt") and not profile.model.reads_text:
        yield f"--prompt has no effect: {profile.name} reads no text"
    if request.keep_original_audio and not source.audio:
        yield f"--keep-original-audio has no effect: {request.video.name} has no sound"
    if request.scene_list is not None and source.is_image:
        yield "--scenes has no effect: a still image has no cuts"
    if profile.chunks.conditioning == "fl2v":
        yield f"conditioning fl2v: {profile.name} was not trained with a pinned end; it is there to compare with"
    if request.frame_rate == "source" and source.is_image:
        yield "--fps source has no effect: a still image has no frame rate"
