"""FVD: how far the clips of one set of videos lie from those of another, by the 400 logits of I3D (Kinetics-400).

`features` gives a row per clip; `frechet.frechet_distance` of these is FVD (Unterthiner et al. 2018, arXiv 1812.01717),
`frechet.kernel_distance` the less biased number beside it. The network is StyleGAN-V's TorchScript port.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from infinitetalk_cli.evaluate.metrics import face_box
from infinitetalk_cli.evaluate.metrics.common import Missing
from infinitetalk_cli.evaluate.metrics.loading import identity_of, load_script
from infinitetalk_cli.evaluate.metrics.metric_weights import I3D, missing_weights

ClipPreset = Literal["styleganv", "dense", "latentsync"]
CLIP_FRAMES = 16
_LATENTSYNC_START = 20
_SIDE_PX = 224

FindBox = Callable[[np.ndarray], np.ndarray | None]
"""The face box (left, top, right, bottom) of a frame, in pixels."""


@dataclass(frozen=True)
class FvdMetric:
    """`preset`: which 16 frames, and how they are fed.

    styleganv: one clip per video, at a place that depends on `seed` and the video's name alone, whole frames.
    dense: every clip, one after another. latentsync: frames 20 to 35, the face's box, levels on the scale 0..1.
    """

    preset: ClipPreset = "styleganv"
    seed: int = 0

    name: ClassVar[str] = "fvd"
    presets: ClassVar[tuple[str, ...]] = get_args(ClipPreset)

    @property
    def needs(self) -> tuple[str, ...]:
        """See `Metric`."""
        return (I3D,)

    def available(self, folders: Sequence[Path]) -> Missing | None:
        """See `Metric`."""
        missing = missing_weights("FVD", self.needs, folders)
        return missing or (face_box.available("FVD, preset latentsync,") if self.preset == "latentsync" else None)

    def load(self, folders: Sequence[Path], device: str = "cpu") -> ClipFeatures:
        """See `Metric`."""
        script = load_script(I3D, folders, device)
        details: dict[str, Any] = {"seed": self.seed} if self.preset == "styleganv" else {}
        find_box = None
        if self.preset == "latentsync":
            find_box = face_box.FaceBoxes().box
            details = {"face_box": face_box.NAME}
        identity = identity_of(self.name, self.preset, self.needs, **details)
        return ClipFeatures(script, self.preset, self.seed, device, find_box, identity)


@dataclass(frozen=True, eq=False)
class ClipFeatures:
    """I3D's logits of clips. `find_box` is needed for the preset latentsync only."""

    script: Callable[..., Tensor]
    preset: ClipPreset
    seed: int
    device: str
    find_box: FindBox | None
    identity: dict[str, Any]

    @torch.inference_mode()
    def features(self, frames: Iterable[np.ndarray], num_frames: int, video_id: str) -> np.ndarray | Missing:
        """(clips, 400) float32 of a video of `num_frames` frames uint8 (h, w, 3); one clip is held at a time.

        A source and its result share `video_id`, so their clips lie at the same place.
        """
        starts = clip_starts(self.preset, num_frames, self.seed, video_id)
        if not starts:
            return Missing("too short", f"{video_id}: {num_frames} frames hold no clip for the preset {self.preset}")
        rows = []
        for clip in clips(frames, starts):
            fed = self._fed(clip)
            if fed is None:
                return Missing(
                    "no face", f"{video_id}: no face in a frame of the clip, the preset latentsync needs one"
                )
            # In the module: rescale maps 0..255 to -1..1, resize goes to 224 px.
            whole = self.preset != "latentsync"
            logits = self.script(fed.to(self.device), rescale=whole, resize=whole, return_features=True)
            rows.append(logits.float().cpu().numpy().reshape(1, -1))
        return np.concatenate(rows)

    def _fed(self, clip: np.ndarray) -> Tensor | None:
        """(1, 3, 16, h, w)."""
        if self.preset != "latentsync":
            return torch.from_numpy(clip).movedim(-1, 0)[None].float()
        assert self.find_box is not None, "the preset latentsync comes with a detector"
        faces = []
        for frame in clip:
            box = self.find_box(frame)
            if box is None:
                return None
            faces.append(_face(frame, box))
        return torch.stack(faces, dim=1)[None] / 255


def clip_starts(preset: ClipPreset, num_frames: int, seed: int, video_id: str) -> list[int]:
    """First frames of the clips, in order; empty where there is none."""
    if preset == "latentsync":
        return [_LATENTSYNC_START] if num_frames >= _LATENTSYNC_START + CLIP_FRAMES else []
    if preset == "dense":
        return list(range(0, num_frames - CLIP_FRAMES + 1, CLIP_FRAMES))
    if num_frames < CLIP_FRAMES:
        return []
    # Depends on no library's random generator, so that anyone can draw the same clip.
    drawn = int.from_bytes(hashlib.sha256(f"{seed}:{video_id}".encode()).digest()[:8], "big")
    return [drawn % (num_frames - CLIP_FRAMES + 1)]


def clips(frames: Iterable[np.ndarray], starts: Sequence[int]) -> Iterator[np.ndarray]:
    """(16, h, w, 3) from each of `starts`, which do not overlap.

    Raises:
        ValueError: the frames end inside a clip.
    """
    following = iter(starts)
    start, held = next(following), []
    for index, frame in enumerate(frames):
        if index >= start:
            held.append(frame)
        if len(held) == CLIP_FRAMES:
            yield np.stack(held)
            held = []
            start = next(following, -1)
            if start < 0:
                return
    raise ValueError(f"the frames end inside the clip that starts at frame {start}")


def _face(frame: np.ndarray, box: np.ndarray) -> Tensor:
    """(3, 224, 224) levels of the box, by area."""
    height, width = frame.shape[:2]
    left, right = np.clip(box[[0, 2]].round().astype(int), 0, width)
    top, bottom = np.clip(box[[1, 3]].round().astype(int), 0, height)
    cut = torch.from_numpy(np.ascontiguousarray(frame[top:bottom, left:right])).movedim(-1, 0)[None].float()
    return F.interpolate(cut, (_SIDE_PX, _SIDE_PX), mode="area")[0]
