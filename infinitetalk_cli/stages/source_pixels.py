"""The source's frames as the model sees them: which one stands where, and at which size."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from infinitetalk_cli.config.profile import GeometryProfile
from infinitetalk_cli.units import frame_time

if TYPE_CHECKING:
    from torch import Tensor

    from infinitetalk_cli.media.probe import VideoInfo
    from infinitetalk_cli.media.reader import FrameReader
    from infinitetalk_cli.media.timeline import SourceTimeline


def model_size(video: VideoInfo, geometry: GeometryProfile) -> tuple[int, int]:
    """(height, width) at which a video is generated."""
    from infinitetalk_cli.models import geometry as sizes

    if geometry.fit == "keep":
        width, height = video.display_size
        return sizes.fit_size((height, width), geometry.area_px, geometry.multiple_px)
    width, height = video.upright_size
    buckets = sizes.BUCKETS_480 if geometry.fit == "bucket-480" else sizes.BUCKETS_720
    return buckets[sizes.choose_bucket((height, width), buckets)]


def fitted(frame: np.ndarray, size: tuple[int, int], geometry: GeometryProfile) -> np.ndarray:
    """`frame` (h, w, 3) uint8 at the model's size (height, width)."""
    from infinitetalk_cli.models.geometry import cover_and_crop, resize_frame

    return resize_frame(frame, size) if geometry.fit == "keep" else cover_and_crop(frame, size)


@dataclass(frozen=True)
class SourcePixels:
    """Source frames by model frame, at the model's size (height, width)."""

    reader: FrameReader
    timeline: SourceTimeline
    size: tuple[int, int]
    geometry: GeometryProfile
    start_s: Fraction

    def pixels(self, indices: Iterable[int]) -> Tensor:
        """(1, 3, t, h, w) in [-1, 1] of source frames `indices`."""
        from infinitetalk_cli.models.geometry import pixels_from_frames

        return pixels_from_frames(np.stack(self.frames(indices)))

    def frames(self, indices: Iterable[int]) -> list[np.ndarray]:
        """Each (h, w, 3) uint8, of source frames `indices`."""
        return [fitted(frame, self.size, self.geometry) for frame in self.reader.read(indices)]

    def index_at(self, model_frame: int) -> int:
        """The source frame on screen at a frame of the model's timeline."""
        return self.timeline.frame_index_at(self.start_s + frame_time(model_frame))
