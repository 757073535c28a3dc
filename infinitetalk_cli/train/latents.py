"""Clips as the transformer sees them: latents and audio features on disk, chunks drawn from them.

A latent shard is one safetensors file, made from one shard of pixels:
    latents (n, t_lat, c, h, w) float16: the clip encoded once; latent j > 0 covers frames 4 j - 3 .. 4 j
    singles (n, t_lat, c, h, w) float16: frame 4 j encoded alone, as references and first frames are
    audio   (n, v, t, channels) float16: features of the speech, v = clean and as if recorded somewhere
    mouth   (n, h, w) float32: bump of height 1 over the mouth
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor

from infinitetalk_cli.models.nano_audio import NanoAudioEncoder
from infinitetalk_cli.models.nano_codec import SPATIAL_STRIDE, TEMPORAL_STRIDE, NanoCodec
from infinitetalk_cli.progress import Progress
from infinitetalk_cli.train.codec_fit import mouth_map
from infinitetalk_cli.train.dataset import to_pixels
from infinitetalk_cli.train.reference import draw_reference
from infinitetalk_cli.train.settings import FlowSettings
from infinitetalk_cli.train.voices import recorded
from infinitetalk_cli.units import FrameSpan

AUDIO_WINDOW_FRAMES = 5


def encode_shard(shard: dict[str, Tensor], codec: NanoCodec, encoder: NanoAudioEncoder) -> dict[str, Tensor]:
    """The latent shard of a pixel shard."""
    rows: dict[str, list[Tensor]] = {"latents": [], "singles": [], "audio": [], "mouth": []}
    for index, frames in enumerate(shard["frames"]):
        with torch.inference_mode():
            pixels = to_pixels(frames[None])
            still = pixels[:, :, ::TEMPORAL_STRIDE].repeat_interleave(TEMPORAL_STRIDE, dim=2)
            rows["latents"].append(codec.encode(pixels)[0].movedim(1, 0).half())
            rows["singles"].append(codec.encode_groups(still)[0].movedim(1, 0).half())
        waveform = shard["waveform"][index].numpy()
        heard = (waveform, recorded(np.random.default_rng(int(shard["seed"][index])), waveform, noisy_share=0.5))
        features = [torch.cat(list(encoder.encode(sound, len(frames))))[:, 0].half() for sound in heard]
        rows["audio"].append(torch.stack(features))
        center = shard["mouth_px"][index].mean(0, keepdim=True)
        bump = mouth_map(center, shard["mouth_half"][index][None], *frames.shape[1:3])
        rows["mouth"].append(F.avg_pool2d(bump[None], SPATIAL_STRIDE)[0, 0])
    return {name: torch.stack(values).contiguous() for name, values in rows.items()}


def encode_world(
    paths: list[Path], folder: Path, codec: NanoCodec, encoder: NanoAudioEncoder, progress: Progress
) -> list[Path]:
    """Write the missing latent shard of every pixel shard into `folder`; their paths, in order."""
    folder.mkdir(parents=True, exist_ok=True)
    progress.start("encoding clips", len(paths))
    out = []
    for path in paths:
        target = folder / path.name
        if not target.exists():
            partial = target.with_suffix(".partial")
            save_file(encode_shard(load_file(path), codec, encoder), partial)
            partial.rename(target)
        out.append(target)
        progress.advance()
    return out


@dataclass(frozen=True)
class Batch:
    """Chunks to train on. b samples, t latent frames, f = 4 t - 3 frames.

    clean (b, c, t, h, w): what is to be generated. reference (b, c, 1, h, w). audio (b, f, 5, 1, channels).
    context_mask (b, 1, t, 1, 1): 1 where the latent frame is given. given (b, c, t, h, w): the given latents
    as the model sees them. mouth (b, 1, 1, h, w). noise like clean; sigma (b,).
    """

    clean: Tensor
    reference: Tensor
    audio: Tensor
    context_mask: Tensor
    given: Tensor
    mouth: Tensor
    noise: Tensor
    sigma: Tensor

    def to(self, device: torch.device) -> Batch:
        """The same batch on `device`."""
        return Batch(**{name: value.to(device) for name, value in vars(self).items()})


def audio_windows(features: Tensor, span: FrameSpan) -> Tensor:
    """Windows (f, 5, 1, channels) of `features` (n, channels): rows f-2 .. f+2, held at both ends."""
    half = AUDIO_WINDOW_FRAMES // 2
    center = torch.arange(span.start, span.stop)[:, None]
    index = (center + torch.arange(-half, half + 1)).clamp(0, len(features) - 1)
    return features[index][:, :, None]


def _around_mouth(rng: random.Random, row: dict[str, Tensor], side: int) -> dict[str, Tensor]:
    """One sample cut to `side` x `side` latents with the middle of the mouth in the inner half."""
    bump = row["mouth"][0, 0]
    corner = []
    for axis in (0, 1):
        profile = bump.sum(dim=1 - axis)
        middle = float((profile * torch.arange(len(profile))).sum() / profile.sum())
        start = round(middle - side / 2 + rng.uniform(-side / 4, side / 4))
        corner.append(min(max(start, 0), len(profile) - side))
    area = (..., slice(corner[0], corner[0] + side), slice(corner[1], corner[1] + side))
    cut = {name: row[name][area] for name in ("clean", "reference", "given", "mouth")}
    return row | cut


class ChunkSampler:
    """Draws batches of chunks; batch `step` depends on the seed and `step` only, so training can resume."""

    def __init__(self, paths: list[Path], settings: FlowSettings) -> None:
        self.settings = settings
        self.shards = [load_file(path) for path in paths]

    def batch(self, step: int, chunk_frames: int, batch_size: int, crop_latents: int | None = None) -> Batch:
        """Batch number `step`; its clips have one picture size, or are cut to squares around the mouth."""
        rng = random.Random(f"batch/{self.settings.seed}/{step}")
        generator = torch.Generator().manual_seed(rng.getrandbits(62))
        first = self.shards[rng.randrange(len(self.shards))]
        alike = self.shards
        if crop_latents is None:
            alike = [s for s in self.shards if s["latents"].shape[2:] == first["latents"].shape[2:]]
        rows = [self._sample(rng, rng.choice(alike), chunk_frames, generator) for _ in range(batch_size)]
        if crop_latents is not None:
            rows = [_around_mouth(rng, row, crop_latents) for row in rows]
        stacked = {name: torch.stack([row[name] for row in rows]) for name in rows[0]}
        shift = self.settings.timestep_shift
        level = torch.rand(batch_size, generator=generator)
        sigma = (shift * level / (1 + (shift - 1) * level)).clamp(min=1e-3)
        noise = torch.randn(stacked["clean"].shape, generator=generator)
        return Batch(**stacked, noise=noise, sigma=sigma)

    def _sample(
        self, rng: random.Random, shard: dict[str, Tensor], chunk_frames: int, generator: torch.Generator
    ) -> dict[str, Tensor]:
        index = rng.randrange(len(shard["latents"]))
        latents, singles = shard["latents"][index].float(), shard["singles"][index].float()
        num_latents = 1 + (chunk_frames - 1) // TEMPORAL_STRIDE
        start = rng.randrange(len(latents) - num_latents + 1)
        span = FrameSpan(start * TEMPORAL_STRIDE, start * TEMPORAL_STRIDE + chunk_frames)
        clean = torch.cat((singles[start : start + 1], latents[start + 1 : start + num_latents]))
        num_frames = 1 + (len(latents) - 1) * TEMPORAL_STRIDE
        given_frames, reference = self._conditions(rng, span, num_frames)
        reference_latent = singles[reference // TEMPORAL_STRIDE]
        if given_frames == 1:  # published: the first chunk begins with the reference itself
            clean[0] = reference_latent
        num_given = 1 + (given_frames - 1) // TEMPORAL_STRIDE
        mask = (torch.arange(num_latents) < num_given).float()
        given = clean.clone()
        if given_frames > 1:
            noise_level = rng.uniform(0, self.settings.largest_context_noise)
            given = given + noise_level * torch.randn(given.shape, generator=generator)
        features = shard["audio"][index, rng.randrange(shard["audio"].shape[1])].float()
        audio = audio_windows(features, span)
        if rng.random() < self.settings.audio_dropout:
            audio = torch.zeros_like(audio)
        return {
            "clean": clean.movedim(0, 1),
            "reference": reference_latent[:, None],
            "audio": audio,
            "context_mask": mask.view(1, -1, 1, 1),
            "given": given.movedim(0, 1),
            "mouth": shard["mouth"][index][None, None],
        }

    def _conditions(self, rng: random.Random, span: FrameSpan, num_frames: int) -> tuple[int, int]:
        """(frames that are given, reference frame): a first chunk, or one that continues."""
        first_chunk = rng.random() < self.settings.first_chunk_share
        if first_chunk and rng.random() < self.settings.own_first_frame_share:
            return 1, span.start
        reference = draw_reference(rng, self.settings.reference, span, num_frames, every=TEMPORAL_STRIDE)
        return (1 if first_chunk else self.settings.context_frames), reference
