"""CSIM: whether a generated face is still the same person, as the cosine of ArcFace embeddings.

Two forms, since papers seldom say which one they mean: CSIM-pair compares each frame with the source frame of the same
index, CSIM-ref with the first source frame that shows a face. Frames without a face on either side are left out, and
the share of the others is reported.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

import numpy as np

from infinitetalk_cli.evaluate.metrics.arcface import EMBEDDING, Embedder, aligned
from infinitetalk_cli.evaluate.metrics.common import Missing, missing_extra
from infinitetalk_cli.evaluate.metrics.metric_weights import DETECTOR, RESNET_50, RESNET_100, missing_weights
from infinitetalk_cli.evaluate.metrics.scrfd import Detector

FacePack = Literal["buffalo_l", "antelopev2"]
_EMBEDDERS: dict[str, str] = {"buffalo_l": RESNET_50, "antelopev2": RESNET_100}


@dataclass(frozen=True)
class CsimMetric:
    """`preset`: whose networks; scores differ between them. `every`: look at every n-th frame only."""

    preset: FacePack = "buffalo_l"
    every: int = 1

    name: ClassVar[str] = "csim"
    presets: ClassVar[tuple[str, ...]] = get_args(FacePack)

    @property
    def needs(self) -> tuple[str, ...]:
        """See `Metric`."""
        return (DETECTOR, _EMBEDDERS[self.preset])

    def available(self, folders: Sequence[Path]) -> Missing | None:
        """See `Metric`."""
        return missing_weights("CSIM", self.needs, folders) or missing_extra("onnxruntime", "CSIM")

    def load(self, folders: Sequence[Path], device: str = "cpu") -> FaceEmbeddings:
        """See `Metric`."""
        from infinitetalk_cli.evaluate.metrics.loading import identity_of, load_onnx

        detector, embedder = (load_onnx(name, folders, device) for name in self.needs)
        identity = identity_of(self.name, self.preset, self.needs, every=self.every)
        return FaceEmbeddings(Detector(detector), Embedder(embedder), self.every, identity)


@dataclass(frozen=True, eq=False)
class FaceRows:
    """Of the frames that were looked at: embeddings `rows` (n, 512) float32 of length 1, zeros without a face, and
    whether a face was `found` (n,) bool."""

    rows: np.ndarray
    found: np.ndarray


@dataclass(frozen=True, eq=False)
class Likeness:
    """pair, ref: CSIM-pair and CSIM-ref, -1 to 1; coverage: share of the frames with a face on both sides.

    pair_of_frames, ref_of_frames (n,): per frame that was looked at, NaN without a face.
    """

    pair: float
    ref: float
    coverage: float
    num_frames: int
    pair_of_frames: np.ndarray
    ref_of_frames: np.ndarray

    def as_dict(self) -> dict[str, Any]:
        """Plain data; None for a frame without a face."""
        frames = {
            name: [None if np.isnan(value) else round(float(value), 5) for value in values]
            for name, values in (("pair_of_frames", self.pair_of_frames), ("ref_of_frames", self.ref_of_frames))
        }
        numbers = {"pair": self.pair, "ref": self.ref, "coverage": self.coverage, "num_frames": self.num_frames}
        return {**numbers, **frames}


@dataclass(frozen=True, eq=False)
class FaceEmbeddings:
    """The largest face of each frame as an embedding. `identity`: what decides it, as plain data."""

    detector: Detector
    embedder: Embedder
    every: int
    identity: dict[str, Any]

    def embeddings(self, frames: Iterable[np.ndarray]) -> FaceRows:
        """Of frames uint8 (h, w, 3), which are not kept."""
        rows, found = [], []
        for index, frame in enumerate(frames):
            if index % self.every:
                continue
            face = self.detector.largest(frame)
            found.append(face is not None)
            rows.append(
                np.zeros(EMBEDDING, np.float32)
                if face is None
                else self.embedder.embedding(aligned(frame, face.points))
            )
        return FaceRows(np.stack(rows) if rows else np.zeros((0, EMBEDDING), np.float32), np.array(found, bool))


def compare(made: FaceRows, source: FaceRows) -> Likeness | Missing:
    """How alike the faces of a result and its source are, frame by frame.

    Raises:
        ValueError: they differ in length.
    """
    if len(made.rows) != len(source.rows):
        raise ValueError(f"{len(made.rows)} frames to compare with {len(source.rows)}")
    both = made.found & source.found
    if not both.any():
        return Missing("no face", "no frame shows a face in the result and in the source")
    pair = np.where(both, (made.rows * source.rows).sum(axis=1), np.nan)
    first = source.rows[int(source.found.argmax())]
    ref = np.where(both, made.rows @ first, np.nan)
    return Likeness(
        pair=float(np.nanmean(pair)),
        ref=float(np.nanmean(ref)),
        coverage=float(both.mean()),
        num_frames=len(both),
        pair_of_frames=pair.astype(np.float64),
        ref_of_frames=ref.astype(np.float64),
    )
