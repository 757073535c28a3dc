"""What a chunk is generated with and from: a model with all that belongs to it, and one chunk's conditions."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from infinitetalk_cli.models.camera_control import ControlVideo
from infinitetalk_cli.models.codec import VideoCodec
from infinitetalk_cli.models.prepared import Attended
from infinitetalk_cli.models.transformer import InfiniteTalkTransformer3DModel
from infinitetalk_cli.models.uni3c import Uni3CControlNet


class ImageEncoder(Protocol):
    """Describes the reference frame for the image branch."""

    def __call__(self, pixels: Tensor) -> Tensor:
        """Tokens (b, n, d) of pixels (b, 3, 1, h, w) in [-1, 1]."""


class JobKeys:
    """What stays the same from chunk to chunk, so that its keys are made once: texts, and the sound of silence."""

    def __init__(self) -> None:
        self._texts: dict[bool, Attended] = {}
        self._silence: tuple[tuple[int, ...], Attended] | None = None

    def text(self, model: DubbingModel, with_prompt: bool) -> Attended:
        """The prompt, or the negative one."""
        if with_prompt not in self._texts:
            text = model.text if with_prompt else model.negative_text
            self._texts[with_prompt] = Attended(text.to(model.device))
        return self._texts[with_prompt]

    def silence(self, audio: Tensor) -> Attended:
        """One person's all-zero windows, of the shape of `audio` (p, f, ...).

        Only those of the last shape are kept: where last chunks are fitted a film has many, and each takes memory.
        """
        shape = tuple(audio[:1].shape)
        if self._silence is None or self._silence[0] != shape:
            self._silence = (shape, Attended(torch.zeros_like(audio[:1])))
        return self._silence[1]


@dataclass(frozen=True, eq=False)
class DubbingModel:
    """A transformer with what it was trained with; None where it has no such branch.

    Its weights must not change any more. `dataclasses.replace` with another text begins with fresh keys.
    """

    transformer: InfiniteTalkTransformer3DModel
    codec: VideoCodec
    image_encoder: ImageEncoder | None = None
    text: Tensor | None = None
    """Embedding of the prompt, (1, n, d)."""
    negative_text: Tensor | None = None
    control: Uni3CControlNet | None = None
    """The camera branch, where a job steers by it."""
    keys: JobKeys = field(default_factory=JobKeys, init=False, repr=False)

    @property
    def has_text(self) -> bool:
        """Whether the prompt is read at all."""
        return self.transformer.config.text_dim is not None

    @property
    def device(self) -> torch.device:
        """Where latents live, also while weights wait elsewhere."""
        return self.transformer.device


@dataclass(frozen=True, eq=False)
class ChunkConditions:
    """What one chunk is made from. Pixels are (1, 3, t, h, w) in [-1, 1], at the size that is generated."""

    reference: Tensor
    """The reference frame, t = 1."""
    audio: Tensor
    """Windows (p, f, window, layers, channels) of the people who speak."""
    noise: Tensor
    """(1, latent channels, t_lat, h_lat, w_lat), standard normal."""
    context: Tensor | None = None
    """Last frames of the chunk before, as they were kept; None in the first chunk of a scene."""
    person_masks: Tensor | None = None
    """(3, h_lat, w_lat), see `conditioning.latent_masks`; read only for two people."""
    ending: Tensor | None = None
    """Source frames up to the chunk's last one, t = 1 + whole groups, whose last group the chunk must end with; None
    leaves its end free."""
    source: Tensor | None = None
    """The f source frames under this chunk; needed when `sdedit_t0` is below 1."""
    color_reference: Tensor | None = None
    """Frame whose colours are matched, t = 1; None: the reference frame."""
    control: ControlVideo | None = None
    """What the camera branch looks at, frame for frame beside this chunk; None: it does not steer it."""
