"""Stand-ins for the published weight files: small, and registered under their names for one test."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from infinitetalk_cli.evaluate.metrics.metric_weights import METRIC_FILES

Publish = Callable[..., Path]


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """An empty folder for weight files."""
    folder = tmp_path / "weights"
    folder.mkdir()
    return folder


@pytest.fixture
def publish(weights: Path, monkeypatch: pytest.MonkeyPatch) -> Publish:
    """Makes `content` the published file `name`, also writes it into `weights` unless `place` is False."""

    def publish_file(name: str, content: bytes, place: bool = True, **changes: Any) -> Path:
        facts = {"size_bytes": len(content), "sha256": hashlib.sha256(content).hexdigest(), **changes}
        monkeypatch.setitem(METRIC_FILES, name, replace(METRIC_FILES[name], **facts))
        if place:
            (weights / name).write_bytes(content)
        return weights / name

    return publish_file


@pytest.fixture
def noise_frames() -> Callable[..., list[np.ndarray]]:
    """Frames (h, w, 3) uint8 of noise, the same for the same seed."""

    def make(count: int, size: tuple[int, int] = (24, 32), seed: int = 0) -> list[np.ndarray]:
        generator = np.random.default_rng(seed)
        return [generator.integers(0, 256, (*size, 3), dtype=np.uint8) for _ in range(count)]

    return make
