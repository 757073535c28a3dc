"""The source's frames as the model sees them: which one stands where, and at which size."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
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


_KEPT_STILLS = 2
"""A chunk's reference, and the one of the film whose colours are matched."""


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


@dataclass
class _Kept:
    """What was read, at the model's size: of the last walk the frames of the group it began in, and single frames."""

    group: int = 0
    frames: dict[int, np.ndarray] = field(default_factory=dict)
    stills: OrderedDict[int, np.ndarray] = field(default_factory=OrderedDict)


@dataclass(frozen=True)
class SourcePixels:
    """Source frames by model frame, at the model's size (height, width).

    Chunks overlap and are drawn again, so the frames of the last walk are kept: going back costs all the frames since
    the last place where decoding can begin, and in some films that is the first frame.
    """

    reader: FrameReader
    timeline: SourceTimeline
    size: tuple[int, int]
    geometry: GeometryProfile
    start_s: Fraction
    _kept: _Kept = field(default_factory=_Kept, init=False, repr=False, compare=False)

    def pixels(self, indices: Iterable[int]) -> Tensor:
        """(1, 3, t, h, w) in [-1, 1] of source frames `indices`, in rising order.

        They are those of `FrameReader.read`, to the bit, whatever was asked for before.
        """
        from infinitetalk_cli.models.geometry import pixels_from_frames

        return pixels_from_frames(np.stack(self.frames(indices)))

    def frames(self, indices: Iterable[int]) -> list[np.ndarray]:
        """The same as pictures, each (h, w, 3) uint8."""
        wanted = tuple(indices)
        return [self._still(wanted[0])] if len(wanted) == 1 else self._walked(wanted)

    def index_at(self, model_frame: int) -> int:
        """The source frame on screen at a frame of the model's timeline."""
        return self.timeline.frame_index_at(self.start_s + frame_time(model_frame))

    def _still(self, index: int) -> np.ndarray:
        """One frame, for itself."""
        kept, stills = self._kept, self._kept.stills
        if index in stills:
            stills.move_to_end(index)
        elif index in kept.frames and self.reader.group_of(index) == kept.group:
            stills[index] = kept.frames[index]
        else:
            (stills[index],) = self._read([index])
        while len(stills) > _KEPT_STILLS:
            stills.popitem(last=False)
        return stills[index]

    def _walked(self, indices: Sequence[int]) -> list[np.ndarray]:
        """Rising frames; those that the last walk read too are taken from it if that makes no difference."""
        kept, group_of = self._kept, self.reader.group_of
        group = group_of(indices[0])
        frames = kept.frames if kept.group == group else {}
        missing = [index for index in dict.fromkeys(indices) if index not in frames]
        if missing and group_of(missing[0]) != group:  # from where it begins, damage before it would not be met
            frames, missing = {}, list(dict.fromkeys(indices))
        frames = frames | dict(zip(missing, self._read(missing), strict=True))
        kept.group = group
        kept.frames = {index: frames[index] for index in dict.fromkeys(indices) if group_of(index) == group}
        return [frames[index] for index in indices]

    def _read(self, indices: Sequence[int]) -> list[np.ndarray]:
        return [fitted(frame, self.size, self.geometry) for frame in self.reader.read(indices)]
