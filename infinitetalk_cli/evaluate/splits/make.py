"""Splits from public lists, from any folder of videos, and of rendered clips."""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Sequence
from fractions import Fraction
from itertools import chain, count
from pathlib import Path

from pydantic import ValidationError

from infinitetalk_cli.cache.files import sha256_of
from infinitetalk_cli.errors import InputError
from infinitetalk_cli.evaluate.splits.donors import by_hash, donors, speaker_of
from infinitetalk_cli.evaluate.splits.public_lists import DATASETS, Listed, ListedClip, length_of, read_lists, square_of
from infinitetalk_cli.evaluate.splits.split import Prepare, Provenance, SourceList, Split, SplitItem
from infinitetalk_cli.units import clock

CLIPS = 40
VIDEO_SUFFIXES = (".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v", ".mpg", ".ts")
_NOT_IN_IDS = re.compile(r"[^\w.-]+")
_LONGEST_ID_BYTES = 140
"""Of an id that is made from a path: files are named by it, with beginnings and endings of ours, in 255 bytes."""


def from_lists(
    dataset: str,
    paths: Sequence[Path],
    *,
    clips: int,
    seed: int,
    prepare: Prepare,
    revision: str | None = None,
    uncut: Path | None = None,
) -> tuple[Split, Listed]:
    """A split of `clips` clips of a public list, and what the list said.

    The files are the cut clips as people keep them; or, with the folder `uncut`, whole videos named by YouTube's id.
    """
    listed = _usable(read_lists(dataset, paths), dataset, str(paths[0]))
    by_id = {clip.id: clip for clip in listed.clips}
    chosen = by_hash(by_id, seed)[:clips]
    given = _donors(chosen, lambda name: by_id[name].speaker, str(paths[0]))
    files = [file for path in paths for file in (sorted(path.glob("*.txt")) if path.is_dir() else [path])]
    split = Split(
        schema=1,
        name=f"{dataset}-{len(chosen)}",
        dataset=DATASETS[dataset],
        seed=seed,
        lists=tuple(SourceList(file=file.name, sha256=sha256_of(file), revision=revision) for file in files),
        prepare=prepare,
        items=tuple(_listed_item(by_id[name], given[name], dataset, uncut) for name in chosen),
    )
    return split, listed


def _usable(listed: Listed, dataset: str, where: str) -> Listed:
    """The clips that a split can hold; a note for each of the others."""
    kept, notes = [], list(listed.notes)
    for clip in listed.clips:
        try:
            if length_of(clip, dataset) <= 0:
                raise ValueError("nothing is left of it once it is cut")
            SplitItem(id=clip.id, video=(*clip.files, f"{clip.youtube}.mp4"), crop=clip.crop, audio_from=clip.id)
        except ValidationError as exc:
            reason = exc.errors(include_url=False)[0]["msg"].removeprefix("Value error, ")
            notes.append(f"{clip.id}: its entry cannot be used ({reason}); left out")
        except ValueError as exc:
            notes.append(f"{clip.id}: its entry cannot be used ({exc}); left out")
        else:
            kept.append(clip)
    if not kept:
        raise InputError(f"{where}: no entry of the list can be used; the first: {notes[0]}")
    return Listed(kept, notes)


def from_folder(folder: Path, *, name: str, clips: int, seed: int, prepare: Prepare) -> Split:
    """A split of the videos below `folder`; the id of each is its path without the suffix."""
    files = _videos(folder)
    ids: dict[str, str] = {}
    for file in files:
        relative = file.relative_to(folder)
        ids[_new_id(relative, ids)] = relative.as_posix()
    chosen = by_hash(ids, seed)[:clips]
    given = _donors(chosen, speaker_of, str(folder))
    items = tuple(SplitItem(id=ident, video=(ids[ident],), audio_from=given[ident]) for ident in chosen)
    return Split(schema=1, name=name, dataset=name, seed=seed, prepare=prepare, items=items)


def _new_id(relative: Path, taken: Container[str]) -> str:
    """An id like the path without its suffix; with the suffix, and then a number, where another file has that id."""
    texts = (relative.with_suffix("").as_posix(), relative.as_posix())
    plain, whole = (_short(_NOT_IN_IDS.sub("_", text).lstrip(".")) or "_" for text in texts)
    numbered = (f"{plain}-{number}" for number in count(2))
    return next(ident for ident in chain((plain, whole), numbered) if ident not in taken)


def _short(text: str) -> str:
    return text.encode("utf-8", "ignore")[:_LONGEST_ID_BYTES].decode("utf-8", "ignore")


def _donors(chosen: list[str], speaker: Callable[[str], str], where: str) -> dict[str, str]:
    try:
        return donors(chosen, speaker)
    except ValueError as exc:
        raise InputError(f"{where}: {exc}; a split needs two at least") from exc


def _videos(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; --videos wants a folder of videos")
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in VIDEO_SUFFIXES and path.is_file())
    if not files:
        raise InputError(f"{folder}: holds no videos ({', '.join(VIDEO_SUFFIXES)})")
    return files


def _listed_item(clip: ListedClip, donor: str, dataset: str, uncut: Path | None) -> SplitItem:
    source = Provenance(youtube=clip.youtube, start=_stamp(clip.start_s), end=_stamp(clip.end_s))
    length_s = length_of(clip, dataset)
    if uncut is None:  # cut and cropped already
        end = round(float(length_s), 3)
        return SplitItem(id=clip.id, video=clip.files, end=end or None, audio_from=donor, source=source)
    start_s = clip.start_s + (clip.end_s - clip.start_s - length_s) / 2
    return SplitItem(
        id=clip.id,
        video=(f"{clip.youtube}.mp4",),
        start=round(float(start_s), 3),
        end=round(float(start_s + length_s), 3),
        crop=clip.crop or _box_crop(clip, uncut / f"{clip.youtube}.mp4"),
        audio_from=donor,
        source=source,
    )


def _box_crop(clip: ListedClip, path: Path) -> tuple[int, int, int, int] | None:
    """The box of a list that gives shares of the picture, in pixels of the video itself."""
    if clip.box is None:
        return None
    from infinitetalk_cli.media.probe import probe, require_video

    if not path.is_file():
        raise InputError(
            f"{path}: no such file; the crop of {clip.id} is a share of this video's size, so it is needed"
        )
    return square_of(clip.box, *require_video(path, probe(path)).upright_size)


def _stamp(seconds: Fraction) -> str:
    minutes, rest = divmod(float(seconds), 60)
    hours, minutes = divmod(int(minutes), 60)
    return f"{hours:02d}:{minutes:02d}:{rest:06.3f}".removesuffix(".000")


def described(split: Split) -> str:
    """One line about a split."""
    known = [item.end - item.start for item in split.items if item.end is not None]
    length = f", {clock(sum(known))} in all" if len(known) == len(split.items) else ""
    return f"{split.name}: {len(split.items)} clips of {split.dataset}{length}, audio permuted with seed {split.seed}"
