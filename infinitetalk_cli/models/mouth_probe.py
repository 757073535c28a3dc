"""The judge of lip figures: a small network that reads a mouth from one picture of it."""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn

CROP_PX = 48
"""Side of the square around the mouth that the probe sees."""


class MouthProbe(ModelMixin, ConfigMixin):
    """Openness and width of a mouth, from a square crop around it."""

    @register_to_config
    def __init__(self, channels: int = 48) -> None:
        super().__init__()
        widths = (3, channels // 2, channels, channels, 2 * channels)
        self.convs = nn.ModuleList(nn.Conv2d(before, after, 3, padding=1) for before, after in pairwise(widths))
        self.norms = nn.ModuleList(nn.GroupNorm(8, after) for after in widths[1:])
        self.head = nn.Sequential(nn.Linear(widths[-1] * 9, 64), nn.SiLU(), nn.Linear(64, 2))

    def forward(self, crops: Tensor) -> Tensor:
        """(n, 2) openness and width of crops (n, 3, CROP_PX, CROP_PX) in [-1, 1]."""
        x = crops
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = F.max_pool2d(F.silu(norm(conv(x))), 2)
        return self.head(x.flatten(1))


def mouth_crops(pixels: Tensor, mouth_px: Tensor) -> Tensor:
    """Crops (n, 3, CROP_PX, CROP_PX) of pictures (n, 3, h, w) around mouth_px (n, 2); edges are repeated."""
    half = CROP_PX // 2
    padded = F.pad(pixels, (half, half, half, half), mode="replicate")
    corners = mouth_px.round().long()
    height, width = pixels.shape[2:]
    return torch.stack(
        [
            picture[:, row : row + CROP_PX, column : column + CROP_PX]
            for picture, (column, row) in zip(
                padded,
                zip(corners[:, 0].clamp(0, width).tolist(), corners[:, 1].clamp(0, height).tolist(), strict=True),
                strict=True,
            )
        ]
    )


@torch.inference_mode()
def read_mouths(probe: MouthProbe, pixels: Tensor, mouth_px: Tensor) -> Tensor:
    """(t, 2) openness and width by frame of pixels (3, t, h, w); mouth_px (2,) or (t, 2): where to look."""
    frames = pixels.movedim(1, 0)
    return probe(mouth_crops(frames, mouth_px.expand(len(frames), 2)))
