"""Training samples: chunks drawn from encoded clips, and what each of them is given.

Sample k of step n depends on the seed, n and k only. So a training can resume, and a step is the same one however it
is divided among accumulated parts and processes.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from infinitetalk_cli.models.nano_codec import TEMPORAL_STRIDE
from infinitetalk_cli.train.reference import chunk_starts, draw_reference
from infinitetalk_cli.train.settings import ChunkSettings, FlowSettings, Phase
from infinitetalk_cli.units import FrameSpan

AUDIO_WINDOW_FRAMES = 5


@dataclass(frozen=True)
class Batch:
    """Chunks to train on. b samples, t latent frames, f = 4 t - 3 frames.

    clean (b, c, t, h, w): what is to be generated. reference (b, c, 1, h, w). audio (b, f, 5, 1, channels).
    given_mask (b, 1, t, 1, 1): 1 where the latent frame is given. given (b, c, t, h, w): the given latents
    as the model sees them. mouth (b, 1, 1, h, w). noise like clean; sigma (b,).
    """

    clean: Tensor
    reference: Tensor
    audio: Tensor
    given_mask: Tensor
    given: Tensor
    mouth: Tensor
    noise: Tensor
    sigma: Tensor

    def to(self, device: torch.device) -> Batch:
        """The same batch on `device`."""
        return type(self)(**{name: value.to(device, non_blocking=True) for name, value in vars(self).items()})


@dataclass(frozen=True)
class Given:
    """What a chunk is given of its frames: its first `num_first`, and its last group; and the frame it looks at."""

    num_first: int
    reference: int
    last: bool = False

    def mask(self, num_latents: int) -> Tensor:
        """(t,) float32: 1 at the latent frames that are given."""
        index = torch.arange(num_latents)
        is_given = index < 1 + (self.num_first - 1) // TEMPORAL_STRIDE
        if self.last:
            is_given |= index == num_latents - 1
        return is_given.float()


def draw_given(rng: random.Random, settings: ChunkSettings, chunk: FrameSpan, num_frames: int) -> Given:
    """The conditions of one sample, as dubbing will meet them.

    A chunk that continues has context frames; the first of a scene has its own first frame, which is often also
    its reference. The baselines have their own first frame, fl2v the last one too.
    """
    kind = rng.random()
    if kind < settings.fl2v_share:
        return Given(1, chunk.start, last=True)
    if kind < settings.fl2v_share + settings.i2v_share:
        return Given(1, chunk.start)
    is_first = rng.random() < settings.first_chunk_share
    if is_first and rng.random() < settings.own_first_frame_share:
        return Given(1, chunk.start)
    reference = draw_reference(rng, settings.reference, chunk, num_frames)
    return Given(1 if is_first else settings.context_frames, reference)


def draw_sigma(rng: random.Random, shift: float) -> float:
    """A noise level in (0, 1], moved towards 1 by `shift` as in sampling."""
    level = rng.random()
    return max(shift * level / (1 + (shift - 1) * level), 1e-3)


def audio_windows(features: Tensor, span: FrameSpan) -> Tensor:
    """Windows (f, 5, ...) of `features` (n, ...): rows i-2 .. i+2 of every frame i, held at both ends."""
    half = AUDIO_WINDOW_FRAMES // 2
    center = torch.arange(span.start, span.stop)[:, None]
    index = (center + torch.arange(-half, half + 1)).clamp(0, len(features) - 1)
    return features[index]


class ChunkSampler:
    """Draws batches from latent shards (see `latents.py`), which it keeps in memory.

    `kind`: what a batch becomes; with `renders` its samples have those of the shards, the clips' twins.
    """

    def __init__(
        self, paths: list[Path], settings: FlowSettings, kind: type[Batch] = Batch, renders: bool = False
    ) -> None:
        self.settings, self._kind, self._renders = settings, kind, renders
        self.shards = [load_file(path) for path in paths]
        self._clips = [len(shard["latents"]) for shard in self.shards]

    def batch(self, step: int, phase: Phase, part: int = 0) -> Batch:
        """Samples `part * batch_size` and following of step `step`.

        All samples of a step have one picture size, or are cut to squares around the mouth.
        """
        rng = random.Random(f"batch/{self.settings.seed}/{step}")
        shards, weights = self.shards, self._clips
        if phase.crop_latents is None:
            first = rng.choices(shards, weights)[0]
            alike = [shard["latents"].shape[3:] == first["latents"].shape[3:] for shard in shards]
            weights = [count * same for count, same in zip(weights, alike, strict=True)]
        rows = []
        for number in range(part * phase.batch_size, (part + 1) * phase.batch_size):
            own = random.Random(f"sample/{self.settings.seed}/{step}/{number}")
            rows.append(self._sample(own, own.choices(shards, weights)[0], phase))
        return self._kind(**{name: torch.stack([row[name] for row in rows]) for name in rows[0]})

    def _sample(self, rng: random.Random, shard: dict[str, Tensor], phase: Phase) -> dict[str, Tensor]:
        index = rng.randrange(len(shard["latents"]))
        latents, singles = shard["latents"][index], shard["singles"][index]
        num_frames = 1 + (len(latents) - 1) * TEMPORAL_STRIDE
        start_frame = rng.choice(chunk_starts(self.settings.reference, phase.chunk_frames, num_frames))
        span = FrameSpan(start_frame, start_frame + phase.chunk_frames)
        start, num_latents = start_frame // TEMPORAL_STRIDE, 1 + (phase.chunk_frames - 1) // TEMPORAL_STRIDE
        held = draw_given(rng, self.settings, span, num_frames)
        reference = singles[held.reference // TEMPORAL_STRIDE].float()
        clean = torch.cat((singles[start : start + 1], latents[start + 1 : start + num_latents])).float()
        if held.num_first == 1:  # published: the first chunk begins with the reference itself
            clean[0] = reference
        row = {
            "clean": clean.movedim(0, 1),
            "reference": reference[:, None],
            "mouth": shard["mouth"][index][None, None],
        }
        if self._renders:
            groups, first = shard["render"][index], shard["render_singles"][index]
            render = torch.cat((first[start : start + 1], groups[start + 1 : start + num_latents]))
            row["render"] = render.float().movedim(0, 1)
        if phase.crop_latents is not None:
            row = _around_mouth(rng, row, phase.crop_latents)
        generator = torch.Generator().manual_seed(rng.getrandbits(62))
        features = shard["audio"][index, rng.randrange(shard["audio"].shape[1])].float()
        audio = audio_windows(features, span)[:, :, None]
        if rng.random() < self.settings.audio_dropout:
            audio = torch.zeros_like(audio)
        return {
            **row,
            "audio": audio,
            "given_mask": held.mask(num_latents).view(1, -1, 1, 1),
            "given": as_given(row["clean"], held, self.settings, rng, generator),
            "noise": torch.randn(row["clean"].shape, generator=generator),
            "sigma": torch.tensor(draw_sigma(rng, self.settings.timestep_shift)),
        }


def as_given(
    clean: Tensor, held: Given, settings: ChunkSettings, rng: random.Random, generator: torch.Generator
) -> Tensor:
    """The given latents as the model sees them: context is made a little noisy, as generated frames are."""
    if held.num_first == 1:
        return clean.clone()
    level = rng.uniform(0, settings.largest_context_noise)
    return clean + level * torch.randn(clean.shape, generator=generator)


def _around_mouth(rng: random.Random, row: dict[str, Tensor], side: int) -> dict[str, Tensor]:
    """One sample cut to `side` x `side` latents with the middle of the mouth in the inner half.

    Where the mouth is not known, anywhere.
    """
    bump = row["mouth"][0, 0]
    corner = []
    for axis in (0, 1):
        profile = bump.sum(dim=1 - axis)
        room = len(profile) - side
        if profile.any():
            middle = float((profile * torch.arange(len(profile))).sum() / profile.sum())
            start = round(middle - side / 2 + rng.uniform(-side / 4, side / 4))
        else:
            start = rng.randint(0, max(room, 0))
        corner.append(min(max(start, 0), room))
    area = (..., slice(corner[0], corner[0] + side), slice(corner[1], corner[1] + side))
    return {name: values[area] for name, values in row.items()}
