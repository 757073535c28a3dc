"""Training of the probe on true rendered frames, blurred and noisy at random."""

from __future__ import annotations

import random

import torch
import torch.nn.functional as F
from torch import Tensor

from infinitetalk_cli.models.mouth_probe import MouthProbe, mouth_crops
from infinitetalk_cli.progress import Progress
from infinitetalk_cli.train.settings import ProbeSettings


def fit_probe(settings: ProbeSettings, clips: list[dict[str, Tensor]], progress: Progress) -> MouthProbe:
    """A probe trained on frames of `clips`; where it looks is off by a few pixels, as it will be in use."""
    torch.manual_seed(0)
    rng = random.Random(0)
    probe = MouthProbe().to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(probe.parameters(), lr=settings.learning_rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, settings.learning_rate, total_steps=settings.num_steps, pct_start=0.1
    )
    progress.start("training the probe", settings.num_steps)
    for step in range(settings.num_steps):
        crops, truth = _batch(rng, clips, settings.batch_size)
        with torch.autocast("cpu", torch.bfloat16):
            estimate = probe(crops)
        loss = (estimate.float() - truth).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        progress.advance()
        if step % 100 == 0:
            progress.detail(f"loss {loss.item():.4f}")
    return probe.eval()


def _batch(rng: random.Random, clips: list[dict[str, Tensor]], batch_size: int) -> tuple[Tensor, Tensor]:
    """Crops (b, 3, s, s) and truth (b, 2)."""
    crops, truths = [], []
    for _ in range(batch_size):
        clip = rng.choice(clips)
        frame = rng.randrange(len(clip["frames"]))
        picture = clip["frames"][frame].movedim(-1, 0)[None].float() / 127.5 - 1
        center = clip["mouth_px"][frame] + torch.tensor([rng.uniform(-4, 4), rng.uniform(-4, 4)])
        crop = mouth_crops(picture, center[None])
        if rng.random() < 0.6:
            small = rng.choice((16, 24, 32))
            crop = F.interpolate(F.interpolate(crop, size=small, mode="area"), size=crop.shape[2:], mode="bilinear")
        crop = crop * rng.uniform(0.85, 1.15) + rng.uniform(-0.1, 0.1) + rng.uniform(0, 0.1) * torch.randn_like(crop)
        crops.append(crop)
        truths.append(clip["mouth"][frame, :2])
    batch = torch.cat(crops).contiguous(memory_format=torch.channels_last)
    return batch, torch.stack(truths)
