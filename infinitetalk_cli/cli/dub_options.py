"""The options of `infinitetalk dub` that say what a job is; every command that dubs has them from here."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from infinitetalk_cli.cli.camera import CameraLock, CameraLockStrength, CameraMethod, CameraRender, camera_overrides
from infinitetalk_cli.cli.compute import Attention, Dtype, IgnoreMemory, Lora, Offload, Quantization, compute_overrides
from infinitetalk_cli.cli.disk import CacheSize, IgnoreDisk, cache_bytes
from infinitetalk_cli.cli.options import CacheDir, Device, WeightsDir, cache_root
from infinitetalk_cli.cli.people import check_people
from infinitetalk_cli.media.codecs import AudioCodec, VideoCodec
from infinitetalk_cli.units import parse_time

if TYPE_CHECKING:
    from infinitetalk_cli.pipeline.request import DubRequest

_DRIVE, _PEOPLE, _PICTURE = "Sound and length", "Two people", "Picture"
_RESULT, _RUN = "Result", "How to run"


def _option(*names: str, panel: str, help: str, **kwargs: Any) -> Any:
    return typer.Option(*names, help=help, rich_help_panel=panel, **kwargs)


def _complete_profile(incomplete: str) -> list[str]:
    from infinitetalk_cli.config.load import list_profiles

    return [name for name in list_profiles() if name.startswith(incomplete)]


def dub_request(
    video: Annotated[Path, typer.Argument(help="Source video, or a still image.", show_default=False)],
    audio: Annotated[
        list[Path],
        _option(
            "--audio",
            panel=_DRIVE,
            help="New voice: a sound file, or a video's track. Twice for two people.",
            show_default=False,
        ),
    ],
    speech: Annotated[
        list[Path] | None,
        _option("--speech", panel=_DRIVE, help="Clean voice that drives the picture when --audio is a mix."),
    ] = None,
    speaker_box: Annotated[
        list[str] | None,
        _option(
            "--speaker-box",
            panel=_PEOPLE,
            metavar="X0,Y0,X1,Y1",
            help="Where a person is, in pixels of the picture as shown, or with %; once per person.",
            show_default="left and right half",
        ),
    ] = None,
    turns: Annotated[
        Literal["parallel", "sequence"] | None,
        _option(
            "--turns",
            panel=_PEOPLE,
            help="Both voices from the beginning, or the second after the first.",
            show_default="parallel",
        ),
    ] = None,
    diarize: Annotated[
        bool, _option("--diarize", panel=_PEOPLE, help="Split the one --audio into two people (extra: diarize).")
    ] = False,
    diarizer: Annotated[
        Path | None,
        _option("--diarizer", panel=_PEOPLE, help="Folder of a pyannote.audio diarization pipeline."),
    ] = None,
    start: Annotated[str | None, _option("--start", panel=_DRIVE, help="Begin at 12.5 or 0:01:30 (preview).")] = None,
    end: Annotated[str | None, _option("--end", panel=_DRIVE, help="Stop at this time.")] = None,
    length: Annotated[
        Literal["audio", "video", "shortest"],
        _option("--length", panel=_DRIVE, help="What decides how long the result is."),
    ] = "audio",
    profile: Annotated[
        str | None,
        _option(
            "--profile",
            panel=_PICTURE,
            help="Profile name or YAML file.",
            show_default="the best one installed",
            autocompletion=_complete_profile,
        ),
    ] = None,
    prompt: Annotated[
        str | None, _option("--prompt", panel=_PICTURE, help="What the picture shows (models with a text branch).")
    ] = None,
    seed: Annotated[int | None, _option("--seed", panel=_PICTURE, help="Seed of the noise.")] = None,
    steps: Annotated[int | None, _option("--steps", panel=_PICTURE, help="Denoising steps per chunk.")] = None,
    camera_lock: CameraLock = None,
    camera_lock_strength: CameraLockStrength = None,
    camera_method: CameraMethod = None,
    camera_render: CameraRender = None,
    conditioning: Annotated[
        Literal["sparse", "i2v", "fl2v"] | None,
        _option(
            "--conditioning",
            panel=_PICTURE,
            help="What holds a chunk: sparse, or the paper's baselines i2v and fl2v, to compare.",
            show_default="as the profile says",
        ),
    ] = None,
    lora: Lora = None,
    scenes: Annotated[
        str | None,
        _option(
            "--scenes",
            panel=_PICTURE,
            help="Where the cuts are: auto, off, or a file with one time per line.",
            show_default="as the profile says",
        ),
    ] = None,
    only_speech: Annotated[
        bool, _option("--only-speech", panel=_PICTURE, help="Keep the source's own frames where nobody speaks.")
    ] = False,
    output: Annotated[
        Path | None, _option("-o", "--output", panel=_RESULT, help="File or folder.", show_default="VIDEO.dubbed.mp4")
    ] = None,
    container: Annotated[
        Literal["mp4", "mov", "mkv", "webm"] | None,
        _option("--container", panel=_RESULT, help="Container.", show_default="by the name of the output"),
    ] = None,
    codec: Annotated[
        VideoCodec | None,
        _option("--codec", panel=_RESULT, help="How the picture is coded.", show_default="h264, vp9 in webm"),
    ] = None,
    quality: Annotated[
        int | None,
        _option("--quality", panel=_RESULT, help="Constant rate factor, lower is better.", show_default="per codec"),
    ] = None,
    encoder_preset: Annotated[
        str | None,
        _option("--encoder-preset", panel=_RESULT, help="The encoder's own speed preset.", show_default="per codec"),
    ] = None,
    audio_codec: Annotated[
        AudioCodec, _option("--audio-codec", panel=_RESULT, help="How the sound is coded; auto copies where possible.")
    ] = "auto",
    fps: Annotated[
        Literal["model", "source"], _option("--fps", panel=_RESULT, help="Frame rate: the model's 25, or the source's.")
    ] = "model",
    keep_original_audio: Annotated[
        bool, _option("--keep-original-audio", panel=_RESULT, help="Keep the old sound as a second track.")
    ] = False,
    audio_language: Annotated[
        str | None, _option("--audio-language", panel=_RESULT, help="Language tag of the new track, such as fra.")
    ] = None,
    no_report: Annotated[
        bool, _option("--no-report", panel=_RESULT, help="Write no report (NAME.report.json, .html) beside it.")
    ] = False,
    force: Annotated[bool, _option("--force", panel=_RUN, help="Overwrite the output.")] = False,
    no_cache: Annotated[bool, _option("--no-cache", panel=_RUN, help="Do again even what is done.")] = False,
    no_wait: Annotated[
        bool, _option("--no-wait", panel=_RUN, help="Exit 9 at once when another run holds this job.")
    ] = False,
    device: Device = "auto",
    attention: Attention = None,
    dtype: Dtype = None,
    quantization: Quantization = None,
    offload: Offload = None,
    ignore_memory: IgnoreMemory = False,
    ignore_disk: IgnoreDisk = False,
    cache_dir: CacheDir = None,
    cache_size: CacheSize = None,
    weights_dir: WeightsDir = None,
) -> DubRequest:
    """The job that these options ask for.

    Raises:
        typer.BadParameter: a value is out of range, or an option has no effect beside the others.
    """
    from infinitetalk_cli.pipeline.request import DubRequest

    start_s, end_s = _stretch(start, end)
    boxes = check_people(audio, speech or [], speaker_box or [], turns, diarize, diarizer)
    return DubRequest(
        video=video,
        audio=tuple(audio),
        speech=tuple(speech or ()),
        turns=turns,
        speaker_boxes=boxes,
        diarize=diarize,
        diarizer=diarizer,
        camera_render=camera_render,
        scene_list=None if scenes in (None, "auto", "off") else Path(scenes),
        start_s=start_s,
        end_s=end_s,
        length=length,
        profile=profile,
        overrides={
            **_overrides(prompt, seed, steps, conditioning),
            **camera_overrides(camera_lock, camera_method, camera_lock_strength),
            **compute_overrides(attention, dtype, quantization, offload, lora),
            **_stretches(scenes, only_speech),
        },
        output=output,
        container=container,
        video_codec=codec,
        quality=quality,
        encoder_preset=encoder_preset,
        audio_codec=audio_codec,
        frame_rate=fps,
        keep_original_audio=keep_original_audio,
        audio_language=audio_language,
        cache_root=cache_root(cache_dir),
        device=device,
        weights_root=weights_dir,
        force=force,
        use_cache=not no_cache,
        wait_for_lock=not no_wait,
        ignore_memory=ignore_memory,
        report=not no_report,
        ignore_disk=ignore_disk,
        cache_bytes=cache_bytes(cache_size),
    )


def _stretch(start: str | None, end: str | None) -> tuple[Fraction, Fraction | None]:
    try:
        start_s = Fraction(0) if start is None else parse_time(start)
        end_s = None if end is None else parse_time(end)
    except ValueError as exc:
        raise typer.BadParameter(f"--start or --end: {exc}") from exc
    if end_s is not None and end_s <= start_s:
        raise typer.BadParameter(f"--end {end} must lie after --start {start or 0}")
    return start_s, end_s


def _overrides(
    prompt: str | None,
    seed: int | None,
    steps: int | None,
    conditioning: str | None,
) -> dict[str, tuple[str, object]]:
    """Command-line settings of the profile: option -> (dotted key, value), only those that were given."""
    given: dict[str, tuple[str, object]] = {
        "--prompt": ("sampling.prompt", prompt),
        "--seed": ("sampling.seed", seed),
        "--steps": ("sampling.num_steps", steps),
        "--conditioning": ("chunks.conditioning", conditioning),
    }
    return {option: (key, value) for option, (key, value) in given.items() if value is not None}


def _stretches(scenes: str | None, only_speech: bool) -> dict[str, tuple[str, object]]:
    """What the command line says on cuts and pauses, as settings of the profile."""
    given: dict[str, tuple[str, object]] = {}
    if scenes is not None:
        given["--scenes"] = ("chunks.scenes", "off" if scenes == "off" else "auto")
    if only_speech:
        given["--only-speech"] = ("speech.only", True)
    return given
