"""S3FD (Zhang et al. 2017, arXiv 1708.05237): the face detector that the published SyncNet scorer finds faces with.

Under the names of the published weights. Boxes are (left, top, right, bottom). Legend: n pictures, p priors, h rows, w
columns.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

_MEAN_RGB = (123.0, 117.0, 104.0)
_STRIDES_PX = (4, 8, 16, 32, 64, 128)
_PRIOR_SIDES_PX = (16, 32, 64, 128, 256, 512)
_VARIANCES = (0.1, 0.2)
_CANDIDATE_SCORE, _CANDIDATE_OVERLAP, _MAX_CANDIDATES = 0.05, 0.3, 750
SCORE, OVERLAP = 0.9, 0.1
"""What counts as a face in the scorer's pipeline, and how much two faces may cover each other."""


class L2Norm(nn.Module):
    """Brings every place of a map to a learned length per channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))

    def forward(self, maps: Tensor) -> Tensor:
        """(n, c, h, w) to the same shape."""
        length = maps.square().sum(dim=1, keepdim=True).sqrt() + 1e-10
        return maps / length * self.weight[:, None, None]


def _vgg() -> nn.ModuleList:
    layers: list[nn.Module] = []
    channels = 3
    for width, repeats in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        for _ in range(repeats):
            layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
            channels = width
        layers.append(nn.MaxPool2d(2, stride=2, ceil_mode=width == 256))
    layers += [nn.Conv2d(512, 1024, 3, padding=6, dilation=6), nn.ReLU(), nn.Conv2d(1024, 1024, 1), nn.ReLU()]
    return nn.ModuleList(layers)


class S3fd(nn.Module):
    """Pictures to a box and a probability per prior."""

    _NORMED_LAYERS = (15, 22, 29)

    def __init__(self) -> None:
        super().__init__()
        self.vgg = _vgg()
        self.L2Norm3_3, self.L2Norm4_3, self.L2Norm5_3 = L2Norm(256), L2Norm(512), L2Norm(512)
        self.extras = nn.ModuleList(
            [
                nn.Conv2d(1024, 256, 1),
                nn.Conv2d(256, 512, 3, stride=2, padding=1),
                nn.Conv2d(512, 128, 1),
                nn.Conv2d(128, 256, 3, stride=2, padding=1),
            ]
        )
        widths = (256, 512, 512, 1024, 512, 256)
        self.loc = nn.ModuleList([nn.Conv2d(width, 4, 3, padding=1) for width in widths])
        self.conf = nn.ModuleList(
            [nn.Conv2d(width, 4 if place == 0 else 2, 3, padding=1) for place, width in enumerate(widths)]
        )

    def forward(self, levels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """RGB levels 0-255 (n, 3, h, w) to offsets (n, p, 4), face probabilities (n, p) and priors (p, 4)."""
        maps = self._maps(levels - levels.new_tensor(_MEAN_RGB)[:, None, None])
        offsets = [head(m).movedim(1, -1).flatten(1, 2) for head, m in zip(self.loc, maps, strict=True)]
        scores = [head(m).movedim(1, -1).flatten(1, 2) for head, m in zip(self.conf, maps, strict=True)]
        # The finest map has three kinds of background; the likeliest one speaks for them.
        scores[0] = torch.cat((scores[0][..., :3].amax(dim=-1, keepdim=True), scores[0][..., 3:]), dim=-1)
        sizes = [tuple(m.shape[2:]) for m in maps]
        where = priors(sizes, tuple(levels.shape[2:])).to(levels.device)
        return torch.cat(offsets, dim=1), torch.cat(scores, dim=1).softmax(dim=-1)[..., 1], where

    def _maps(self, maps: Tensor) -> list[Tensor]:
        normed = dict(zip(self._NORMED_LAYERS, (self.L2Norm3_3, self.L2Norm4_3, self.L2Norm5_3), strict=True))
        taps = []
        for place, layer in enumerate(self.vgg):
            maps = layer(maps)
            if place in normed:
                taps.append(normed[place](maps))
        taps.append(maps)
        for place, layer in enumerate(self.extras):
            maps = F.relu(layer(maps))
            if place % 2:
                taps.append(maps)
        return taps


def priors(map_sizes: list[tuple[int, ...]], picture_size: tuple[int, ...]) -> Tensor:
    """(p, 4) float32 squares on the places of all maps: centre x, y, width, height in shares of the picture."""
    height, width = picture_size
    found = []
    for (rows, columns), stride, side in zip(map_sizes, _STRIDES_PX, _PRIOR_SIDES_PX, strict=True):
        y, x = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
        centre = torch.stack(((x + 0.5) * stride / width, (y + 0.5) * stride / height), dim=-1).reshape(-1, 2)
        found.append(torch.cat((centre, torch.tensor([side / width, side / height]).expand_as(centre)), dim=1))
    return torch.cat(found)


def decoded(offsets: Tensor, where: Tensor) -> Tensor:
    """(p, 4) boxes in shares of the picture."""
    centre = where[:, :2] + offsets[:, :2] * _VARIANCES[0] * where[:, 2:]
    size = where[:, 2:] * torch.exp(offsets[:, 2:] * _VARIANCES[1])
    return torch.cat((centre - size / 2, centre + size / 2), dim=1)


def candidates(offsets: Tensor, probabilities: Tensor, where: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Boxes (k, 4) in shares of the picture and their scores (k,), best first, that hardly cover each other."""
    likely = probabilities > _CANDIDATE_SCORE
    boxes, scores = decoded(offsets, where)[likely].cpu().numpy(), probabilities[likely].cpu().numpy()
    best = np.argsort(-scores, kind="stable")[:_MAX_CANDIDATES]
    kept = best[suppressed(boxes[best], _CANDIDATE_OVERLAP)]
    return boxes[kept], scores[kept]


def faces_among(
    boxes: np.ndarray, scores: np.ndarray, size: tuple[int, int], score: float = SCORE, overlap: float = OVERLAP
) -> tuple[np.ndarray, np.ndarray]:
    """Of `candidates` those that are faces, in pixels of a picture of `size` (h, w), best first."""
    sure = scores > score
    boxes, scores = boxes[sure] * np.array([size[1], size[0]] * 2, boxes.dtype), scores[sure]
    kept = suppressed(boxes, overlap)
    return boxes[kept], scores[kept]


def suppressed(boxes: np.ndarray, overlap: float) -> np.ndarray:
    """Places of the boxes (k, 4), best first, that no better kept one covers by more than `overlap` (IoU)."""
    left, kept = np.arange(len(boxes)), []
    while len(left):
        kept.append(left[0])
        left = left[1:][overlaps(boxes[left[0]], boxes[left[1:]]) <= overlap]
    return np.array(kept, dtype=int)


def overlaps(box: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Intersection over union of `box` (4,) with `others` (k, 4)."""
    low, high = np.maximum(box[:2], others[:, :2]), np.minimum(box[2:], others[:, 2:])
    shared = np.clip(high - low, 0, None).prod(axis=1)
    return shared / ((box[2:] - box[:2]).prod() + (others[:, 2:] - others[:, :2]).prod(axis=1) - shared)


@torch.inference_mode()
def detect(network: S3fd, frames_u8: np.ndarray, scale: float = 1.0) -> list[tuple[np.ndarray, np.ndarray]]:
    """Boxes (k, 4) in pixels and scores (k,) of each of `frames_u8` (n, h, w, 3), looked at reduced by `scale`."""
    size = frames_u8.shape[1:3]
    levels = torch.from_numpy(np.ascontiguousarray(frames_u8)).to(next(network.parameters()).device)
    levels = levels.movedim(-1, 1).float()
    if scale != 1:
        small = tuple(max(1, round(side * scale)) for side in size)
        levels = F.interpolate(levels, small, mode="bilinear", align_corners=False).round()
    offsets, probabilities, where = network(levels)
    found = [candidates(o, p, where) for o, p in zip(offsets, probabilities, strict=True)]
    return [faces_among(boxes, scores, size) for boxes, scores in found]
