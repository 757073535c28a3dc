"""Inception v3 as the Frechet Inception Distance means it: the network of TensorFlow's graph of 2015-12-05.

Szegedy et al. 2015 (arXiv 1512.00567), 1008 outputs, under the names of its published PyTorch port. It differs from
torchvision's ImageNet network: average pools leave the border out of their count, the last block pools by maximum, and
there is neither an auxiliary head nor dropout. Legend: n pictures, c channels, h rows, w columns.
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

SIDE_PX = 299
NUM_FEATURES = 2048

ResizePreset = Literal["pytorch-fid", "tf1", "antialias", "clean"]
PRESETS: tuple[ResizePreset, ...] = get_args(ResizePreset)


class ConvBn(nn.Module):
    """Convolution without bias, batch norm, ReLU."""

    def __init__(
        self, c_in: int, c_out: int, kernel: int | tuple[int, int], stride: int = 1, padding: int | tuple[int, int] = 0
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(c_in, c_out, kernel, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(c_out, eps=1e-3)

    def forward(self, maps: Tensor) -> Tensor:
        """(n, c_in, h, w) to (n, c_out, h', w')."""
        return F.relu(self.bn(self.conv(maps)))


def _average(maps: Tensor) -> Tensor:
    return F.avg_pool2d(maps, 3, stride=1, padding=1, count_include_pad=False)


class BlockA(nn.Module):
    """35 x 35: 1x1, 5x5, two 3x3, pool."""

    def __init__(self, c_in: int, c_pool: int) -> None:
        super().__init__()
        self.branch1x1 = ConvBn(c_in, 64, 1)
        self.branch5x5_1 = ConvBn(c_in, 48, 1)
        self.branch5x5_2 = ConvBn(48, 64, 5, padding=2)
        self.branch3x3dbl_1 = ConvBn(c_in, 64, 1)
        self.branch3x3dbl_2 = ConvBn(64, 96, 3, padding=1)
        self.branch3x3dbl_3 = ConvBn(96, 96, 3, padding=1)
        self.branch_pool = ConvBn(c_in, c_pool, 1)

    def forward(self, maps: Tensor) -> Tensor:
        """Branches side by side."""
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(maps)))
        branches = (self.branch1x1(maps), self.branch5x5_2(self.branch5x5_1(maps)), double)
        return torch.cat((*branches, self.branch_pool(_average(maps))), dim=1)


class BlockB(nn.Module):
    """35 x 35 to 17 x 17."""

    def __init__(self, c_in: int) -> None:
        super().__init__()
        self.branch3x3 = ConvBn(c_in, 384, 3, stride=2)
        self.branch3x3dbl_1 = ConvBn(c_in, 64, 1)
        self.branch3x3dbl_2 = ConvBn(64, 96, 3, padding=1)
        self.branch3x3dbl_3 = ConvBn(96, 96, 3, stride=2)

    def forward(self, maps: Tensor) -> Tensor:
        """Branches side by side."""
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(maps)))
        return torch.cat((self.branch3x3(maps), double, F.max_pool2d(maps, 3, stride=2)), dim=1)


class BlockC(nn.Module):
    """17 x 17: 1x1, a 7x7 in two steps, two of them, pool."""

    def __init__(self, c_in: int, c_mid: int) -> None:
        super().__init__()
        across, down = {"kernel": (1, 7), "padding": (0, 3)}, {"kernel": (7, 1), "padding": (3, 0)}
        self.branch1x1 = ConvBn(c_in, 192, 1)
        self.branch7x7_1 = ConvBn(c_in, c_mid, 1)
        self.branch7x7_2 = ConvBn(c_mid, c_mid, **across)
        self.branch7x7_3 = ConvBn(c_mid, 192, **down)
        self.branch7x7dbl_1 = ConvBn(c_in, c_mid, 1)
        self.branch7x7dbl_2 = ConvBn(c_mid, c_mid, **down)
        self.branch7x7dbl_3 = ConvBn(c_mid, c_mid, **across)
        self.branch7x7dbl_4 = ConvBn(c_mid, c_mid, **down)
        self.branch7x7dbl_5 = ConvBn(c_mid, 192, **across)
        self.branch_pool = ConvBn(c_in, 192, 1)

    def forward(self, maps: Tensor) -> Tensor:
        """Branches side by side."""
        single = self.branch7x7_3(self.branch7x7_2(self.branch7x7_1(maps)))
        double = self.branch7x7dbl_3(self.branch7x7dbl_2(self.branch7x7dbl_1(maps)))
        double = self.branch7x7dbl_5(self.branch7x7dbl_4(double))
        return torch.cat((self.branch1x1(maps), single, double, self.branch_pool(_average(maps))), dim=1)


class BlockD(nn.Module):
    """17 x 17 to 8 x 8."""

    def __init__(self, c_in: int) -> None:
        super().__init__()
        self.branch3x3_1 = ConvBn(c_in, 192, 1)
        self.branch3x3_2 = ConvBn(192, 320, 3, stride=2)
        self.branch7x7x3_1 = ConvBn(c_in, 192, 1)
        self.branch7x7x3_2 = ConvBn(192, 192, (1, 7), padding=(0, 3))
        self.branch7x7x3_3 = ConvBn(192, 192, (7, 1), padding=(3, 0))
        self.branch7x7x3_4 = ConvBn(192, 192, 3, stride=2)

    def forward(self, maps: Tensor) -> Tensor:
        """Branches side by side."""
        large = self.branch7x7x3_3(self.branch7x7x3_2(self.branch7x7x3_1(maps)))
        branches = (self.branch3x3_2(self.branch3x3_1(maps)), self.branch7x7x3_4(large))
        return torch.cat((*branches, F.max_pool2d(maps, 3, stride=2)), dim=1)


class BlockE(nn.Module):
    """8 x 8: 1x1, a 3x3 that forks, two of them, pool; the last of these blocks pools by maximum."""

    def __init__(self, c_in: int, pools_by_maximum: bool) -> None:
        super().__init__()
        across, down = {"kernel": (1, 3), "padding": (0, 1)}, {"kernel": (3, 1), "padding": (1, 0)}
        self.pools_by_maximum = pools_by_maximum
        self.branch1x1 = ConvBn(c_in, 320, 1)
        self.branch3x3_1 = ConvBn(c_in, 384, 1)
        self.branch3x3_2a = ConvBn(384, 384, **across)
        self.branch3x3_2b = ConvBn(384, 384, **down)
        self.branch3x3dbl_1 = ConvBn(c_in, 448, 1)
        self.branch3x3dbl_2 = ConvBn(448, 384, 3, padding=1)
        self.branch3x3dbl_3a = ConvBn(384, 384, **across)
        self.branch3x3dbl_3b = ConvBn(384, 384, **down)
        self.branch_pool = ConvBn(c_in, 192, 1)

    def forward(self, maps: Tensor) -> Tensor:
        """Branches side by side."""
        single = self.branch3x3_1(maps)
        double = self.branch3x3dbl_2(self.branch3x3dbl_1(maps))
        forks = (
            self.branch3x3_2a(single), self.branch3x3_2b(single),
            self.branch3x3dbl_3a(double), self.branch3x3dbl_3b(double),
        )  # fmt: skip
        pooled = F.max_pool2d(maps, 3, stride=1, padding=1) if self.pools_by_maximum else _average(maps)
        return torch.cat((self.branch1x1(maps), *forks, self.branch_pool(pooled)), dim=1)


class FidInception(nn.Module):
    """(n, 3, 299, 299) in [-1, 1] to 2048 features each, the values after the last average pool."""

    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = ConvBn(3, 32, 3, stride=2)
        self.Conv2d_2a_3x3 = ConvBn(32, 32, 3)
        self.Conv2d_2b_3x3 = ConvBn(32, 64, 3, padding=1)
        self.Conv2d_3b_1x1 = ConvBn(64, 80, 1)
        self.Conv2d_4a_3x3 = ConvBn(80, 192, 3)
        self.Mixed_5b = BlockA(192, 32)
        self.Mixed_5c = BlockA(256, 64)
        self.Mixed_5d = BlockA(288, 64)
        self.Mixed_6a = BlockB(288)
        self.Mixed_6b = BlockC(768, 128)
        self.Mixed_6c = BlockC(768, 160)
        self.Mixed_6d = BlockC(768, 160)
        self.Mixed_6e = BlockC(768, 192)
        self.Mixed_7a = BlockD(768)
        self.Mixed_7b = BlockE(1280, pools_by_maximum=False)
        self.Mixed_7c = BlockE(2048, pools_by_maximum=True)
        self.fc = nn.Linear(2048, 1008)

    def stages(self, pictures: Tensor) -> dict[int, Tensor]:
        """Features (n, size) by their size, each averaged over the picture: 64, 192, 768 and 2048."""
        first = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(pictures)))
        first = F.max_pool2d(first, 3, stride=2)
        second = F.max_pool2d(self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(first)), 3, stride=2)
        third = self.Mixed_6a(self.Mixed_5d(self.Mixed_5c(self.Mixed_5b(second))))
        third = self.Mixed_6e(self.Mixed_6d(self.Mixed_6c(self.Mixed_6b(third))))
        last = self.Mixed_7c(self.Mixed_7b(self.Mixed_7a(third)))
        return {maps.shape[1]: maps.mean(dim=(2, 3)) for maps in (first, second, third, last)}

    def forward(self, pictures: Tensor) -> Tensor:
        """(n, 2048)."""
        return self.stages(pictures)[NUM_FEATURES]


def prepared(frames_u8: np.ndarray, preset: ResizePreset) -> Tensor:
    """What the network is fed for frames (n, h, w, 3): float32 (n, 3, 299, 299), about -1 to 1."""
    if preset == "clean":
        resized = torch.from_numpy(np.stack([_bicubic(frame) for frame in frames_u8])).movedim(-1, 1)
        return (resized - 128) / 128
    levels = torch.from_numpy(np.ascontiguousarray(frames_u8)).movedim(-1, 1).float()
    if preset == "pytorch-fid":
        return 2 * F.interpolate(levels / 255, (SIDE_PX, SIDE_PX), mode="bilinear", align_corners=False) - 1
    if preset == "antialias":
        resized = F.interpolate(levels, (SIDE_PX, SIDE_PX), mode="bilinear", align_corners=False, antialias=True)
    else:
        resized = resized_as_tensorflow_1(levels)
    return (resized - 128) / 128


def resized_as_tensorflow_1(maps: Tensor, side: int = SIDE_PX) -> Tensor:
    """(n, c, h, w) to (n, c, side, side), bilinear: output pixel i lies at i * size / side, without half a pixel."""
    for axis in (2, 3):
        size = maps.shape[axis]
        place = torch.arange(side, dtype=torch.float32, device=maps.device) * (size / side)
        low = place.floor().long()
        share = (place - low).view(*(-1 if axis == dim else 1 for dim in range(maps.dim())))
        here = maps.index_select(axis, low)
        maps = torch.lerp(here, maps.index_select(axis, (low + 1).clamp(max=size - 1)), share)
    return maps


def _bicubic(frame_u8: np.ndarray) -> np.ndarray:
    """(h, w, 3) to float32 (299, 299, 3) in 0-255: Pillow's bicubic on floating-point channels."""
    size = (SIDE_PX, SIDE_PX)
    channels = [Image.fromarray(channel.astype(np.float32)) for channel in np.moveaxis(frame_u8, -1, 0)]
    resized = [np.asarray(channel.resize(size, Image.Resampling.BICUBIC)) for channel in channels]
    return np.stack(resized, axis=-1).clip(0, 255)
