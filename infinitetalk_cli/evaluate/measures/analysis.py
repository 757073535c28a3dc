"""The trace of a video and where its face is, kept in a folder under the hash of what they were made from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from infinitetalk_cli.cache.files import written_whole
from infinitetalk_cli.cache.fingerprint import fingerprint
from infinitetalk_cli.evaluate.measures import trace as tracing
from infinitetalk_cli.evaluate.measures.face import FaceTrack, detector, track_face
from infinitetalk_cli.evaluate.measures.trace import Trace, trace_video
from infinitetalk_cli.evaluate.splits.prepare import Frames

Face = tuple[float, float, float, float]


@dataclass(frozen=True, eq=False)
class Analysis:
    """A video's numbers per frame, and its face."""

    trace: Trace
    face: FaceTrack


def analysed(frames: Frames, digest: str, given: Face | None, folder: Path) -> Analysis:
    """The analysis of the video whose file has the hash `digest`, computed once; `given`: a face that is known."""
    by = "split" if given is not None else detector()
    key = fingerprint(
        ["analysis", tracing.VERSION, digest, frames.num_frames, by, None if given is None else list(given)]
    )
    path = folder / f"{key}.npz"
    known = _load(path)
    if known is not None:
        return known
    face = track_face(frames, frames.num_frames, given)
    made = Analysis(trace_video(frames(), face), face)
    boxes = np.zeros((0, 4)) if face.boxes is None else face.boxes
    with written_whole(path) as scratch:
        made.trace.save(scratch)
    with written_whole(path.with_suffix(".face.npz")) as scratch:
        np.savez_compressed(scratch, boxes=boxes, by=face.by, coverage=face.coverage)
    return made


def _load(path: Path) -> Analysis | None:
    try:
        with np.load(path.with_suffix(".face.npz"), allow_pickle=False) as face:
            boxes, by, coverage = face["boxes"], str(face["by"]), float(face["coverage"])
        return Analysis(Trace.load(path), FaceTrack(boxes if len(boxes) else None, by, coverage))
    except (OSError, ValueError, KeyError, EOFError):
        return None
