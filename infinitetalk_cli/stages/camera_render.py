"""A user's render as the camera branch reads it, chunk by chunk."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from infinitetalk_cli.config.camera_render import CameraPath, read_camera_path
from infinitetalk_cli.errors import InputError
from infinitetalk_cli.stages.stage import Inputs

if TYPE_CHECKING:
    from torch import Tensor

    from infinitetalk_cli.media.reader import FrameReader
    from infinitetalk_cli.models.camera_control import ControlVideo

ARTEFACTS = ("camera_render", "camera_mask", "camera_path")
HOLE_LEVEL = 127.5
"""From this level on a pixel of the mask is a hole."""


@dataclass(frozen=True)
class CameraRender:
    """Video, mask and camera by model frame, read at the model's `size` (height, width)."""

    video: FrameReader
    mask: FrameReader
    path: CameraPath
    size: tuple[int, int]

    def window(self, frames: Sequence[int], first: Tensor) -> ControlVideo:
        """What the branch looks at for model frames `frames` of a chunk.

        Its first frame is `first` (1, 3, 1, h, w), the source's own there, without a hole: in training every render
        begins with the picture it was made from. The path is taken relative to that frame.
        """
        import torch

        from infinitetalk_cli.models.camera_control import ControlVideo
        from infinitetalk_cli.models.camera_path import camera_embedding
        from infinitetalk_cli.models.geometry import pixels_from_frames, resize_frame

        pictures = np.stack([resize_frame(picture, self.size) for picture in self.video.read(frames)])
        render = torch.cat((first, pixels_from_frames(pictures)[:, :, 1:]), dim=2)
        holes = torch.from_numpy(np.stack([_holes(picture, self.size) for picture in self.mask.read(frames)]))
        holes[0] = 0
        height, width = self.size
        intrinsic = torch.tensor(self.path.scaled_intrinsic(width, height))
        w2c = torch.tensor([self.path.w2c[frame] for frame in frames])
        return ControlVideo(render, holes[None, None], camera_embedding(intrinsic, w2c, self.size))


def _holes(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(h, w) float32 at `size`, nearest: 1 where the grey level of `picture` (h, w, 3) says that there is a hole."""
    levels = picture.mean(axis=2)
    rows, columns = (np.arange(want) * have // want for want, have in zip(size, levels.shape, strict=True))
    return (levels[np.ix_(rows, columns)] >= HOLE_LEVEL).astype(np.float32)


@contextmanager
def open_camera_render(inputs: Inputs, size: tuple[int, int], num_frames: int) -> Iterator[CameraRender | None]:
    """The render among `inputs`, None if there is none; it has to last for `num_frames` model frames.

    Raises:
        InputError: a video cannot be read, or the three are not equally long, or not long enough.
    """
    if ARTEFACTS[0] not in inputs:
        yield None
        return
    path = read_camera_path(inputs["camera_path"])
    with _opened(inputs["camera_render"]) as (video, num_video), _opened(inputs["camera_mask"]) as (mask, num_mask):
        counts = {
            inputs["camera_render"]: num_video,
            inputs["camera_mask"]: num_mask,
            inputs["camera_path"]: len(path.w2c),
        }
        check_lengths(counts, num_frames)
        yield CameraRender(video, mask, path, size)


@contextmanager
def _opened(path: Path) -> Iterator[tuple[FrameReader, int]]:
    from infinitetalk_cli.media.probe import probe
    from infinitetalk_cli.media.reader import FrameReader
    from infinitetalk_cli.media.scan import scan_timeline

    info = probe(path)
    timeline = scan_timeline(path, info)
    with FrameReader(path, info, timeline) as reader:
        yield reader, timeline.num_frames


def check_lengths(counts: dict[Path, int], num_frames: int) -> None:
    """Raise `InputError` unless all files of a render have equally many frames, and enough of them."""
    lengths = set(counts.values())
    if len(lengths) > 1:
        each = ", ".join(f"{path.name} {count}" for path, count in counts.items())
        raise InputError(f"{next(iter(counts)).parent}: not equally many frames ({each}); make one of each per frame")
    (length,) = lengths
    if length < num_frames:
        raise InputError(
            f"{next(iter(counts)).parent}: {length} frames, and the result has {num_frames}; render as many, 25 per "
            "second from --start on, or dub less with --end"
        )
