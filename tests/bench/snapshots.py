"""What snapshots cost: bytes and seconds each, and their share of the time.

    python tests/bench/snapshots.py [--size mid] [--steps 6]

First a random transformer of a size of `infinitetalk bench` on the CPU, 192x192, all guidance branches, projected, with
step caching, a snapshot after every step: what a step takes, what a snapshot takes. Then the states of the published
model at 480p as the sampler would offer them, without the model: what the disk makes of them.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch
import torch.nn.functional as F
from torch import Tensor

from infinitetalk_cli.bench.build import empty_transformer, fill_randomly
from infinitetalk_cli.bench.settings import SIZES
from infinitetalk_cli.models.dubbing_model import ChunkConditions, DubbingModel
from infinitetalk_cli.models.sampler_state import SamplerState
from infinitetalk_cli.models.sampling import chunk_noise
from infinitetalk_cli.models.sampling_settings import ProjectionSettings, SamplingSettings
from infinitetalk_cli.models.step_cache import StepCacheSettings
from infinitetalk_cli.models.streaming import denoise
from infinitetalk_cli.progress import SilentProgress
from infinitetalk_cli.stages import snapshots
from infinitetalk_cli.stages.snapshots import ChunkSnapshots, Snapshots

NUM_FRAMES, SIDE_PX, LATENT = 81, 192, (21, 24, 24)
PUBLISHED_LATENT, PUBLISHED_TOKENS, PUBLISHED_WIDTH = (1, 16, 21, 80, 80), 21 * 40 * 40, 5120


class PoolingCodec:
    """Sixteen channels at the published strides, without weights."""

    latent_channels, temporal_stride, spatial_stride = 16, 4, 8

    def encode(self, pixels: Tensor) -> Tensor:
        blocks = F.avg_pool3d(pixels, (1, 8, 8))
        frames = torch.cat((blocks[:, :, :1].expand(-1, -1, 4, -1, -1), blocks[:, :, 1:]), dim=2)
        return F.avg_pool3d(frames, (4, 1, 1)).repeat(1, 6, 1, 1, 1)[:, :16]

    def decode(self, latents: Tensor) -> Tensor:
        return latents[:, :3]


class Timed:
    """Offers every state on, and notes what it had and how long that took."""

    def __init__(self, keeper: ChunkSnapshots) -> None:
        self._keeper = keeper
        self.costs: list[tuple[int, float]] = []

    def kept(self, key: Callable[[], str]) -> SamplerState | None:
        return self._keeper.kept(key)

    def offer(self, key: Callable[[], str], state: SamplerState) -> None:
        began_s = time.perf_counter()
        self._keeper.offer(key, state)
        self.costs.append((state.num_bytes, time.perf_counter() - began_s))


def random_model(size: str) -> DubbingModel:
    transformer = empty_transformer(SIZES[size])
    fill_randomly(transformer, torch.device("cpu"), torch.float32)
    text = torch.randn(1, 40, transformer.config.text_dim)
    return DubbingModel(transformer, PoolingCodec(), lambda _pixels: torch.randn(1, 257, 1280), text, -text)


def measure_model(size: str, num_steps: int, folder: Path) -> None:
    model = random_model(size)
    config = model.transformer.config
    conditions = ChunkConditions(
        reference=torch.rand(1, 3, 1, SIDE_PX, SIDE_PX),
        audio=torch.randn(1, NUM_FRAMES, config.audio_window, config.audio_layers, config.audio_channels),
        noise=chunk_noise(1, 0, 0, 0, (1, 16, *LATENT)),
        context=torch.rand(1, 3, 9, SIDE_PX, SIDE_PX),
    )
    settings = SamplingSettings(
        num_steps, 7.0, text_guidance_scale=5.0, audio_guidance_scale=4.0, projection=ProjectionSettings(),
        step_cache=StepCacheSettings(1.0, (0.0, 0.6), warmup_steps=1),
    )  # fmt: skip
    snapshots.PATIENCE = 0
    keeper = Timed(Snapshots(folder / "model", interval_s=0.0).of(0, 0))
    began_s = time.perf_counter()
    denoise(model, conditions, settings, SilentProgress(), keeper)
    seconds = time.perf_counter() - began_s
    spent_s = sum(cost_s for _, cost_s in keeper.costs)
    print(f"{size}, {num_steps} steps: {seconds - spent_s:.1f} s, and {spent_s:.3f} s for a snapshot after every step")
    for step, (num_bytes, cost_s) in enumerate(keeper.costs, start=1):
        print(f"  step {step}: {num_bytes / 1e6:8.2f} MB {1000 * cost_s:8.1f} ms")
    # As the keeper goes about it: after 30 s, or a hundred times what it costs.
    cost_s = median(cost_s for _, cost_s in keeper.costs)
    print(f"  at most {cost_s / max(snapshots.INTERVAL_S, 100 * cost_s):.3%} of the time")


def measure_published(folder: Path) -> None:
    latents = torch.randn(PUBLISHED_LATENT)
    residuals = tuple(torch.randn(1, PUBLISHED_TOKENS, PUBLISHED_WIDTH).bfloat16() for _ in range(3))
    guidance = {"text": latents + 1, "audio": latents - 1}
    snapshots.PATIENCE = 100
    for what, state in (
        ("finished latents", SamplerState(40, latents)),
        ("with the buffers of projected guidance", SamplerState(7, latents, guidance)),
        ("with the residuals of step caching", SamplerState(7, latents, guidance, residuals)),
    ):
        costs, loads = [], []
        for index in range(3):
            clock = _Shifted()
            keeper = Snapshots(folder / "published", clock=clock).of(index, 0)
            clock.ahead_s = 1e6
            began_s = time.perf_counter()
            keeper.offer(lambda: "bench", state)
            costs.append(time.perf_counter() - began_s)
            began_s = time.perf_counter()
            assert keeper.kept(lambda: "bench") is not None
            loads.append(time.perf_counter() - began_s)
        wait_s = max(snapshots.INTERVAL_S, 100 * median(costs))
        print(
            f"480p, {what}: {state.num_bytes / 1e6:.1f} MB, written in {1000 * median(costs):.0f} ms, read and checked "
            f"in {1000 * median(loads):.0f} ms; one every {wait_s:.0f} s, {median(costs) / wait_s:.2%} of the time"
        )


class _Shifted:
    """The clock, and as much later as it is told."""

    ahead_s = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self.ahead_s


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=("small", "mid"), default="mid")
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--folder", type=Path, default=None, help="where snapshots are written (default: temporary)")
    given = parser.parse_args()
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        (Path(folder) / "model").mkdir()
        measure_model(given.size, given.steps, Path(folder))
        measure_published(Path(folder))


if __name__ == "__main__":
    main()
