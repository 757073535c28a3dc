"""FID and KID: how far the frames of one set of videos lie from those of another, by Inception's features.

`features` gives a row per frame; `frechet.frechet_distance` of these is FID, `frechet.kernel_distance` KID. Both sides
need the same number of frames, the same preset and the same storage: frames from the decoder, never through JPEG.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

from infinitetalk_cli.evaluate.metrics.common import Missing, batches
from infinitetalk_cli.evaluate.metrics.inception import NUM_FEATURES, PRESETS, FidInception, ResizePreset, prepared
from infinitetalk_cli.evaluate.metrics.loading import identity_of, load_network
from infinitetalk_cli.evaluate.metrics.metric_weights import INCEPTION, missing_weights

_BATCH_FRAMES = 16


@dataclass(frozen=True)
class FidMetric:
    """`preset`: how frames get to 299 x 299 px; it changes the number."""

    preset: ResizePreset = "pytorch-fid"

    name: ClassVar[str] = "fid"
    presets: ClassVar[tuple[str, ...]] = PRESETS

    @property
    def needs(self) -> tuple[str, ...]:
        """See `Metric`."""
        return (INCEPTION,)

    def available(self, folders: Sequence[Path]) -> Missing | None:
        """See `Metric`."""
        return missing_weights("FID", self.needs, folders)

    def load(self, folders: Sequence[Path], device: str = "cpu") -> FrameFeatures:
        """See `Metric`."""
        network = load_network(FidInception(), INCEPTION, folders, device)
        return FrameFeatures(network, self.preset, identity_of(self.name, self.preset, self.needs))


@dataclass(frozen=True, eq=False)
class FrameFeatures:
    """Inception's features of frames. `identity`: what decides them, as plain data."""

    network: FidInception
    preset: ResizePreset
    identity: dict[str, Any]

    @torch.inference_mode()
    def features(self, frames: Iterable[np.ndarray]) -> np.ndarray:
        """(t, 2048) float32 of frames uint8 (h, w, 3); they are taken in small groups and not kept."""
        device = next(self.network.parameters()).device
        rows = [
            self.network(prepared(group, self.preset).to(device)).cpu().numpy()
            for group in batches(frames, _BATCH_FRAMES)
        ]
        return np.concatenate(rows) if rows else np.zeros((0, NUM_FEATURES), np.float32)
