"""Clips as the nano transformer sees them: latents and audio features on disk.

A latent shard is one safetensors file, made from one shard of pixels, or from one video:
    latents (n, t_lat, c, h, w) float16: the clip encoded once; latent j > 0 covers frames 4 j - 3 .. 4 j
    singles (n, t_lat, c, h, w) float16: frame 4 j encoded alone, as references and first frames are
    audio   (n, v, t, channels) float16: features of the speech, v = clean and as if recorded somewhere
    mouth   (n, h, w) float32: bump of height 1 over the mouth; zero where nobody knows where it is
and where clips have twins
    render, render_singles: latents and singles of the twin
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor

from infinitetalk_cli.models.nano_audio import NanoAudioEncoder
from infinitetalk_cli.models.nano_codec import SPATIAL_STRIDE, TEMPORAL_STRIDE, NanoCodec
from infinitetalk_cli.models.tensor_files import save_whole
from infinitetalk_cli.progress import Progress
from infinitetalk_cli.train.codec_fit import mouth_map
from infinitetalk_cli.world.dataset import to_pixels
from infinitetalk_cli.world.voices import recorded


def encode_shard(shard: Mapping[str, Tensor], codec: NanoCodec, encoder: NanoAudioEncoder) -> dict[str, Tensor]:
    """The latent shard of a pixel shard (see `dataset.py`); one without `mouth_px` gets no bump."""
    rows: dict[str, list[Tensor]] = {"latents": [], "singles": [], "audio": [], "mouth": []}
    for index, frames in enumerate(shard["frames"]):
        with torch.inference_mode():
            for name, single, pictures in _pictures(shard, index, frames):
                pixels = to_pixels(pictures[None]).to(codec.device)
                still = pixels[:, :, ::TEMPORAL_STRIDE].repeat_interleave(TEMPORAL_STRIDE, dim=2)
                rows.setdefault(name, []).append(codec.encode(pixels)[0].movedim(1, 0).half().cpu())
                rows.setdefault(single, []).append(codec.encode_groups(still)[0].movedim(1, 0).half().cpu())
        waveform = shard["waveform"][index].numpy()
        heard = (waveform, recorded(np.random.default_rng(int(shard["seed"][index])), waveform, noisy_share=0.5))
        features = [torch.cat(list(encoder.encode(sound, len(frames))))[:, 0].half() for sound in heard]
        rows["audio"].append(torch.stack(features))
        rows["mouth"].append(_bump(shard, index))
    return {name: torch.stack(values).contiguous() for name, values in rows.items()}


def _pictures(shard: Mapping[str, Tensor], index: int, frames: Tensor) -> list[tuple[str, str, Tensor]]:
    """Clip `index`, and its twin if it has one: the names of their latents, and frames (t, h, w, 3)."""
    pictures = [("latents", "singles", frames)]
    if "twin" in shard:
        pictures.append(("render", "render_singles", shard["twin"][index]))
    return pictures


def _bump(shard: Mapping[str, Tensor], index: int) -> Tensor:
    """(h, w) at latent resolution."""
    height, width = shard["frames"].shape[2:4]
    if "mouth_px" not in shard or not shard["mouth_half"][index].any():
        return torch.zeros(height // SPATIAL_STRIDE, width // SPATIAL_STRIDE)
    center = shard["mouth_px"][index].mean(0, keepdim=True)
    bump = mouth_map(center, shard["mouth_half"][index][None], height, width)
    return F.avg_pool2d(bump[None], SPATIAL_STRIDE)[0, 0]


def encode_world(
    paths: list[Path], folder: Path, codec: NanoCodec, encoder: NanoAudioEncoder, progress: Progress, workers: int = 1
) -> list[Path]:
    """Write the missing latent shard of every pixel shard into `folder`, by `workers` threads; their paths in order."""
    progress.start("encoding clips", len(paths))

    def encode(path: Path) -> Path:
        target = folder / path.name
        if not target.exists():
            save_whole(encode_shard(load_file(path), codec, encoder), target)
        return target

    out = []
    with ThreadPoolExecutor(max_workers=workers) as pool:
        for target in pool.map(encode, paths):
            out.append(target)
            progress.advance()
    return out
