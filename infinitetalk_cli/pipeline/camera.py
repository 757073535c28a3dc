"""Following the source's camera: what is checked before anything is computed, and how strongly a scene is locked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from infinitetalk_cli.config.camera_render import camera_render_files, read_camera_path
from infinitetalk_cli.config.profile import Profile
from infinitetalk_cli.errors import InputError, ProfileError
from infinitetalk_cli.media.info import MediaInfo, VideoInfo
from infinitetalk_cli.media.probe import probe, require_video
from infinitetalk_cli.units import MODEL_RATE, clock

if TYPE_CHECKING:
    from infinitetalk_cli.pipeline.request import DubRequest
    from infinitetalk_cli.stages.keyframes import PlannedScene

_SAME_SHAPE = 0.01
"""A render's aspect ratio may differ from the source's by this share: sizes are whole pixels."""

_IDLE = {
    "sdedit": "sampling.sdedit_t0 is 1",
    "uni3c": "the strength or the end of camera.uni3c is 0",
    "both": "sampling.sdedit_t0 is 1, and the strength or the end of camera.uni3c 0",
}
"""Why no method locks anything."""


def render_paths(request: DubRequest) -> Mapping[str, Path]:
    """The files of the user's render by artefact, none without one.

    Raises:
        InputError: one is missing.
    """
    return {} if request.camera_render is None else camera_render_files(request.camera_render)


def check_camera(request: DubRequest, profile: Profile, source: MediaInfo) -> None:
    """Whether the source, or the user's render, can be followed as `profile` says.

    Raises:
        InputError: a still image has no camera to follow, or the render does not fit the source.
        ProfileError: the profile does not steer by a render, or cuts the picture.
    """
    if profile.steers_camera and source.is_image and request.camera_render is None and profile.camera.lock == "all":
        raise InputError(
            f"{request.video}: a still image has no camera to follow; leave out --camera-method {profile.camera.method}"
        )
    if request.camera_render is None:
        return
    if not profile.steers_camera:
        raise ProfileError(
            "--camera-render has no effect without the camera branch; add --camera-lock on --camera-method uni3c"
        )
    if profile.geometry.fit != "keep":
        raise ProfileError(f"--camera-render goes with geometry.fit keep only: {profile.geometry.fit} cuts the picture")
    _check_render(camera_render_files(request.camera_render), request.video, require_video(request.video, source))


def _check_render(files: Mapping[str, Path], source_path: Path, source: VideoInfo) -> None:
    path = read_camera_path(files["camera_path"])
    ratio = source.display_size[0] / source.display_size[1]
    for name in ("camera_render", "camera_mask"):
        file = files[name]
        info = probe(file)
        video = require_video(file, info)
        width, height = video.display_size
        if info.is_image:
            raise InputError(f"{file}: is a still image; a render has a frame for every frame of the result")
        if abs(width / height / ratio - 1) > _SAME_SHAPE:
            raise InputError(
                f"{file}: {width}x{height} has another shape than {source_path.name} "
                f"({source.display_size[0]}x{source.display_size[1]}); render the whole picture"
            )
        if video.average_rate is None or abs(video.average_rate / MODEL_RATE - 1) > 1e-3:
            rate = "an unknown number of" if video.average_rate is None else f"{float(video.average_rate):g}"
            raise InputError(
                f"{file}: has {rate} frames per second, the result {MODEL_RATE}; render one for each of its frames"
            )
    if abs(path.width / path.height / ratio - 1) > _SAME_SHAPE:
        raise InputError(
            f"{files['camera_path']}: is for a picture of {path.width}x{path.height}, which has another shape than "
            f"{source_path.name}"
        )


def camera_notes(request: DubRequest, profile: Profile, source: MediaInfo, heard: MediaInfo) -> Iterator[str]:
    """One sentence for everything about following the camera that has no effect, or less than one might hope."""
    if profile.camera.lock == "moving" and source.is_image:
        yield "camera lock auto has no effect: the camera of a still image does not move"
    elif profile.camera.lock == "moving" and not profile.locks_camera:
        why = _IDLE[profile.camera.method]
        yield f"camera.lock moving has no effect: {why}, so nothing is locked"
    elif profile.camera.method != "sdedit" and not profile.locks_camera:
        yield f"camera.method {profile.camera.method} has no effect: {_IDLE[profile.camera.method]}"
    start, last = profile.camera.uni3c.start, 1 - 1 / profile.sampling.num_steps
    if profile.steers_camera and start > last:
        yield (
            f"camera.uni3c has no effect: its start {start:g} lies behind the last of {profile.sampling.num_steps} "
            f"steps, which begins at {last:g}"
        )
    if not profile.steers_camera or request.camera_render is not None or source.is_image:
        return
    ends_s, needed_s = source.duration_s, heard.duration_s
    if request.end_s is not None and needed_s is not None:
        needed_s = min(needed_s, request.end_s)
    if request.length == "audio" and ends_s is not None and needed_s is not None and needed_s > ends_s:
        yield (
            f"{request.video.name} ends at {clock(ends_s)}, the sound at {clock(needed_s)}: behind that its last frame "
            "is held, and the camera stands still"
        )


def scene_strengths(profile: Profile, scene: PlannedScene) -> tuple[float | None, float | None]:
    """How strongly a scene is locked by SDEdit and by the camera branch."""
    sdedit = uni3c = None
    if scene.follows_source and profile.starts_from_source:
        given = scene.sdedit_strength
        sdedit = round(1 - profile.sampling.sdedit_t0, 6) if given is None else given
    if scene.follows_source and profile.steers_camera:
        given = scene.uni3c_strength
        uni3c = profile.camera.uni3c.strength if given is None else given
    return sdedit, uni3c
