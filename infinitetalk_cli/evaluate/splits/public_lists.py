"""The public lists of HDTF, CelebV-HQ and EMTD, read as their authors wrote them; ids come from the list or not at all.

HDTF (github.com/MRzzm/HDTF): `*_video_url.txt`, `*_annotion_time.txt` and, if given, `*_crop_wh.txt` of a subset.
CelebV-HQ (github.com/CelebV-HQ/CelebV-HQ): `celebvhq_info.json`. EMTD (github.com/antgroup/echomimic_v2): a CSV.
"""

from __future__ import annotations

import csv
import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from infinitetalk_cli.errors import InputError
from infinitetalk_cli.evaluate.splits.donors import speaker_of
from infinitetalk_cli.units import parse_time

MAX_LIST_BYTES = 256 * 1024 * 1024
_YOUTUBE_ID = re.compile(r"[\w-]{11}")
_TRIMMED_FRAMES = 3
"""The slicing script of EMTD leaves out so many frames at both ends."""
_GROWN = 0.02
"""A CelebV-HQ box is grown by this share of the picture on each side."""


@dataclass(frozen=True)
class ListedClip:
    """A clip of a public list. `files`: how it is usually named; `crop`: as in a split; `box`: sides in 0..1 instead.

    `start_s` and `end_s` are those inside the original video; people keep the cut clips, which begin at 0.
    """

    id: str
    speaker: str
    files: tuple[str, ...]
    youtube: str
    start_s: Fraction
    end_s: Fraction
    crop: tuple[int, int, int, int] | None = None
    box: tuple[float, float, float, float] | None = None


@dataclass
class Listed:
    """What the lists say; `notes` are one sentence each on entries that could not be used."""

    clips: list[ListedClip]
    notes: list[str] = field(default_factory=list)


def read_lists(dataset: str, paths: Sequence[Path]) -> Listed:
    """The clips of `dataset` ("hdtf", "celebv-hq", "emtd"); `InputError` names file and line of what cannot be read."""
    listed = _READERS[dataset](paths)
    if not listed.clips:
        raise InputError(f"{paths[0]}: no clip could be read from the list; is it the right one for {dataset}?")
    return listed


def youtube_id(text: str) -> str | None:
    """The video's id in an address (`watch?v=`, `youtu.be/`, `shorts/`, `embed/`) or the bare id; None without one."""
    text = text.strip()
    if _YOUTUBE_ID.fullmatch(text):
        return text
    parts = urlsplit(text if "//" in text else f"https://{text}")
    asked = parse_qs(parts.query).get("v", [""])[0]
    last = parts.path.rstrip("/").rsplit("/", 1)[-1]
    return next((found[0] for part in (asked, last) if (found := _YOUTUBE_ID.match(part))), None)


def _text(path: Path) -> str:
    try:
        data = path.read_bytes() if path.stat().st_size <= MAX_LIST_BYTES else None
    except OSError as exc:
        raise InputError(f"{path}: the list cannot be read ({exc.strerror or exc})") from exc
    if data is None:
        raise InputError(f"{path}: has more than {MAX_LIST_BYTES // 2**20} MiB; this is no list of clips")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        line = data[: exc.start].count(b"\n") + 1
        raise InputError(f"{path}:{line}: is not UTF-8 text; take the list as it was published") from exc


def _hdtf(paths: Sequence[Path]) -> Listed:
    found = Listed([])
    for subset, files in _subsets(paths).items():
        urls = _table(files["video_url"])
        spans = _table(files["annotion_time"])
        crops = _table(files["crop_wh"]) if "crop_wh" in files else {}
        for name, (line, words) in urls.items():
            video = youtube_id(words[0]) if words else None
            if video is None:
                raise InputError(f"{files['video_url']}:{line}: no YouTube address after '{name}'")
            if name not in spans:
                found.notes.append(f"{subset}_{name}: has an address but no times; left out")
                continue
            time_line, written = spans[name]
            for index, text in enumerate(written):
                clip = f"{name}_{index}"
                crop = _hdtf_crop(files, crops.get(clip)) if crops else None
                if crops and crop is None:
                    found.notes.append(f"{subset}_{clip}: the list has no crop for it; left out")
                    continue
                start_s, end_s = _span(text, files["annotion_time"], time_line)
                full = f"{subset}_{clip}"
                names = (f"{full}.mp4", f"{subset}_{name}_{index:03d}.mp4")
                found.clips.append(ListedClip(full, f"{subset}_{speaker_of(name)}", names, video, start_s, end_s, crop))
    return found


def _subsets(paths: Sequence[Path]) -> dict[str, dict[str, Path]]:
    """Files by subset (RD, WDA, WRA) and kind; a folder stands for the lists in it."""
    files = [file for path in paths for file in (sorted(path.glob("*.txt")) if path.is_dir() else [path])]
    subsets: dict[str, dict[str, Path]] = {}
    for path in files:
        subset, _, kind = path.stem.partition("_")
        if kind in ("video_url", "annotion_time", "crop_wh"):
            subsets.setdefault(subset, {})[kind] = path
    for subset, kinds in subsets.items():
        for needed in ("video_url", "annotion_time"):
            if needed not in kinds:
                raise InputError(
                    f"{next(iter(kinds.values()))}: {subset}_{needed}.txt is needed too; add it with --list"
                )
    if not subsets:
        raise InputError(f"{paths[0]}: HDTF's lists are named like RD_video_url.txt; give them, or their folder")
    return subsets


def _table(path: Path) -> dict[str, tuple[int, list[str]]]:
    """Lines `NAME WORD WORD...` as name -> (line, words); names lose their .mp4."""
    rows: dict[str, tuple[int, list[str]]] = {}
    for number, line in enumerate(_text(path).splitlines(), start=1):
        words = line.split()
        if words:
            rows[words[0].removesuffix(".mp4")] = (number, words[1:])
    return rows


def _span(text: str, path: Path, line: int) -> tuple[Fraction, Fraction]:
    first, _, last = text.partition("-")
    try:
        start_s, end_s = parse_time(first), parse_time(last)
    except ValueError as exc:
        raise InputError(f"{path}:{line}: '{text}' is not a span such as 00:30-01:00") from exc
    if end_s <= start_s:
        raise InputError(f"{path}:{line}: '{text}' ends before it begins")
    return start_s, end_s


def _hdtf_crop(files: Mapping[str, Path], row: tuple[int, list[str]] | None) -> tuple[int, int, int, int] | None:
    """The list's order is x, width, y, height."""
    if row is None:
        return None
    line, words = row
    try:
        x, width, y, height = map(int, words)
    except ValueError as exc:
        raise InputError(f"{files['crop_wh']}:{line}: wants four whole numbers x, w, y, h") from exc
    return x, y, width, height


def _celebv_hq(paths: Sequence[Path]) -> Listed:
    found = Listed([])
    for path in paths:
        try:
            document = json.loads(_text(path))
        except json.JSONDecodeError as exc:
            raise InputError(f"{path}:{exc.lineno}: is not JSON ({exc.msg})") from exc
        clips = document.get("clips", document) if isinstance(document, dict) else None
        if not isinstance(clips, dict):
            raise InputError(f"{path}: has no 'clips'; celebvhq_info.json is wanted")
        for name, about in clips.items():
            try:
                found.clips.append(_celebv_clip(name, about))
            except (KeyError, TypeError, ValueError) as exc:
                found.notes.append(f"{name}: its entry is incomplete ({exc}); left out")
    return found


def _celebv_clip(name: str, about: Mapping[str, Any]) -> ListedClip:
    span, box, video = about["duration"], about["bbox"], str(about["ytb_id"])
    start_s, end_s = (Fraction(str(span[key])) for key in ("start_sec", "end_sec"))
    sides = tuple(float(box[key]) for key in ("left", "top", "right", "bottom"))
    if not (end_s > start_s and sides[0] < sides[2] and sides[1] < sides[3] and all(map(math.isfinite, sides))):
        raise ValueError("its span or its box is empty")
    return ListedClip(name, video, (f"{name}.mp4",), video, start_s, end_s, box=sides)


def _emtd(paths: Sequence[Path]) -> Listed:
    found = Listed([])
    for path in paths:
        rows = csv.reader(_text(path).splitlines())
        for row, cells in enumerate(rows):
            if row == 0 and cells and cells[0].strip().lower() == "url":
                first = 1
                continue
            if row == 0:
                raise InputError(f"{path}:1: begins not with URL,Start Timecode,End Timecode")
            if not any(cell.strip() for cell in cells):
                first += 1
                continue
            video = youtube_id(cells[0])
            if video is None or len(cells) < 3:
                raise InputError(f"{path}:{rows.line_num}: is not URL,START,END")
            start_s, end_s = _span(f"{cells[1]}-{cells[2]}", path, rows.line_num)
            name = f"{row - first}_{video}"
            found.clips.append(ListedClip(name, video, (f"{name}.mp4",), video, start_s, end_s))
    return found


_READERS: dict[str, Callable[[Sequence[Path]], Listed]] = {"hdtf": _hdtf, "celebv-hq": _celebv_hq, "emtd": _emtd}
DATASETS = {"hdtf": "HDTF", "celebv-hq": "CelebV-HQ", "emtd": "EMTD"}
"""Names on the command line, and as they are written."""


def length_of(clip: ListedClip, dataset: str) -> Fraction:
    """Seconds of the clip as the dataset's own script cuts it."""
    cut = 2 * Fraction(_TRIMMED_FRAMES, 25) if dataset == "emtd" else Fraction(0)
    return max(Fraction(0), clip.end_s - clip.start_s - cut)


def square_of(box: tuple[float, float, float, float], width: int, height: int) -> tuple[int, int, int, int]:
    """Crop (x, y, w, h) for a CelebV-HQ box: grown on each side, then the square around it, inside the picture."""
    left, top, right, bottom = (
        side * length for side, length in zip(
            (box[0] - _GROWN, box[1] - _GROWN, box[2] + _GROWN, box[3] + _GROWN), (width, height) * 2, strict=True
        )
    )  # fmt: skip
    side = min(round(max(right - left, bottom - top)), width, height)
    x = round((left + right - side) / 2)
    y = round((top + bottom - side) / 2)
    return max(0, min(x, width - side)), max(0, min(y, height - side)), side, side
