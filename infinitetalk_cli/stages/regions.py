"""Boxes around people in the source -> regions of the generated picture, through the same geometry as the frames."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from infinitetalk_cli.config.people import SpeakerBox
from infinitetalk_cli.config.profile import GeometryProfile

if TYPE_CHECKING:
    from torch import Tensor

    from infinitetalk_cli.media.info import VideoInfo
    from infinitetalk_cli.models.conditioning import Box


def person_regions(
    video: VideoInfo,
    boxes: Sequence[SpeakerBox] | None,
    geometry: GeometryProfile,
    size: tuple[int, int],
    grid: tuple[int, int],
) -> Tensor:
    """Regions (3, *grid) of 0 and 1, float32: person 1, person 2, background.

    `size` (height, width) is that of the generated picture, `grid` that of its latents. Without boxes the people stand
    in the left and the right half.

    Raises:
        InputError: nothing of a person is left on the grid.
    """
    import torch.nn.functional as F

    from infinitetalk_cli.models.conditioning import latent_masks, person_masks
    from infinitetalk_cli.models.geometry import cover_and_crop_masks

    width, height = video.upright_size
    own = None if boxes is None else [_in_frame(box, video) for box in boxes]
    masks = person_masks((height, width), 2, own)
    if geometry.fit == "keep":
        fitted = F.interpolate(masks[None], size=size, mode="nearest")[0]
    else:
        fitted = cover_and_crop_masks(masks, size)
    return latent_masks(fitted, grid)


def check_regions(
    video: VideoInfo, boxes: Sequence[SpeakerBox] | None, geometry: GeometryProfile, size: tuple[int, int]
) -> None:
    """`InputError` naming the person of whom not one of the transformer's tokens, `multiple_px` wide, sees anything."""
    person_regions(video, boxes, geometry, size, tuple(side // geometry.multiple_px for side in size))


def _in_frame(box: SpeakerBox, video: VideoInfo) -> Box:
    """`box` in decoded frames: these are upright like the displayed picture, but their samples need not be square."""
    stretch = video.display_size[0] / video.upright_size[0]
    return box.y0, round(box.x0 / stretch), box.y1, max(round(box.x1 / stretch), round(box.x0 / stretch) + 1)
