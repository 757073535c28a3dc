"""Options of `dub` that say whether and how the source's camera is followed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from infinitetalk_cli.config.camera import DEFAULT_LOCK_STRENGTH, STRONGEST_SDEDIT, STRONGEST_UNI3C

_PANEL = "Picture"

CameraLock = Annotated[
    Literal["off", "on", "auto"] | None,
    typer.Option(
        "--camera-lock",
        rich_help_panel=_PANEL,
        help="Follow the source's fine camera motion: on, or auto, where it moves.",
        show_default="as the profile says",
    ),
]
CameraLockStrength = Annotated[
    float | None,
    typer.Option(
        "--camera-lock-strength",
        rich_help_panel=_PANEL,
        help="Higher is stronger. sdedit: 0 free ... 1 the source itself; uni3c: 1 as it was trained.",
        show_default=f"sdedit {DEFAULT_LOCK_STRENGTH}, uni3c 1; auto: the profile's curve",
    ),
]
CameraMethod = Annotated[
    Literal["sdedit", "uni3c", "both"] | None,
    typer.Option(
        "--camera-method",
        rich_help_panel=_PANEL,
        help="Follow by starting from the noisy source (sdedit), by the camera branch (uni3c), or both.",
        show_default="as the profile says: sdedit",
    ),
]
CameraRender = Annotated[
    Path | None,
    typer.Option(
        "--camera-render",
        rich_help_panel=_PANEL,
        help="Folder with render.mp4, mask.mp4, camera.json that uni3c follows instead of the source.",
    ),
]


def camera_overrides(
    camera_lock: str | None, method: str | None, strength: float | None
) -> dict[str, tuple[str, object]]:
    """The camera lock as settings of the profile: option -> (dotted key, value).

    Without a method the profile's own counts; `config.camera.lock_as_profile` then says what its method leaves.

    Raises:
        typer.BadParameter: an option has no effect beside the others, or is out of range.
    """
    given = {"--camera-lock-strength": strength, "--camera-method": method}
    for option, value in given.items():
        if camera_lock in (None, "off") and value is not None:
            raise typer.BadParameter(f"{option} has no effect without --camera-lock on or auto")
    strongest = STRONGEST_UNI3C if method == "uni3c" else STRONGEST_SDEDIT
    if strength is not None and not 0 <= strength <= strongest:
        more = "" if method == "uni3c" else f" (with --camera-method uni3c {STRONGEST_UNI3C:g})"
        raise typer.BadParameter(f"--camera-lock-strength {strength:g}: must lie between 0 and {strongest:g}{more}")
    if camera_lock is None:
        return {}
    if camera_lock == "off":
        method = "sdedit"
    starts_there = camera_lock != "off" and method != "uni3c"
    locked = DEFAULT_LOCK_STRENGTH if strength is None else strength
    settings: dict[str, tuple[str, object]] = {
        "--camera-lock": ("camera.lock", "moving" if camera_lock == "auto" else "all"),
        "--camera-lock-strength": ("sampling.sdedit_t0", 1.0 - locked if starts_there else 1.0),
    }
    if method is not None:
        settings["--camera-method"] = ("camera.method", method)
    if strength is not None:  # for all scenes alike
        settings["--camera-lock-strength, sdedit"] = ("camera.sdedit_strength_by_motion", ())
        settings["--camera-lock-strength, by motion"] = ("camera.uni3c_strength_by_motion", ())
        if method != "sdedit":
            settings["--camera-lock-strength, uni3c"] = ("camera.uni3c.strength", strength)
    return settings
