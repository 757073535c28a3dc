"""The whole evaluation of one method on one split: prepare, dub or take, check, score, sum up; resumable everywhere."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from infinitetalk_cli import __version__
from infinitetalk_cli.cache.files import sha256_of, write_text_atomic
from infinitetalk_cli.cache.fingerprint import file_content_hash, fingerprint
from infinitetalk_cli.errors import BatchError, InputError, OutputError, writing_to
from infinitetalk_cli.evaluate.measures.face import detector
from infinitetalk_cli.evaluate.measures.sound import OTHER_SOUND_BELOW
from infinitetalk_cli.evaluate.run import checks, scoring
from infinitetalk_cli.evaluate.run.methods import Method, Result
from infinitetalk_cli.evaluate.run.networks import Networks, find_networks
from infinitetalk_cli.evaluate.run.summary import distances, summarise
from infinitetalk_cli.evaluate.splits.prepare import PreparedClip, find_video, prepare_clip
from infinitetalk_cli.evaluate.splits.split import Split, SplitItem
from infinitetalk_cli.evaluate.tables.album import write_album
from infinitetalk_cli.evaluate.tables.results import ClipResult, Measured, Report, SetValue
from infinitetalk_cli.progress import Progress

log = logging.getLogger(__name__)

PREPARED, STORE = "prepared", "numbers"


_Made = dict[str, tuple[PreparedClip, Result, str]]
"""What is scored, by id: the clip, what was made of it, and the hash of that file."""


@dataclass(frozen=True)
class EvalRequest:
    """What is evaluated. `metrics` None: all, those without weights said to be so; `presets` by metric.

    `lenient`: results of another length, rate or size are scored on what they share with the source.
    """

    split: Split
    split_path: Path
    videos: Path
    method: Method
    out: Path
    metrics: tuple[str, ...] | None = None
    presets: Mapping[str, str] = field(default_factory=dict)
    weights_folders: tuple[Path, ...] = ()
    device: str = "cpu"
    lenient: bool = False
    memo_dir: Path | None = None

    @property
    def folder(self) -> Path:
        """Where everything about this method is."""
        return self.out / self.method.name


def evaluate(request: EvalRequest, progress: Progress) -> Report:
    """Evaluate, and return the report; nothing but the numbers, the results and the prepared clips is written.

    Raises:
        DependencyError: a metric was asked for by name and its weights or packages are missing.
        OutputError: the folder holds results of another method under this name.
    """
    began_s = time.monotonic()
    networks = find_networks(request.metrics, request.presets, request.weights_folders, request.device)
    _claim(request)
    clips: list[ClipResult] = []
    made: _Made = {}
    for number, item in enumerate(request.split.items, start=1):
        progress.start(f"{item.id} ({number}/{len(request.split.items)})")
        clips.append(_evaluate_item(request, item, networks, made, progress))
        if clips[-1].status != "scored":
            progress.note(f"{item.id}: {clips[-1].status}: {clips[-1].reason}")
    progress.start("comparing the sets")
    sets = _sets(request, clips, networks, made)
    return Report(
        made_by=f"infinitetalk {__version__}",
        finished_at=datetime.now(UTC).isoformat(timespec="seconds"),
        split={
            "name": request.split.name, "dataset": request.split.dataset, "sha256": sha256_of(request.split_path),
            "seed": request.split.seed, "prepare": request.split.prepare.model_dump(mode="json"),
        },
        method={"name": request.method.name, **request.method.about()},
        num_items=len(request.split.items),
        num_scored=sum(clip.status == "scored" for clip in clips),
        metrics=networks.states,
        clips=tuple(clips),
        summary=summarise(clips),
        sets=sets,
        seconds={"all": round(time.monotonic() - began_s, 1)},
    )  # fmt: skip


def _claim(request: EvalRequest) -> None:
    """Make the method's folder, or check that it is this method's."""
    path, about = request.folder / "method.json", {"name": request.method.name, **request.method.about()}
    known, wanted = _read_kept(path), json.loads(json.dumps(about))
    changed = sorted(key for key in {*known, *wanted} if known.get(key) != wanted.get(key))
    is_begun = any(any((request.folder / part).glob("*")) for part in ("outputs", "clips"))
    if known and changed and is_begun:  # a run that ended before its first clip, at a wrong --profile, claims nothing
        said = ", ".join(f"{key} {known.get(key)}, now {wanted.get(key)}" for key in changed)
        raise OutputError(f"{request.folder}: was made otherwise ({said}); choose another --method or --out")
    with writing_to(request.folder):
        (request.folder / "outputs").mkdir(parents=True, exist_ok=True)
        (request.folder / "clips").mkdir(exist_ok=True)
    write_text_atomic(path, json.dumps(about, indent=1))


def _evaluate_item(
    request: EvalRequest, item: SplitItem, networks: Networks, made: _Made, progress: Progress
) -> ClipResult:
    """All of one clip. What is wrong with a file concerns that clip alone; anything else ends the run."""
    for needed in (item, request.split.item(item.audio_from)):
        if find_video(needed, request.videos) is None:
            what = "its video" if needed is item else f"the video of its donor {needed.id}"
            return ClipResult(id=item.id, status="missing", reason=f"{what} is not in {request.videos}")
    try:
        clip = prepare_clip(item, request.split, request.videos, request.out / PREPARED, request.memo_dir)
        result = request.method.result(clip, request.folder / "outputs")
        if result is None:
            return ClipResult(
                id=item.id, status="missing", reason="the method made no file for it", num_frames=clip.num_frames
            )
        notes = checks.check_result(result.path, clip, request.split.prepare.size, lenient=request.lenient)
        made[item.id] = (clip, result, file_content_hash(result.path, request.memo_dir))
        return _score(request, made[item.id], notes, networks, progress)
    except (InputError, OutputError) as exc:
        log.info("%s failed", item.id, exc_info=exc)
        return ClipResult(id=item.id, status="failed", reason=str(exc))


def _score(
    request: EvalRequest,
    made: tuple[PreparedClip, Result, str],
    notes: Sequence[str],
    networks: Networks,
    progress: Progress,
) -> ClipResult:
    clip, result, digest = made
    size = request.split.prepare.size
    files = scoring.ClipFiles(clip, result, digest, size, request.out / STORE)
    kept_path = request.folder / "clips" / f"{clip.id}.json"
    kept = _read_kept(kept_path)
    made_seconds = result.seconds if result.seconds is not None else kept.pop("seconds_to_make", None)
    faces_by = "split" if clip.facts.face is not None else detector()
    found: dict[str, Measured] = {}
    fresh: dict[str, Any] = {"seconds_to_make": made_seconds}
    for name, state in networks.states.items():
        if state.missing is not None:
            found[name] = Measured(missing=state.missing)
            continue
        network = networks.get(name)
        about = (
            dict(network.identity) if network is not None else {"version": scoring.VERSIONS[name], "faces": faces_by}
        )
        key = fingerprint([name, about, digest, clip.facts.fingerprint, list(result.seams), size])
        progress.detail(name)
        found[name] = _recall(kept.get(name), key) or scoring.measure(name, files, network)
        fresh[name] = {"key": key, "measured": found[name].model_dump(mode="json")}
        write_text_atomic(kept_path, json.dumps({**kept, **fresh}))
    is_traced = any(name in found for name in scoring.TRACED)
    key = fingerprint(["album", digest, clip.facts.fingerprint, is_traced])
    write_album(files, kept_path.parent, key, with_curves=is_traced)
    return ClipResult(
        id=clip.id,
        status="scored",
        num_frames=files.num_frames,
        audio_pad_s=clip.facts.audio_pad_s,
        seams=result.seams,
        face_by=files.source.face.by if is_traced else None,
        notes=(*notes, *_doubts(found)),
        seconds_to_make=made_seconds,
        made_with=dict(result.made_with),
        metrics=found,
    )


def _doubts(found: Mapping[str, Measured]) -> Iterator[str]:
    """What the figures say against the result itself."""
    likeness = found["file"].values.get("sound_r") if "file" in found else None
    if likeness is not None and likeness < OTHER_SOUND_BELOW:
        yield f"its sound is not the one it was to be dubbed with (correlation {likeness:.2f})"


def _read_kept(path: Path) -> dict[str, Any]:
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        return kept if isinstance(kept, dict) else {}
    except (OSError, ValueError):
        return {}


def _recall(kept: Any, key: str) -> Measured | None:
    if not isinstance(kept, dict) or kept.get("key") != key:
        return None
    try:
        return Measured.model_validate(kept["measured"])
    except (KeyError, ValidationError):
        return None


def _sets(request: EvalRequest, clips: Sequence[ClipResult], networks: Networks, made: _Made) -> dict[str, SetValue]:
    found = {}
    for name in ("fid", "fvd"):
        state = networks.states.get(name)
        if state is None:
            continue
        if state.missing is not None:
            rows: list[tuple[np.ndarray, np.ndarray]] = []
        else:
            rows = _rows(request, clips, name, networks, made)
        found |= distances(name, rows, state.missing or "too few clips")
    return found


def _rows(
    request: EvalRequest, clips: Sequence[ClipResult], name: str, networks: Networks, made: _Made
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Features of all clips that have them; they were kept when the clips were scored."""
    rows = []
    for clip in clips:
        measured = clip.metrics.get(name)
        if clip.status != "scored" or measured is None or measured.missing is not None:
            continue
        files = scoring.ClipFiles(*made[clip.id], request.split.prepare.size, request.out / STORE)
        pair = scoring.set_features(name, files, networks.get(name))
        if not isinstance(pair, str):
            rows.append(pair)
    return rows


def failures(report: Report) -> BatchError | None:
    """What the exit code of a run says of clips that no figure covers; None if there are none."""
    lost = report.uncovered
    if not lost:
        return None
    first, rest = lost[0], ", the others are scored" if report.num_scored else ""
    return BatchError(
        f"{len(lost)} of {report.num_items} clips are not covered{rest}; {first.id}: {first.status}: {first.reason}"
    )
