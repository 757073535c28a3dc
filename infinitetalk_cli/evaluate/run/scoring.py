"""The metrics of one clip: what each needs, what it gives, and why it may give nothing."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from infinitetalk_cli.cache.files import written_whole
from infinitetalk_cli.cache.fingerprint import fingerprint
from infinitetalk_cli.evaluate.measures import background, camera, drift, mouth, rhythm, seams, sound
from infinitetalk_cli.evaluate.measures.analysis import Analysis, analysed
from infinitetalk_cli.evaluate.measures.regions import person_masks
from infinitetalk_cli.evaluate.measures.series import RATE, end_minus_start, theil_sen
from infinitetalk_cli.evaluate.run.methods import Result
from infinitetalk_cli.evaluate.splits.prepare import Frames, PreparedClip, as_int16, read_speech
from infinitetalk_cli.evaluate.tables.results import Measured

VERSIONS = {
    "file": 2, "seams": 1, "drift": 1, "camera": 1, "background": 1, "lag": 1, "copying": 1, "rhythm": 1
}  # fmt: skip
"""Raise one when its measure would give other figures of equal files."""

TRACED = tuple(name for name in VERSIONS if name != "file")
"""Metrics that need a pass over both videos."""

TOO_SHORT, NO_FACE, NO_SEAM = "too short", "no face", "no seam"
NO_BACKGROUND = "background not seen"


@dataclass
class ClipFiles:
    """A clip, what was made of it, and where numbers of both are kept; everything is read when it is first needed."""

    clip: PreparedClip
    result: Result
    digest: str
    """Hash of the result's file."""
    size: int
    store: Path
    num_frames: int = field(init=False)
    """Frames that both have."""

    def __post_init__(self) -> None:
        self.num_frames = min(self.clip.num_frames, self.made_frames.num_frames)

    @cached_property
    def source_frames(self) -> Frames:
        """The prepared clip's frames."""
        return Frames(self.clip.video)

    @cached_property
    def made_frames(self) -> Frames:
        """The result's frames, at the prepared clip's rate and size."""
        return Frames(self.result.path, self.clip.num_frames, self.size)

    @cached_property
    def heard(self) -> np.ndarray:
        """The result's sound from its first picture on, (n,) float32 at 16 kHz."""
        return read_speech(self.result.path, start_s=self.made_frames.starts_s)

    @cached_property
    def given(self) -> np.ndarray:
        """The sound that it was given."""
        return read_speech(self.clip.audio)

    @property
    def voice(self) -> np.ndarray:
        """The result's sound without the silence at its end that was added."""
        return self.heard[: self.clip.voiced_samples]

    @cached_property
    def source(self) -> Analysis:
        """Analysis of the prepared clip, shared by all methods."""
        return analysed(self.source_frames, self.clip.facts.fingerprint, self.clip.facts.face, self.store)

    @cached_property
    def made(self) -> Analysis:
        """Analysis of the result."""
        return analysed(self.made_frames, self.digest, self.clip.facts.face, self.store)

    @property
    def have_faces(self) -> bool:
        """Whether both show a face."""
        return self.source.trace.has_face and self.made.trace.has_face

    def features(self, identity: Mapping[str, Any], digest: str, make: Callable[[], Any]) -> Any:
        """Rows (an array) that a network gave for a video, kept in a file; a reason why there are none is not kept."""
        path = self.store / f"{fingerprint(['features', dict(identity), digest, self.num_frames])}.npy"
        try:
            return np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError):
            rows = make()
        if not isinstance(rows, np.ndarray):
            return rows
        with written_whole(path) as scratch:
            np.save(scratch, rows)
        return rows


def measure(name: str, files: ClipFiles, network: Any | None) -> Measured:
    """Metric `name` of a clip; `network` is the loaded network of those that have one."""
    began_s = time.monotonic()
    found = _FREE[name](files) if name in _FREE else _NETWORK[name](files, network)
    return found.model_copy(update={"seconds": round(time.monotonic() - began_s, 3)})


def _of(values: Mapping[str, float | None] | None, missing: str, **about: Any) -> Measured:
    if not values:
        return Measured(missing=missing, about=about)
    return Measured(values={name: None if v is None else float(v) for name, v in values.items()}, about=about)


def _file(files: ClipFiles) -> Measured:
    own = Frames(files.result.path).num_frames
    return _of(sound.file_values(own, files.clip.num_frames, files.heard, files.given), "")


def _seams(files: ClipFiles) -> Measured:
    places = files.result.seams
    return _of(seams.seam_values(files.made.trace, files.source.trace, places), NO_SEAM, seams=list(places))


def _drift(files: ClipFiles) -> Measured:
    if files.num_frames < 2:
        return Measured(missing=TOO_SHORT)
    return _of(drift.drift_values(files.made.trace, files.source.trace), TOO_SHORT)


def _camera(files: ClipFiles) -> Measured:
    return _of(camera.camera_values(files.made.trace, files.source.trace, files.size), NO_BACKGROUND)


def _background(files: ClipFiles) -> Measured:
    paths = camera.paths(files.made.trace, files.source.trace)
    if paths is None:
        paths = camera.still_path(files.num_frames), camera.still_path(files.num_frames)
    return _of(background.background_values(_pairs(files), *paths), NO_BACKGROUND)


def _pairs(files: ClipFiles) -> Iterator[tuple[int, np.ndarray, np.ndarray, np.ndarray]]:
    boxes, size = files.source.face.boxes, (files.size, files.size)
    pairs = zip(files.made_frames(), files.source_frames(), strict=False)
    for number, (one, other) in enumerate(pairs):
        if number % background.EVERY_FRAMES == 0:
            box = None if boxes is None else boxes[number : number + 1]
            yield number, one, other, ~person_masks(box, 1, size)[0]


def _lag(files: ClipFiles) -> Measured:
    if not files.made.trace.has_face:
        return Measured(missing=NO_FACE)
    return _of(mouth.lag_values(files.made.trace, files.voice), TOO_SHORT, face=files.made.face.by)


def _copying(files: ClipFiles) -> Measured:
    if not files.have_faces:
        return Measured(missing=NO_FACE)
    return _of(mouth.copying_values(files.made.trace, files.source.trace), TOO_SHORT, face=files.made.face.by)


def _rhythm(files: ClipFiles) -> Measured:
    return _of(rhythm.rhythm_values(files.made.trace, files.source.trace, files.voice), TOO_SHORT)


def _first(frames: Frames, count: int) -> Iterator[np.ndarray]:
    for number, frame in enumerate(frames()):
        if number == count:
            return
        yield frame


def _sides(files: ClipFiles) -> tuple[tuple[Frames, str], tuple[Frames, str]]:
    """Result and source: their frames, and what decides them."""
    return (files.made_frames, files.digest), (files.source_frames, files.clip.facts.fingerprint)


def set_features(name: str, files: ClipFiles, network: Any) -> tuple[np.ndarray, np.ndarray] | str:
    """Rows of the result and of the source that FID or FVD compares over the set, or why there are none."""
    rows = []
    for frames, digest in _sides(files):

        def make(frames: Frames = frames) -> Any:
            if name == "fid":
                return network.features(_first(frames, files.num_frames))
            return network.features(_first(frames, files.num_frames), files.num_frames, files.clip.id)

        found = files.features({**network.identity, "clip": files.clip.id}, digest, make)
        if not isinstance(found, np.ndarray):
            return str(found.reason)
        rows.append(found)
    return TOO_SHORT if any(not len(part) for part in rows) else (rows[0], rows[1])


def _set_metric(name: str) -> Callable[[ClipFiles, Any], Measured]:
    def measured(files: ClipFiles, network: Any) -> Measured:
        found = set_features(name, files, network)
        return Measured(missing=found) if isinstance(found, str) else Measured(about={"samples": len(found[0])})

    return measured


def _sync(files: ClipFiles, network: Any) -> Measured:
    score = network.score(lambda: _first(files.made_frames, files.num_frames), as_int16(files.voice))
    if hasattr(score, "reason"):
        return Measured(missing=score.reason)
    names = ("confidence", "distance", "offset_frames", "confidence_at_zero", "distance_at_zero")
    about = {key: getattr(score, key) for key in ("num_windows", "num_tracks", "scale", "min_face_px")}
    return _of({name: getattr(score, name) for name in names}, TOO_SHORT, **about)


def _csim(files: ClipFiles, network: Any) -> Measured:
    from infinitetalk_cli.evaluate.metrics import csim

    faces = []
    for frames, digest in _sides(files):

        def make(frames: Frames = frames) -> np.ndarray:
            return network.embeddings(_first(frames, files.num_frames)).rows

        rows = files.features(network.identity, digest, make)
        faces.append(csim.FaceRows(rows, np.linalg.norm(rows, axis=1) > 0.5))  # zeros where no face was found
    likeness = csim.compare(*faces)
    if hasattr(likeness, "reason"):
        return Measured(missing=likeness.reason)
    course = np.asarray(likeness.pair_of_frames, float)
    known = np.flatnonzero(~np.isnan(course))
    values: dict[str, float | None] = {"pair": likeness.pair, "ref": likeness.ref, "coverage": likeness.coverage}
    if len(known) > 1:
        values["pair_per_min"] = theil_sen(course[known], known / RATE / 60)
        values["pair_end"] = end_minus_start(course[known])
    return _of(values, NO_FACE)


_FREE: dict[str, Callable[[ClipFiles], Measured]] = {
    "file": _file, "seams": _seams, "drift": _drift, "camera": _camera, "background": _background, "lag": _lag,
    "copying": _copying, "rhythm": _rhythm,
}  # fmt: skip
_NETWORK: dict[str, Callable[[ClipFiles, Any], Measured]] = {
    "fid": _set_metric("fid"), "fvd": _set_metric("fvd"), "sync": _sync, "csim": _csim,
}  # fmt: skip
