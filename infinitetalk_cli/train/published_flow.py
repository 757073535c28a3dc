"""Conditional flow matching of the large transformer: batches of encoded clips, and the error of its velocity.

The layout is that of the published model: the reference followed by grey in the condition channels, described once
more by the image encoder; known latent frames clean in the noisy stream; velocity = noise - clean.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from infinitetalk_cli.models.conditioning import published_condition
from infinitetalk_cli.models.sampling import NUM_TIMESTEPS, add_noise, euler_step, make_sigmas
from infinitetalk_cli.train.chunks import Given, as_given, audio_windows, draw_sigma
from infinitetalk_cli.train.lora_settings import AdapterFlowSettings
from infinitetalk_cli.train.published_clips import ROW_MARGIN
from infinitetalk_cli.train.settings import Phase
from infinitetalk_cli.units import FrameSpan

TEMPORAL_STRIDE = 4
_GRID_STEPS = 8
_OWN_FIRST_FRAME = 0
"""Place of the chunk's own first frame among the references of a clip."""


@dataclass(frozen=True)
class PublishedBatch:
    """Chunks to train on; shapes as in `chunks.Batch`, and what the large model reads besides.

    padded (b, c, t, h, w): reference and grey; text (b, n, d), image (b, n, d); audio (b, f, 5, layers, channels).
    """

    clean: Tensor
    padded: Tensor
    text: Tensor
    image: Tensor
    audio: Tensor
    given_mask: Tensor
    given: Tensor
    noise: Tensor
    sigma: Tensor

    @property
    def reference(self) -> Tensor:
        """(b, c, 1, h, w)."""
        return self.padded[:, :, :1]

    def to(self, device: torch.device) -> PublishedBatch:
        """The same batch on `device`."""
        return PublishedBatch(**{name: value.to(device, non_blocking=True) for name, value in vars(self).items()})


class ClipSampler:
    """Draws batches from clip files (see `published_clips.py`), read when they are needed.

    `texts`: embedding of each file's caption, and of the empty prompt under "".
    """

    def __init__(
        self, paths: Sequence[Path], captions: Mapping[Path, str], texts: Mapping[str, Tensor],
        settings: AdapterFlowSettings,
    ) -> None:  # fmt: skip
        self.settings, self._captions, self._texts = settings, captions, texts
        self._sizes = {path: _latent_shape(path) for path in paths}

    def batch(self, step: int, phase: Phase, part: int = 0) -> PublishedBatch:
        """Samples `part * batch_size` and following of step `step`; all of a step have one picture size."""
        rng = random.Random(f"batch/{self.settings.seed}/{step}")
        size = self._sizes[rng.choice(list(self._sizes))]
        alike = [path for path, other in self._sizes.items() if other == size]
        rows = []
        for number in range(part * phase.batch_size, (part + 1) * phase.batch_size):
            own = random.Random(f"sample/{self.settings.seed}/{step}/{number}")
            rows.append(self._sample(own, own.choice(alike), phase.chunk_frames))
        longest = max(len(row["text"]) for row in rows)
        for row in rows:  # the model takes missing tokens for zeros anyway
            row["text"] = F.pad(row["text"], (0, 0, 0, longest - len(row["text"])))
        return PublishedBatch(**{name: torch.stack([row[name] for row in rows]) for name in rows[0]})

    def _sample(self, rng: random.Random, path: Path, num_frames: int) -> dict[str, Tensor]:
        clip, settings = load_file(path), self.settings
        is_first = rng.random() < settings.first_chunk_share
        is_own = is_first and rng.random() < settings.own_first_frame_share
        place = _OWN_FIRST_FRAME if is_own else rng.randrange(1, len(clip["padded"]))
        held = Given(1 if is_first else settings.context_frames, place)
        padded, clean = clip["padded"][place].float().movedim(0, 1), clip["latents"].float().movedim(0, 1).clone()
        if is_first:  # published: the first chunk begins with the reference itself
            clean[:, 0] = padded[:, 0]
        rows = clip["audio"].float()
        audio = audio_windows(rows, FrameSpan(ROW_MARGIN, ROW_MARGIN + num_frames))
        if rng.random() < settings.audio_dropout:
            audio = torch.zeros_like(audio)
        text = "" if rng.random() < settings.text_dropout else self._captions[path]
        generator = torch.Generator().manual_seed(rng.getrandbits(62))
        return {
            "clean": clean,
            "padded": padded,
            "text": self._texts[text],
            "image": clip["image"][place].float(),
            "audio": audio,
            "given_mask": held.mask(clean.shape[1]).view(1, -1, 1, 1),
            "given": as_given(clean, held, settings, rng, generator),
            "noise": torch.randn(clean.shape, generator=generator),
            "sigma": torch.tensor(draw_sigma(rng, settings.timestep_shift)),
        }


def velocity(model: nn.Module, batch: PublishedBatch, noisy: Tensor, sigma: Tensor) -> Tensor:
    """The model's velocity (b, c, t, h, w), float32, at `noisy` with noise levels `sigma` (b,)."""
    output = model(
        torch.where(batch.given_mask.bool(), batch.given, noisy),
        sigma * NUM_TIMESTEPS,
        text=batch.text,
        image=batch.image,
        condition=published_condition(batch.padded, TEMPORAL_STRIDE),
        audio=batch.audio,
        return_dict=False,
    )[0]
    return output.float()


class PublishedTask:
    """What the trainer needs to know of the large model."""

    def __init__(self, sampler: ClipSampler, settings: AdapterFlowSettings, held_out: PublishedBatch | None) -> None:
        self.sampler, self.settings, self.held_out = sampler, settings, held_out

    def batch(self, step: int, phase: Phase, part: int) -> PublishedBatch:
        """Part `part` of step `step`."""
        return self.sampler.batch(step, phase, part)

    def weight(self, batch: PublishedBatch) -> Tensor:
        """Number of latents that count."""
        return (1 - batch.given_mask).expand_as(batch.clean).sum()

    def error(self, model: nn.Module, batch: PublishedBatch) -> Tensor:
        """Sum of squared velocity errors (paper, Equation 4) over the latent frames that are not given."""
        noisy = add_noise(batch.clean, batch.noise, batch.sigma.view(-1, 1, 1, 1, 1))
        wanted = batch.noise - batch.clean
        error = (velocity(model, batch, noisy, batch.sigma) - wanted).square()
        return (error * (1 - batch.given_mask)).sum()

    @torch.no_grad()
    def figures(self, model: nn.Module, device: torch.device) -> dict[str, float]:
        """The loss on clips that are never trained on, with their sound and with each other's."""
        if self.held_out is None:
            return {}
        batch = self.held_out.to(device)
        loss = float(self.error(model, batch) / self.weight(batch))
        if len(batch.clean) < 2:
            return {"held_out_loss": loss}
        swapped = replace(batch, audio=batch.audio.roll(1, dims=0))
        other = float(self.error(model, swapped) / self.weight(batch))
        return {"held_out_loss": loss, "audio_gain": 1 - loss / other}

    @torch.no_grad()
    def samples(self, model: nn.Module, device: torch.device, count: int) -> tuple[PublishedBatch, Tensor] | None:
        """`count` held-out chunks and the latents that the model makes instead of theirs, without guidance."""
        if self.held_out is None:
            return None
        batch = PublishedBatch(**{name: value[:count] for name, value in vars(self.held_out.to(device)).items()})
        latents = batch.noise
        for sigma, next_sigma in pairwise(make_sigmas(_GRID_STEPS, self.settings.timestep_shift, None).tolist()):
            level = latents.new_full((len(latents),), sigma)
            latents = euler_step(latents, velocity(model, batch, latents, level), sigma, next_sigma)
        return batch, torch.where(batch.given_mask.bool(), batch.given, latents)


def _latent_shape(path: Path) -> tuple[int, ...]:
    with safe_open(path, framework="pt") as file:
        return tuple(file.get_slice("latents").get_shape())
