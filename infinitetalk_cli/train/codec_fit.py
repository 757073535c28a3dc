"""Fitting of the video codec: principal components that care about mouths, then a decoder that repairs."""

from __future__ import annotations

import random

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from infinitetalk_cli.models.nano_codec import PATCH_SIZE, SPATIAL_STRIDE, TEMPORAL_STRIDE, NanoCodec
from infinitetalk_cli.progress import Progress
from infinitetalk_cli.train.settings import CodecSettings
from infinitetalk_cli.world.dataset import to_pixels

_SINGLE_FRAME_SHARE = 0.3
"""Weight of groups of four copies (first frames, references) in the fit."""
_MOUTH_CROPS = 0.75
"""Share of the decoder's training crops that lie on the mouth."""
_SMALLEST_DEVIATION, _LARGEST_DEVIATION = 0.5, 1.8


def mouth_map(mouth_px: Tensor, mouth_half: Tensor, height: int, width: int) -> Tensor:
    """(n, height, width) bump of height 1 over each mouth; mouth_px (n, 2), mouth_half (n, 2), in pixels."""
    column = (torch.arange(width) - mouth_px[:, :1]) / mouth_half[:, :1]
    row = (torch.arange(height) - mouth_px[:, 1:]) / (1.3 * mouth_half[:, 1:])
    return torch.exp(-0.5 * (column[:, None, :] ** 2 + row[:, :, None] ** 2))


def _groups(clip: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Patches (n, PATCH_SIZE) of the groups of one clip and mouth bumps (n,) of the same patches."""
    pixels = to_pixels(clip["frames"][None])[:, :, 1:]
    strides = {"p": TEMPORAL_STRIDE, "q": SPATIAL_STRIDE, "r": SPATIAL_STRIDE}
    patches = rearrange(pixels, "b c (t p) (h q) (w r) -> (b t h w) (p q r c)", **strides)
    centers = clip["mouth_px"][1::TEMPORAL_STRIDE]
    bumps = mouth_map(centers, clip["mouth_half"].expand(len(centers), 2), *pixels.shape[3:])
    coarse = F.avg_pool2d(bumps[:, None], SPATIAL_STRIDE).flatten()
    return patches, coarse


def fit_encoder(codec: NanoCodec, clips: list[dict[str, Tensor]], mouth_weight: float, progress: Progress) -> None:
    """Set mean, basis and scale of `codec` from `clips`.

    Patches are weighted 1 + mouth_weight * bump. Latents are half whitened: their deviation grows with the
    fourth root of the eigenvalue, within limits, so that weak channels are heard and strong ones stay strong.
    """
    total, first = 0.0, torch.zeros(PATCH_SIZE, dtype=torch.float64)
    second = torch.zeros(PATCH_SIZE, PATCH_SIZE, dtype=torch.float64)
    progress.start("fitting the video encoder", len(clips))
    for clip in clips:
        patches, bumps = _groups(clip)
        weight = 1 + mouth_weight * bumps
        frames = patches.unflatten(1, (TEMPORAL_STRIDE, -1))
        copies = frames[:, :1].expand_as(frames).flatten(1)
        for rows, share in ((patches, 1.0), (copies, _SINGLE_FRAME_SHARE)):
            weighted = rows * (weight * share)[:, None]
            total += float(weight.sum()) * share
            first += weighted.sum(0).double()
            second += (weighted.mT @ rows).double()
        progress.advance()
    mean = first / total
    covariance = second / total - mean[:, None] * mean[None]
    values, vectors = torch.linalg.eigh(covariance)
    channels = codec.latent_channels
    values, vectors = values.flip(0)[:channels], vectors.flip(1)[:, :channels]
    vectors = vectors * torch.where(vectors.sum(0) < 0, -1.0, 1.0)  # a sign that does not depend on the library
    relative = (values / values.log().mean().exp()) ** 0.25
    deviation = relative.clamp(_SMALLEST_DEVIATION, _LARGEST_DEVIATION)
    codec.mean.copy_(mean)
    codec.basis.copy_(vectors)
    codec.scale.copy_(deviation / values.sqrt())


def fit_decoder(codec: NanoCodec, clips: list[dict[str, Tensor]], settings: CodecSettings, progress: Progress) -> None:
    """Train the correction network of `codec` on crops of two consecutive groups, most of them at the mouth."""
    torch.manual_seed(0)
    rng = random.Random(0)
    codec.train()
    optimizer = torch.optim.AdamW(codec.correction.parameters(), lr=settings.learning_rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, settings.learning_rate, total_steps=settings.num_steps, pct_start=0.05
    )
    progress.start("training the video decoder", settings.num_steps)
    for step in range(settings.num_steps):
        pixels, bumps = (crops.to(codec.device) for crops in _crops(rng, clips, settings))
        with torch.no_grad():
            latents = codec.encode_groups(pixels)
            deviation = latents.std(dim=(0, 2, 3, 4), keepdim=True)
            level = torch.rand(len(latents), 1, 1, 1, 1, device=latents.device) * settings.largest_noise
            level = level * (torch.rand_like(level) < settings.noisy_share)
            latents = latents + level * deviation * torch.randn_like(latents)
        decoded = codec.decode_groups(latents[:, :, 1:], latents[:, :, :-1], torch.bfloat16)
        loss = _decoder_loss(decoded, pixels[:, :, TEMPORAL_STRIDE:], bumps, settings)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(codec.correction.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        progress.advance()
        if step % 100 == 0:
            progress.detail(f"loss {loss.item():.4f}")
    codec.eval()


def _decoder_loss(decoded: Tensor, truth: Tensor, bumps: Tensor, settings: CodecSettings) -> Tensor:
    """Error of pixels and of frame-to-frame differences, heavier at the mouth and where two groups meet."""
    weight = (1 + settings.mouth_weight * bumps)[:, None, None]
    error = torch.sqrt((decoded - truth).square() + 1e-4)
    change = (decoded.diff(dim=2) - truth.diff(dim=2)).abs()
    at_boundary = torch.arange(1, truth.shape[2], device=truth.device) % TEMPORAL_STRIDE == 0
    change = change * torch.where(at_boundary, settings.boundary_weight, 1.0)[None, None, :, None, None]
    return ((error * weight).mean() + settings.difference_weight * (change * weight).mean()) / weight.mean()


def _crops(rng: random.Random, clips: list[dict[str, Tensor]], settings: CodecSettings) -> tuple[Tensor, Tensor]:
    """Pixels (b, 3, 12, s, s) of three consecutive groups and mouth bumps (b, s, s)."""
    size = settings.crop_latents * SPATIAL_STRIDE
    pixels, bumps = [], []
    for _ in range(settings.batch_size):
        clip = clips[rng.randrange(len(clips))]
        frames = clip["frames"]
        num_groups = (len(frames) - 1) // TEMPORAL_STRIDE
        first = 1 + TEMPORAL_STRIDE * rng.randrange(num_groups - 2)
        height, width = frames.shape[1:3]
        top, left = rng.randrange((height - size) // 8 + 1) * 8, rng.randrange((width - size) // 8 + 1) * 8
        center = clip["mouth_px"][first + 8]
        if rng.random() < _MOUTH_CROPS:
            left = _near(center[0].item() - size / 2 + rng.uniform(-12, 12), width - size)
            top = _near(center[1].item() - size / 2 + rng.uniform(-12, 12), height - size)
        crop = to_pixels(frames[first : first + 12, top : top + size, left : left + size])
        if rng.random() < 0.25:  # as at the start of a chunk: the group before, or both, are one frame repeated
            last = rng.choice((3, 7))
            crop[:, : last + 1] = crop[:, last : last + 1].clone()
        pixels.append(crop)
        corner = torch.tensor([left, top], dtype=torch.float32)
        bumps.append(mouth_map((center - corner)[None], clip["mouth_half"][None], size, size)[0])
    return torch.stack(pixels), torch.stack(bumps)


def _near(start: float, largest: int) -> int:
    """The multiple of 8 nearest to `start` within [0, largest]."""
    return min(max(round(start / 8) * 8, 0), largest // 8 * 8)


def new_codec(settings: CodecSettings, clips: list[dict[str, Tensor]], progress: Progress) -> NanoCodec:
    """A codec whose encoder is fitted to `clips` (one dict per clip, names as in a shard), the decoder untrained."""
    torch.manual_seed(0)
    codec = NanoCodec(settings.latent_channels, settings.hidden_channels, settings.num_blocks)
    fit_encoder(codec, clips, settings.mouth_weight_encoder, progress)
    return codec.eval()
