"""What the report shows of a clip: a contact sheet of source and result, and how some figures run over its time."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
from PIL import Image

from infinitetalk_cli.cache.files import write_text_atomic, written_whole
from infinitetalk_cli.evaluate.measures.camera import paths
from infinitetalk_cli.evaluate.measures.drift import drift_curves
from infinitetalk_cli.evaluate.measures.series import RATE
from infinitetalk_cli.evaluate.run.scoring import ClipFiles

COLUMNS, TILE_PX = 6, 128
_WEBP_QUALITY, _MOST_POINTS = 72, 150


def sheet_path(folder: Path, name: str) -> Path:
    """The contact sheet of a clip."""
    return folder / f"{name}.webp"


def curves_path(folder: Path, name: str) -> Path:
    """The curves of a clip: name -> [[second, value], ...]."""
    return folder / f"{name}.curves.json"


def write_album(files: ClipFiles, folder: Path, key: str, *, with_curves: bool) -> None:
    """Write both files into `folder`, unless they are there under the same `key`."""
    name = files.clip.id
    sheet, curves = sheet_path(folder, name), curves_path(folder, name)
    if sheet.is_file() and _key_of(curves) == key:
        return
    with written_whole(sheet) as scratch:
        scratch.write_bytes(_contact_sheet(files))
    write_text_atomic(curves, json.dumps({"key": key, **(_curves(files) if with_curves else {})}))


def read_curves(path: Path) -> dict[str, list[tuple[float, float]]]:
    """What `write_album` wrote; nothing if it is gone."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return {name: [(x, y) for x, y in points] for name, points in found.items() if name != "key"}


def _key_of(path: Path) -> str | None:
    try:
        return json.loads(path.read_text(encoding="utf-8"))["key"]
    except (OSError, ValueError, KeyError):
        return None


def _contact_sheet(files: ClipFiles) -> bytes:
    wanted = np.linspace(0, files.num_frames - 1, COLUMNS).round().astype(int).tolist()
    picture = Image.new("RGB", (COLUMNS * TILE_PX, 2 * TILE_PX))
    for row, frames in enumerate((files.source_frames, files.made_frames)):
        for number, frame in enumerate(frames()):
            for column in (place for place, want in enumerate(wanted) if want == number):
                tile = Image.fromarray(np.ascontiguousarray(frame)).resize((TILE_PX, TILE_PX), Image.Resampling.BOX)
                picture.paste(tile, (column * TILE_PX, row * TILE_PX))
            if number >= wanted[-1]:
                break
    data = io.BytesIO()
    picture.save(data, "WEBP", quality=_WEBP_QUALITY)
    return data.getvalue()


def _curves(files: ClipFiles) -> dict[str, list[list[float]]]:
    made, source = files.made.trace, files.source.trace
    found = {"delta_e": drift_curves(made, source)["delta_e"]}
    cameras = paths(made, source)
    if cameras is not None:
        found["camera_px"] = np.abs(cameras[0].shift - cameras[1].shift)
    found["change"] = np.concatenate(([0.0], made.residual))
    found["change_source"] = np.concatenate(([0.0], source.residual))[: made.num_frames]
    return {name: _thinned(values) for name, values in found.items()}


def _thinned(values: np.ndarray) -> list[list[float]]:
    """At most 150 points, each the largest of its stretch, so that no peak is lost."""
    stretches = np.array_split(np.arange(len(values)), min(_MOST_POINTS, len(values)))
    chosen = [int(part[values[part].argmax()]) for part in stretches]
    return [[round(place / RATE, 3), round(float(values[place]), 4)] for place in chosen]
