"""What a chunk is given besides noise: condition channels, audio windows, regions of the people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from infinitetalk_cli.errors import InputError

MARGIN = 0.05
"""Part of a person's half that is left out on every side when no box is given."""

Box = tuple[float, float, float, float]
"""(row_min, column_min, row_max, column_max) in pixels of the source."""


class KnownLatents(NamedTuple):
    """Latent frames of a chunk that are given: clean at every step and in the result."""

    start: Tensor | None = None
    """(1, c, k, h, w) at its beginning: context, or the reference; None where it begins freely."""
    end: Tensor | None = None
    """(1, c, 1, h, w), the last one."""

    def put_into(self, latents: Tensor) -> None:
        """Overwrite what is known of `latents` (1, c, t, h, w)."""
        if self.start is not None:
            latents[:, :, : self.start.shape[2]] = self.start
        if self.end is not None:
            latents[:, :, -1:] = self.end


def published_condition(padded_latents: Tensor, temporal_stride: int, pins_end: bool = False) -> Tensor:
    """Condition (b, temporal_stride + c, t, h, w) of the published model.

    A mask that marks latent frame 0, then `padded_latents` (b, c, t, h, w): the reference frame followed by
    grey frames, encoded together. It is the same for the first and for later chunks. The mask has a channel for every
    frame that a latent frame joins: with `pins_end`, where the last of the encoded frames is the chunk's own last one
    instead of grey, that frame's channel marks it, as in Wan's first-last-frame model.
    """
    batch, _, num_frames, height, width = padded_latents.shape
    mask = padded_latents.new_zeros(batch, temporal_stride, num_frames, height, width)
    mask[:, :, 0] = 1
    if pins_end:
        mask[:, -1, -1] = 1
    return torch.cat((mask, padded_latents), dim=1)


def repeat_condition(
    reference_latents: Tensor, num_clean: int, num_latent_frames: int, pins_end: bool = False
) -> Tensor:
    """Condition (b, 1 + c, t, h, w) of the layout "repeat".

    A mask that marks the latent frames given without noise (the first `num_clean`, with `pins_end` also the last), then
    `reference_latents` (b, c, 1, h, w) at every latent frame.
    """
    repeated = reference_latents.expand(-1, -1, num_latent_frames, -1, -1)
    mask = torch.zeros_like(repeated[:, :1])
    mask[:, :, :num_clean] = 1
    if pins_end:
        mask[:, :, -1] = 1
    return torch.cat((mask, repeated), dim=1)


def audio_windows(embeddings: Sequence[np.ndarray], rows: Sequence[np.ndarray]) -> Tensor:
    """Windows (p, f, window, layers, channels), float32, of each person's `embeddings` (n, layers, channels).

    `rows` (f, window) per person come from `chunking.window_rows`; only the rows needed are read.
    """
    gathered = []
    for embedding, indices in zip(embeddings, rows, strict=True):
        first = int(indices.min())
        span = np.asarray(embedding[first : int(indices.max()) + 1], dtype=np.float32)
        gathered.append(torch.from_numpy(span[indices - first]))
    return torch.stack(gathered)


def person_masks(size: tuple[int, int], num_people: int, boxes: Sequence[Box] | None = None) -> Tensor:
    """Regions (3, h, w) of 0 and 1, uint8, in a picture of `size` (h, w): person 1, person 2, background.

    One person: everything is everybody's. Two people without boxes: left half, right half, less a margin.
    """
    height, width = size
    if num_people == 1:
        return torch.ones(3, height, width, dtype=torch.uint8)
    if num_people != 2:
        raise InputError(f"{num_people} people; the model dubs one or two at a time")
    regions = boxes if boxes is not None else half_boxes(size)
    masks = torch.zeros(3, height, width, dtype=torch.uint8)
    for person, box in enumerate(regions):
        row_min, column_min, row_max, column_max = (int(side) for side in box)
        masks[person, row_min:row_max, column_min:column_max] = 1
        if not masks[person].any():
            raise InputError(f"person {person + 1}: box {tuple(box)} covers nothing of the {width}x{height} picture")
    masks[2] = 1 - masks[:2].amax(dim=0)
    return masks


def half_boxes(size: tuple[int, int]) -> tuple[Box, Box]:
    """Boxes of a person on the left and one on the right of a picture of `size` (h, w)."""
    height, width = size
    half = width // 2
    left = (int(MARGIN * height), int(MARGIN * half), int((1 - MARGIN) * height), int((1 - MARGIN) * half))
    return left, (left[0], left[1] + half, left[2], left[3] + half)


def latent_masks(masks: Tensor, latent_size: tuple[int, int]) -> Tensor:
    """`masks` (3, h, w) at `latent_size`, nearest: (3, h_lat, w_lat) float32 of 0 and 1."""
    small = (F.interpolate(masks[None].float(), size=latent_size, mode="nearest")[0] > 0).float()
    for person, region in enumerate(small[:2]):
        if not region.any():
            raise InputError(f"person {person + 1}: too small to be seen at the model's size; enlarge the box")
    return small
