"""The camera branch bound to a chunk: what it looks at, how strongly and in which steps it steers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from infinitetalk_cli.models.codec import VideoCodec
from infinitetalk_cli.models.uni3c import ControlRun, Uni3CControlNet

if TYPE_CHECKING:
    from infinitetalk_cli.models.parallel.shard import SequenceShard


class ControlVideo(NamedTuple):
    """What the branch looks at in one chunk, frame by frame: control frame k stands where the chunk's frame k does."""

    render: Tensor
    """(1, 3, f, h, w) in [-1, 1], at the size that is generated."""
    mask: Tensor | None = None
    """(1, 1, f, h, w): 1 where the render has a hole; with it comes `camera`. None: the branch's part for both is
    skipped."""
    camera: Tensor | None = None
    """(1, 6, f, h, w), see `camera_path.camera_embedding`."""


@dataclass(frozen=True)
class ControlSettings:
    """How strongly the branch steers (1: as it was trained), and in which part of a chunk's steps, shares of them."""

    strength: float = 1.0
    start: float = 0.0
    end: float = 1.0

    @property
    def is_on(self) -> bool:
        """Whether it steers in any step."""
        return self.strength > 0 and self.end > 0

    def steers(self, num_steps: int) -> list[bool]:
        """Whether it steers in each step: in step i of n if `start` <= i / n <= `end`; never where `end` is 0.

        The published wrapper's rule. So the first step counts whenever `start` is 0.
        """
        if not self.is_on:
            return [False] * num_steps
        return [self.start <= step / num_steps <= self.end for step in range(num_steps)]


def switches(steers: Sequence[bool]) -> frozenset[int]:
    """The steps in which the branch begins or ceases to steer: what the blocks added before them says nothing."""
    return frozenset(step for step in range(1, len(steers)) if steers[step] != steers[step - 1])


def control_input(latents: Tensor, mask_channels: Tensor, render_latents: Tensor) -> Tensor:
    """What the branch sees (b, 2 c + m, t, h, w): noisy latents, the condition's mask channels, the render."""
    return torch.cat((latents, mask_channels.to(latents.dtype), render_latents.to(latents.dtype)), dim=1)


@dataclass(frozen=True, eq=False)
class BoundControl:
    """The branch with everything that is constant within a chunk; called once in a step, for all branches of guidance.

    `mask_channels` (1, m, t, h, w): those of the main model's condition, which mark the latent frames that are given.
    """

    network: Uni3CControlNet
    mask_channels: Tensor
    render_latents: Tensor
    mask_tokens: Tensor | None
    strength: float

    def __call__(self, latents: Tensor, time: Tensor, shard: SequenceShard | None = None) -> ControlRun:
        """The run for noisy `latents` (1, c, t, h, w) and the main model's time embedding (1, d).

        With `shard`, for its stretch of the tokens, of which `mask_tokens` are.
        """
        seen = control_input(latents, self.mask_channels, self.render_latents)
        return self.network.begin(seen, time, self.mask_tokens, self.strength, shard)


def bind_control(
    network: Uni3CControlNet,
    video: ControlVideo,
    condition: Tensor,
    codec: VideoCodec,
    strength: float,
    device: torch.device,
) -> BoundControl:
    """The branch for a chunk whose main model is given `condition` (1, m + c, t, h, w).

    Raises:
        ValueError: the video is not as long or as large as the chunk, or comes with a mask this branch cannot read.
    """
    render_latents = codec.encode(video.render.to(device))
    if render_latents.shape[2:] != condition.shape[2:]:
        seen, made = (tuple(tensor.shape[2:]) for tensor in (render_latents, condition))
        raise ValueError(f"the camera's video has latents of {seen}, the chunk {made}")
    mask_tokens = None
    if video.mask is not None:
        if video.camera is None:
            raise ValueError("a render's mask comes with its camera")
        mask_tokens = network.embed_mask(video.mask.to(device), video.camera.to(device))
    num_mask = condition.shape[1] - render_latents.shape[1]
    return BoundControl(network, condition[:, :num_mask], render_latents, mask_tokens, strength)
