"""Videos and voices of one folder that belong together by their names."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from infinitetalk_cli.batch.rows import JobTable, Row
from infinitetalk_cli.errors import InputError

VIDEO_SUFFIXES = frozenset(
    ".3gp .asf .avi .flv .m2ts .m4v .mkv .mov .mp4 .mpeg .mpg .mts .mxf .ogv .ts .vob .webm .wmv".split()
)
DUBBED = ".dubbed"
"""Comes before the suffix of every result's usual name."""


@dataclass(frozen=True)
class Pairs:
    """The jobs of a folder, and the files that were left over."""

    table: JobTable
    lone_videos: tuple[Path, ...]
    lone_voices: tuple[Path, ...]


def find_pairs(folder: Path, audio_suffix: str, output_dir: Path | None = None, container: str | None = None) -> Pairs:
    """`NAME.mp4` and `NAME` + `audio_suffix` are a pair; results of earlier batches are no videos here.

    The result is called `NAME.fr.dubbed.mp4` for the suffix `.fr.wav`, so that other languages have other names; it
    lies in `output_dir`, or beside the video.

    Raises:
        InputError: the folder cannot be read, or has no pair.
    """
    names = _names(folder)
    videos = [
        name for name in names if Path(name).suffix.lower() in VIDEO_SUFFIXES and not _is_ours(name, audio_suffix)
    ]
    voices = {name: None for name in names if name.endswith(audio_suffix) and name != audio_suffix}
    language = audio_suffix.rpartition(".")[0]
    table, lone = JobTable(folder), []
    for video in videos:
        stem = Path(video).stem
        if stem + audio_suffix not in voices:
            lone.append(folder / video)
            continue
        taken = voices[stem + audio_suffix]
        if taken is not None:
            table.complain(video, f"has the same voice as {taken}; rename one of them")
        voices[stem + audio_suffix] = video
        output = (output_dir or folder) / f"{stem}{language}{DUBBED}.{container or 'mp4'}"
        values = {"video": (video,), "audio": (stem + audio_suffix,), "output": (str(output.absolute()),)}
        table.rows.append(Row(len(table.rows) + 1, video, values))
    if not table.rows:
        raise InputError(
            f"{folder}: no pairs; NAME.mp4 belongs to NAME{audio_suffix}, "
            f"and there are {len(videos)} videos and {len(voices)} such voices"
        )
    return Pairs(table, tuple(lone), tuple(folder / name for name, video in voices.items() if video is None))


def _is_ours(name: str, audio_suffix: str) -> bool:
    return Path(name).stem.endswith(DUBBED) or name.endswith(audio_suffix)


def _names(folder: Path) -> Iterable[str]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entry.name for entry in entries if entry.is_file() and not entry.name.startswith("."))
    except OSError as exc:
        raise InputError(f"{folder}: cannot be read ({exc.strerror or exc}); --pair-dir wants a folder") from exc
