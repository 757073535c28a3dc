"""A user's own render for the camera branch: a folder with a video, its mask, and the path of its camera."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from infinitetalk_cli.errors import InputError

VIDEO, MASK, PATH = "render", "mask", "camera.json"
"""Stems of the two videos, and the file of the camera's path."""
SUFFIXES = (".mp4", ".mkv", ".mov", ".webm", ".avi")
MAX_PATH_BYTES = 256 * 1024 * 1024

Row3 = tuple[float, float, float]
Row4 = tuple[float, float, float, float]
Matrix3 = tuple[Row3, Row3, Row3]
Matrix4 = tuple[Row4, Row4, Row4, Row4]


class CameraPath(BaseModel):
    """`camera.json`: the camera of a render, in OpenCV's axes (right, down, forward).

    `intrinsic` is in pixels of a picture of `width` x `height`, `w2c` from the world to the camera, one per frame.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    width: int
    height: int
    intrinsic: Matrix3
    w2c: tuple[Matrix4, ...]

    @model_validator(mode="after")
    def _can_be_used(self) -> CameraPath:
        if self.width < 1 or self.height < 1:
            raise ValueError("width and height must be at least 1")
        if not self.w2c:
            raise ValueError("w2c holds no frame")
        (focal_x, _, _), (_, focal_y, _), last = self.intrinsic
        if not (focal_x > 0 and focal_y > 0 and last == (0.0, 0.0, 1.0)):
            raise ValueError("intrinsic must be [[fx, s, cx], [0, fy, cy], [0, 0, 1]] with fx and fy above 0")
        for frame, matrix in enumerate(self.w2c):
            if matrix[3] != (0.0, 0.0, 0.0, 1.0) or not _is_rotation([row[:3] for row in matrix[:3]]):
                raise ValueError(f"w2c of frame {frame} is no rotation with a shift ([R t], then [0, 0, 0, 1])")
        return self

    def scaled_intrinsic(self, width: int, height: int) -> tuple[Row3, Row3, Row3]:
        """The intrinsic of the same picture at another size."""
        across, down = width / self.width, height / self.height
        (fx, skew, cx), (_, fy, cy), last = self.intrinsic
        return (fx * across, skew * across, cx * across), (0.0, fy * down, cy * down), last


def _is_rotation(rows: Sequence[Row3]) -> bool:
    """Whether rows of length 1 stand upright on each other, and right-handedly: others cannot be undone, or mirror."""
    one, other, third = rows
    (a, b, c), (d, e, f) = one, other
    cross = (b * f - c * e, c * d - a * f, a * e - b * d)
    lengths = [math.hypot(*row) for row in rows]
    return all(abs(length - 1) <= 0.01 for length in lengths) and math.dist(cross, third) <= 0.03


def camera_render_files(folder: Path) -> Mapping[str, Path]:
    """The three files of a render, by artefact.

    Raises:
        InputError: one is missing, or there are several.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; --camera-render wants one with render.mp4, mask.mp4 and {PATH}")
    if not (folder / PATH).is_file():
        raise InputError(f"{folder / PATH}: missing; a render needs the path of its camera")
    return {
        "camera_render": _video(folder, VIDEO),
        "camera_mask": _video(folder, MASK),
        "camera_path": folder / PATH,
    }


def read_camera_path(path: Path) -> CameraPath:
    """The camera's path.

    Raises:
        InputError: not readable, or not such a path; says what and where.
    """
    try:
        if path.stat().st_size > MAX_PATH_BYTES:
            raise InputError(f"{path}: more than {MAX_PATH_BYTES // 1024**2} MiB; a path has 16 numbers per frame")
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as exc:
        raise InputError(f"{path}: cannot be read ({exc})") from exc
    try:
        return CameraPath.model_validate_json(text)
    except ValidationError as exc:
        first = exc.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        what = str(first.get("ctx", {}).get("error", first["msg"]))
        raise InputError(f"{path}: {f'{where}: ' if where else ''}{what}; docs/uni3c.md shows what it holds") from exc


def _video(folder: Path, stem: str) -> Path:
    found = sorted(path for path in folder.glob(f"{stem}.*") if path.suffix.lower() in SUFFIXES)
    if len(found) == 1:
        return found[0]
    if not found:
        raise InputError(f"{folder}: has no {stem}.mp4 (or .mkv, .mov, .webm, .avi); a render needs it")
    raise InputError(f"{folder}: has {' and '.join(path.name for path in found)}; leave one of them")
