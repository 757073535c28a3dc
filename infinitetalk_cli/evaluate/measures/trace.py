"""One pass over a video that leaves a few numbers per frame: what the measures without weights are computed from.

Legend: t frames. Arrays of t - 1 belong to the steps from each frame to the next, of t - 2 to pairs of steps.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from infinitetalk_cli.evaluate.measures.face import FaceTrack
from infinitetalk_cli.evaluate.measures.flow import dense_flow, warped, without_light
from infinitetalk_cli.evaluate.measures.regions import MOUTH, UPPER_FACE, part_of, person_masks
from infinitetalk_cli.models.camera_motion import camera_motions, working_size
from infinitetalk_cli.quality.colour import lab_of

VERSION = 1
"""Raise it when equal videos would leave other numbers."""

SMALL_PX, FACE_PX = 120, 96
_AT_ONCE = 8


@dataclass(frozen=True, eq=False)
class Trace:
    """Of a video of t frames; lengths are pixels of its full size unless said otherwise.

    color (t, 3), background_color (t, 3): mean Lab of the picture reduced to 120 px, and of its background.
    sharpness (t,): log of the variance of the Laplacian. residual (t - 1,): mean difference, in levels of 255, of a
    frame and the next one warped onto it, changes of light left out. flow_change (t - 2,): mean change of the flow.
    camera_shift, camera_factor (t - 1,) complex: a point p = x + iy of the background, from the picture's middle, is
    seen at shift + factor p in the next frame; camera_agree (t - 1,): how much of the background agrees, 0-1, 0 where
    nothing could be judged. body_speed (t - 1,): mean motion of the person, without the camera's. The rest is empty
    without a face: head_step (t - 1,) complex, motion of the upper face without the camera's; opening (t,): how dark
    the darkest tenth of the mouth is beside the face, 0-1, for an open mouth is dark inside.
    """

    color: np.ndarray
    background_color: np.ndarray
    sharpness: np.ndarray
    residual: np.ndarray
    flow_change: np.ndarray
    camera_shift: np.ndarray
    camera_factor: np.ndarray
    camera_agree: np.ndarray
    body_speed: np.ndarray
    head_step: np.ndarray
    opening: np.ndarray

    @property
    def num_frames(self) -> int:
        """t."""
        return len(self.color)

    @property
    def has_face(self) -> bool:
        """Whether a face was known."""
        return len(self.opening) > 0

    def save(self, path: Path) -> None:
        """Write all arrays to an .npz file."""
        np.savez_compressed(path, **{field.name: getattr(self, field.name) for field in fields(self)})

    @staticmethod
    def load(path: Path) -> Trace:
        """What `save` wrote; `OSError`, `ValueError` or `KeyError` if it is damaged."""
        with np.load(path, allow_pickle=False) as arrays:
            return Trace(**{field.name: arrays[field.name] for field in fields(Trace)})


@torch.no_grad()
def trace_video(frames: Iterable[np.ndarray], face: FaceTrack) -> Trace:
    """The trace of `frames` (h, w, 3) uint8; memory stays constant."""
    parts: dict[str, list[np.ndarray]] = {field.name: [] for field in fields(Trace)}
    place, last_flow = 0, None
    for batch in _batches(frames):
        # Every batch begins with the last frame of the one before, which has been seen.
        fresh = slice(0 if place == 0 else 1, None)
        first = place if place == 0 else place - 1
        boxes = None if face.boxes is None else face.boxes[first : first + len(batch)]
        _add_frames(parts, batch[fresh], boxes[fresh] if boxes is not None else None)
        if len(batch) > 1:
            last_flow = _add_steps(parts, batch, boxes, last_flow)
        place = first + len(batch)
    return Trace(**{name: _joined(name, values) for name, values in parts.items()})


def _batches(frames: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    waiting, is_first = list[np.ndarray](), True
    for frame in frames:
        waiting.append(frame)
        if len(waiting) > _AT_ONCE:
            yield np.stack(waiting)
            waiting = waiting[-1:]
            is_first = False
    if len(waiting) > 1 or (is_first and waiting):
        yield np.stack(waiting)


def _joined(name: str, values: list[np.ndarray]) -> np.ndarray:
    if values:
        return np.concatenate(values)
    return np.zeros((0,), complex if name in ("head_step", "camera_shift", "camera_factor") else float)


def _small(frames: np.ndarray) -> Tensor:
    """(n, 3, 120, 120) float levels of (n, h, w, 3), the mean of each cell."""
    pictures = torch.from_numpy(frames).permute(0, 3, 1, 2).float()
    return F.interpolate(pictures, (SMALL_PX, SMALL_PX), mode="area")


def _grey(pictures: Tensor) -> Tensor:
    """(n, h, w) of (n, 3, h, w); BT.601 weights."""
    return (pictures * torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)).sum(1)


def _person(boxes: np.ndarray | None, count: int, side: int, full: int) -> Tensor:
    scaled = None if boxes is None else boxes * side / full
    return torch.from_numpy(person_masks(scaled, count, (side, side)))


def _add_frames(parts: dict[str, list[np.ndarray]], frames: np.ndarray, boxes: np.ndarray | None) -> None:
    small = _small(frames)
    lab = lab_of(small.round().byte().permute(0, 2, 3, 1).numpy())
    background = ~_person(boxes, len(frames), SMALL_PX, frames.shape[1]).numpy()
    weight = background[..., None] / np.maximum(background.sum(axis=(1, 2)), 1)[:, None, None, None]
    parts["color"].append(lab.mean(axis=(1, 2)))
    parts["background_color"].append((lab * weight).sum(axis=(1, 2)))
    grey = _grey(torch.from_numpy(frames).permute(0, 3, 1, 2).float())
    if boxes is not None:
        parts["opening"].append(_opening(_cut(grey, torch.from_numpy(boxes).float())))
    laplacian = F.conv2d(grey[:, None], torch.tensor([[0.0, 1, 0], [1, -4, 1], [0, 1, 0]]).view(1, 1, 3, 3))
    parts["sharpness"].append(laplacian.flatten(1).var(dim=1).clamp(min=1e-3).log().double().numpy())


def _opening(faces: Tensor) -> np.ndarray:
    """(n,) of grey pictures of faces (n, 96, 96)."""
    mouth = faces[(slice(None), *part_of(MOUTH, FACE_PX))].flatten(1)
    skin = faces[(slice(None), *part_of(UPPER_FACE, FACE_PX))].flatten(1).median(dim=1).values
    return ((skin - mouth.quantile(0.1, dim=1)) / 255).double().numpy()


def _add_steps(
    parts: dict[str, list[np.ndarray]], frames: np.ndarray, boxes: np.ndarray | None, last_flow: Tensor | None
) -> Tensor:
    full, count = frames.shape[1], len(frames) - 1
    scale = full / SMALL_PX
    grey = _grey(torch.from_numpy(frames).permute(0, 3, 1, 2).float())
    small = F.interpolate(grey[:, None], (SMALL_PX, SMALL_PX), mode="area")
    small = without_light(small)
    flow = dense_flow(small[:-1, 0], small[1:, 0])
    back = warped(small[1:], flow)
    parts["residual"].append((small[:-1] - back).abs().mean(dim=(1, 2, 3)).double().numpy())
    flows = flow if last_flow is None else torch.cat((last_flow, flow))
    change = torch.hypot(*flows.diff(dim=0).unbind(1))
    parts["flow_change"].append(scale * change.mean(dim=(1, 2)).double().numpy())
    person = _person(None if boxes is None else boxes[:-1], count, SMALL_PX, full)
    shift, factor, agree = _camera(grey)
    parts["camera_shift"].append(shift.numpy())
    parts["camera_factor"].append(factor.numpy())
    parts["camera_agree"].append(agree.numpy())
    own = scale * torch.complex(flow[:, 0], flow[:, 1]) - _camera_at(shift, factor, SMALL_PX, scale)
    parts["body_speed"].append(((own.abs() * person).sum(dim=(1, 2)) / person.sum(dim=(1, 2)).clamp(min=1)).numpy())
    if boxes is not None:
        _add_face(parts, grey, boxes[:-1], shift, factor)
    return flow[-1:]


def _camera(grey: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """shift, factor (n,) complex128 and agreement (n,) of each step between grey pictures (n + 1, h, w).

    By the search that `dub` itself looks for moving cameras with, at the size that it looks at.
    """
    height, width = grey.shape[1:]
    columns, rows = working_size(width, height)
    small = F.interpolate(grey[:, None], (rows, columns), mode="bilinear", align_corners=False, antialias=True)[:, 0]
    motions = camera_motions(list(small.numpy()), list(pairwise(range(len(small)))))
    size_px = (height * width) ** 0.5
    values = torch.tensor([(m.right, m.down, m.zoom, m.turn, m.support) for m in motions], dtype=torch.float64)
    right, down, zoom, turn, support = values.unbind(1)
    return size_px * torch.complex(right, down), torch.complex(1 + zoom, turn), support


def _camera_at(shift: Tensor, factor: Tensor, side: int, scale: float) -> Tensor:
    """How far the camera moves what is at each pixel of a picture reduced to `side`, in full pixels (n, side, side)."""
    axis = (torch.arange(side, dtype=torch.float64) - (side - 1) / 2) * scale
    place = torch.complex(axis.expand(side, side), axis[:, None].expand(side, side))
    return (shift[:, None, None] + (factor[:, None, None] - 1) * place).to(torch.complex64)


def _add_face(
    parts: dict[str, list[np.ndarray]], grey: Tensor, boxes: np.ndarray, shift: Tensor, factor: Tensor
) -> None:
    """Both frames of a step are cut by the same box, so that a box that wobbles moves nothing."""
    sides = torch.from_numpy(boxes).float()
    flow = dense_flow(_cut(grey[:-1], sides), _cut(grey[1:], sides))
    rows, columns = part_of(UPPER_FACE, FACE_PX)
    head = flow[:, :, rows, columns].flatten(2).median(dim=2).values
    unit = (sides[:, 2:] - sides[:, :2]) / FACE_PX  # full pixels of one pixel of the cut, across and down
    middle = (grey.shape[2] - 1) / 2
    face = torch.complex(*((sides[:, :2] + sides[:, 2:]) / 2 - middle).double().unbind(1))
    moved = torch.complex(*(head * unit).double().unbind(1)) - (shift + (factor - 1) * face)
    parts["head_step"].append(moved.numpy())


def _cut(pictures: Tensor, boxes: Tensor) -> Tensor:
    """The boxes (n, 4) of grey pictures (n, h, w), each as (96, 96)."""
    height, width = pictures.shape[1:]
    share = (torch.arange(FACE_PX) + 0.5) / FACE_PX
    columns = boxes[:, :1] + share * (boxes[:, 2:3] - boxes[:, :1])
    rows = boxes[:, 1:2] + share * (boxes[:, 3:4] - boxes[:, 1:2])
    x = (2 * columns / width - 1)[:, None].expand(-1, FACE_PX, -1)
    y = (2 * rows / height - 1)[:, :, None].expand(-1, -1, FACE_PX)
    grid = torch.stack((x, y), dim=-1)
    return F.grid_sample(pictures[:, None], grid, mode="bilinear", padding_mode="border", align_corners=False)[:, 0]
