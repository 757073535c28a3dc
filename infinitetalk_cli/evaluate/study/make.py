"""Makes the study: a folder with a page and the videos under names that tell nothing, and apart from it the key."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from infinitetalk_cli.cache.files import write_text_atomic
from infinitetalk_cli.errors import InputError, OutputError, writing_to
from infinitetalk_cli.evaluate.run.methods import SUFFIXES
from infinitetalk_cli.evaluate.splits.donors import by_hash
from infinitetalk_cli.evaluate.splits.prepare import read_speech, write_wav16
from infinitetalk_cli.evaluate.study.aspects import ASPECTS
from infinitetalk_cli.media.containers import EncodeSettings
from infinitetalk_cli.media.probe import probe, require_video
from infinitetalk_cli.media.reader import FrameReader
from infinitetalk_cli.media.scan import scan_timeline
from infinitetalk_cli.media.writer import write_output
from infinitetalk_cli.progress import Progress
from infinitetalk_cli.units import MODEL_RATE, SPEECH_RATE_HZ, frame_time, frames_in

SHIFT_S = 1.0
"""How late the sound of a catch trial is."""

_QUALITY = 20
_ENCODING = EncodeSettings(video_codec="h264", quality=_QUALITY, pix_fmt="yuv420p", audio_codec="aac")


@dataclass(frozen=True)
class StudyPlace:
    """What `make_study` left: the page that is handed out, and the key that is not."""

    page: Path
    key: Path
    study: str
    num_trials: int


def make_study(
    methods: Mapping[str, Path],
    out: Path,
    progress: Progress,
    *,
    videos: int | None = None,
    ties: bool = False,
    catch: bool = True,
    copies: Path | None = None,
    seed: int = 2508,
) -> StudyPlace:
    """A study of the results `ID.mp4` (or another suffix) that all of `methods` (name -> folder) have.

    `videos` at most so many, chosen by hash; `catch`: two trials whose answer is known, one with late sound, and one
    with the source's copy if the folder `copies` has it. The key is written beside `out`.

    Raises:
        InputError: fewer than two methods, no result in common, or none in `copies`. OutputError: `out` holds something
            already, or there is a key beside it.
    """
    key_path = _free_place(out)
    chosen = _common(methods, videos, seed)
    if catch and copies is not None and not _has(copies, chosen[0]):
        raise InputError(f"{copies}: --copies holds no {chosen[0]}.mp4; give the outputs of 'eval run --method copy'")
    study = secrets.token_hex(6)
    with writing_to(out):
        (out / "videos").mkdir(parents=True, exist_ok=True)
    maker = _Maker(out / "videos", study)
    progress.start("encoding the videos", len(chosen) * len(methods) + 3 * catch)
    trials = []
    for clip in chosen:
        files = {}
        for method, folder in methods.items():
            files[maker.add(_file(folder, clip), f"{clip}/{method}")] = method
            progress.advance()
        trials.append({"id": maker.name(f"trial/{clip}"), "clip": clip, "kind": "rank", "files": files})
    if catch:
        trials += _catch_trials(methods, chosen[0], maker, copies, progress)
    manifest = {
        "id": study,
        "ties": ties,
        "aspects": [{"id": name, "question": text} for name, text in ASPECTS.items()],
        "trials": [{"id": trial["id"], "files": sorted(trial["files"])} for trial in trials],
    }
    page = Path(__file__).with_name("page.html").read_text(encoding="utf-8")
    # `</` must not end the script element that holds the data.
    write_text_atomic(out / "index.html", page.replace("@MANIFEST@", json.dumps(manifest).replace("</", "<\\/")))
    key = {"schema": 1, "kind": "infinitetalk study key", "study": study, "methods": list(methods), "trials": trials}
    write_text_atomic(key_path, json.dumps(key, indent=1))
    return StudyPlace(out / "index.html", key_path, study, len(trials))


def _free_place(out: Path) -> Path:
    """Where the key of a study in `out` goes; `OutputError` if either would take another's place."""
    if not out.name or out.name == "..":
        raise OutputError(f"{out}: give the study a folder of its own, its key is written beside it")
    if out.exists() and not out.is_dir():
        raise OutputError(f"{out}: is a file; choose another folder")
    if out.exists() and any(out.iterdir()):
        raise OutputError(f"{out}: is not empty; choose another folder, answers belong to one study")
    key_path = out.with_name(f"{out.name}-key.json")
    if key_path.exists():
        raise OutputError(f"{key_path}: is the key of another study, whose answers need it; choose another folder")
    return key_path


def _common(methods: Mapping[str, Path], videos: int | None, seed: int) -> list[str]:
    if len(methods) < 2:
        raise InputError("a ranking needs two methods at least; give --method NAME=FOLDER for each")
    names = [{file.stem for file in folder.iterdir() if file.suffix in SUFFIXES} if folder.is_dir() else set()
             for folder in methods.values()]  # fmt: skip
    for (method, folder), found in zip(methods.items(), names, strict=True):
        if not found:
            raise InputError(f"{method}: no results (ID.mp4) in {folder}")
    common = set.intersection(*names)
    if not common:
        raise InputError("the methods have no result in common; results are named by the clip's id")
    return by_hash(common, seed)[:videos]


def _file(folder: Path, clip: str) -> Path:
    return next(path for suffix in SUFFIXES if (path := folder / f"{clip}{suffix}").is_file())


def _has(folder: Path, clip: str) -> bool:
    return any((folder / f"{clip}{suffix}").is_file() for suffix in SUFFIXES)


def _catch_trials(
    methods: Mapping[str, Path], clip: str, maker: _Maker, copies: Path | None, progress: Progress
) -> Sequence[dict[str, Any]]:
    """Trials whose answer is known: `better` must not rank behind the other on `aspect`."""
    method, folder = next(iter(methods.items()))
    source = _file(folder, clip)
    right, late = maker.add(source, "catch/right"), maker.add(source, "catch/late", SHIFT_S)
    progress.advance(2)
    trials = [{
        "id": maker.name("trial/late"), "clip": clip, "kind": "late sound",
        "files": {right: method, late: "late sound"}, "better": right, "aspect": "lip_sync",
    }]  # fmt: skip
    if copies is not None:
        copy, made = maker.add(_file(copies, clip), "catch/copy"), maker.add(source, "catch/made")
        trials.append({
            "id": maker.name("trial/copy"), "clip": clip, "kind": "source copy", "files": {copy: "copy", made: method},
            "better": copy, "aspect": "identity",
        })  # fmt: skip
    progress.advance()
    return trials


class _Maker:
    """Encodes videos alike, under names that tell nothing to who has no key."""

    def __init__(self, folder: Path, study: str) -> None:
        self._folder, self._salt, self._study = folder, secrets.token_hex(16), study

    def name(self, what: str) -> str:
        """A name for something, different in every study."""
        return hashlib.sha256(f"{self._study}/{self._salt}/{what}".encode()).hexdigest()[:16]

    def add(self, path: Path, what: str, late_s: float = 0.0) -> str:
        """The file's name in the folder."""
        name = f"{self.name(what)}.mp4"
        info = probe(path)
        require_video(path, info)
        timeline = scan_timeline(path, info)
        num_frames = frames_in(timeline.duration_s)
        indices = [timeline.frame_index_at(frame_time(number)) for number in range(num_frames)]
        with TemporaryDirectory(prefix="infinitetalk-") as scratch, FrameReader(path, info, timeline) as reader:
            sound = Path(scratch) / "sound.wav"
            _write_sound(path, sound, num_frames, late_s)
            write_output(
                self._folder / name, reader.read(indices), num_frames, MODEL_RATE, source=path,
                source_info=info.model_copy(update={"metadata": {}, "chapters": (), "other": ()}), dub_audio=sound,
                audio_stop_s=frame_time(num_frames), settings=_ENCODING,
            )  # fmt: skip
        return name


def _write_sound(path: Path, out: Path, num_frames: int, late_s: float) -> None:
    """The sound of `path`, as long as its picture, moved back by `late_s`."""
    count = round(Fraction(num_frames) / MODEL_RATE * SPEECH_RATE_HZ)
    samples = np.zeros(count, np.float32)
    late = min(count, round(late_s * SPEECH_RATE_HZ))
    heard = read_speech(path)[: count - late]
    samples[late : late + len(heard)] = heard
    write_wav16(out, samples)
