"""Rendered clips on disk: shards of equal picture size, written once and resumable.

A shard is one safetensors file:
    frames     (n, t, h, w, 3) uint8
    mouth      (n, t, 4) float32: openness, width, teeth, tongue
    mouth_px   (n, t, 2) float32: middle of the mouth, x and y in pixels
    mouth_half (n, 2) float32: half width and half height of the largest mouth, in pixels
    waveform   (n, t * 640) float32: 16 kHz speech at the loudness of inference
    seed       (n,) int64
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from infinitetalk_cli.progress import Progress
from infinitetalk_cli.train.settings import PictureSize, WorldSettings
from infinitetalk_cli.train.speech import random_speech
from infinitetalk_cli.train.voices import normalised
from infinitetalk_cli.train.world import Clip, make_clip
from infinitetalk_cli.units import MODEL_RATE, SPEECH_RATE_HZ

SAMPLES_PER_FRAME = int(SPEECH_RATE_HZ / MODEL_RATE)
HELD_OUT_FIRST_SEED = 10_000_000
"""Seeds from here on are for tests: characters, voices and words that training never meets."""


def spoken_clip(
    seed: int,
    num_frames: int,
    height: int,
    width: int,
    head_motion: float,
    camera_motion: float = 0.0,
    held_out: bool = False,
) -> tuple[Clip, np.ndarray]:
    """Clip `seed` and its speech (num_frames * 640,) float32, loudness-normalised."""
    speech = random_speech(seed, num_frames / MODEL_RATE, held_out)
    clip = make_clip(seed, speech.mouth[:num_frames], height, width, head_motion, camera_motion)
    return clip, normalised(speech.waveform)[: num_frames * SAMPLES_PER_FRAME]


def shard_sizes(settings: WorldSettings) -> list[PictureSize]:
    """Picture size of every shard: each size gets its share, spread evenly over the set."""
    num_shards = -(-settings.num_clips // settings.clips_per_shard)
    due = [0.0] * len(settings.sizes)
    chosen = []
    for _ in range(num_shards):
        due = [d + size.share for d, size in zip(due, settings.sizes, strict=True)]
        index = max(range(len(due)), key=due.__getitem__)
        due[index] -= 1
        chosen.append(settings.sizes[index])
    return chosen


def render_shard(index: int, size: PictureSize, settings: WorldSettings, held_out: bool = False) -> dict[str, Tensor]:
    """All tensors of shard `index`; `held_out` speaks with voices and words that training never hears."""
    rows: dict[str, list] = {name: [] for name in ("frames", "mouth", "mouth_px", "mouth_half", "waveform", "seed")}
    first = index * settings.clips_per_shard
    for number in range(first, min(first + settings.clips_per_shard, settings.num_clips)):
        seed = settings.seed + number
        rng = random.Random(f"restless/{seed}")
        head, camera = rng.uniform(*settings.head_motion), rng.uniform(*settings.camera_motion)
        clip, waveform = spoken_clip(seed, settings.clip_frames, size.height, size.width, head, camera, held_out)
        rows["frames"].append(clip.frames_u8)
        rows["mouth"].append(clip.mouth.stacked())
        rows["mouth_px"].append(clip.mouth_px.astype(np.float32))
        rows["mouth_half"].append(np.array(clip.mouth_half_px, np.float32))
        rows["waveform"].append(waveform)
        rows["seed"].append(np.int64(seed))
    return {name: torch.from_numpy(np.stack(values)).contiguous() for name, values in rows.items()}


def render_world(folder: Path, settings: WorldSettings, progress: Progress, held_out: bool = False) -> list[Path]:
    """Write every missing shard into `folder`; paths of all shards, in order."""
    folder.mkdir(parents=True, exist_ok=True)
    sizes = shard_sizes(settings)
    progress.start("rendering characters", settings.num_clips)
    paths = []
    for index, size in enumerate(sizes):
        path = folder / f"shard-{index:04d}.safetensors"
        if not path.exists():
            partial = path.with_suffix(".partial")
            save_file(render_shard(index, size, settings, held_out), partial)
            partial.rename(path)
        paths.append(path)
        progress.advance(settings.clips_per_shard)
    return paths


def held_out_world(settings: WorldSettings, num_clips: int) -> WorldSettings:
    """The same world with other people, voices and words, in pictures of the commonest size."""
    commonest = max(settings.sizes, key=lambda size: size.share)
    update = {"num_clips": num_clips, "clips_per_shard": num_clips, "seed": HELD_OUT_FIRST_SEED, "sizes": (commonest,)}
    return settings.model_copy(update=update)


def read_shards(paths: list[Path]) -> Iterator[dict[str, Tensor]]:
    """Shards one after the other."""
    for path in paths:
        yield load_file(path)


def to_pixels(frames_u8: Tensor) -> Tensor:
    """(..., t, h, w, 3) uint8 to (..., 3, t, h, w) float32 in [-1, 1]."""
    return frames_u8.movedim(-1, -4).float() / 127.5 - 1
