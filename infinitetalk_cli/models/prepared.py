"""What the transformer reads besides latents: text, image and sound, and how long their keys are kept.

Every block makes keys and values of these once and keeps them as long as the object lives: text and zero sound for
a job (`JobKeys` holds them), image and sound for a chunk (`VelocityModel` does). For the 14B model in bfloat16, keys
and values of one token are 2 x 40 blocks x 5120 channels x 2 bytes = 0.8 MB. So a text of 512 tokens takes 419 MB, an
image of 257 takes 211 MB, and the sound of 21 latent frames x 32 tokens 551 MB per person. One person with three
forwards (two texts, image, sound, zero sound) holds 2.15 GB, against 38 GB of weights. What that saves is 3.7 TFLOP of
the 1900 of a forward at 480p.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import groupby
from typing import NamedTuple

import torch
from torch import Tensor

from infinitetalk_cli.models.attention import LazyKeys
from infinitetalk_cli.models.block import BlockKeys


class Attended:
    """One thing that all blocks attend to, as the encoders give it; its keys are made when they are first needed.

    Then, within the transformer's forward, `embed` turns it into tokens and each block makes its own keys.
    """

    def __init__(self, embeddings: Tensor) -> None:
        self.embeddings = embeddings
        self._keys: tuple[LazyKeys, ...] = ()
        self._part = slice(None)

    def keys(
        self, embed: Callable[[Tensor], Tensor], num_blocks: int, part: slice = slice(None)
    ) -> tuple[LazyKeys, ...]:
        """Keys and values for each block; `embed` makes the tokens of one `part`, and of another they are made anew."""
        if self._keys and self._part == part:
            return self._keys
        tokens = embed(self.embeddings)
        keys = tuple(LazyKeys(tokens) for _ in range(num_blocks))
        if not torch.is_grad_enabled():
            self._keys, self._part = keys, part
        return keys


class PreparedConditions(NamedTuple):
    """Text, image and sound of one forward; forwards that agree in one of them share the object."""

    text: Attended | None
    image: Attended | None
    audio: Attended
    num_people: int


class Branch(NamedTuple):
    """`PreparedConditions` as the blocks read them: keys of every block."""

    text: tuple[LazyKeys, ...] | None
    image: tuple[LazyKeys, ...] | None
    audio: tuple[LazyKeys, ...]
    two_voices: bool

    def of_block(self, index: int) -> BlockKeys:
        """The part that block `index` reads."""
        return BlockKeys(
            text=None if self.text is None else self.text[index],
            image=None if self.image is None else self.image[index],
            audio=self.audio[index],
            two_voices=self.two_voices,
        )


def grouped(branches: Iterable[Branch], batched: bool) -> list[list[Branch]]:
    """Branches in their order, each alone, or `batched` together with its neighbours of equal shapes."""
    if not batched:
        return [[branch] for branch in branches]
    return [list(group) for _, group in groupby(branches, key=lambda branch: branch.two_voices)]
