"""Miniature weights, written once per run in both layouts and copied where a test damages them."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import miniature
import pytest


@pytest.fixture(autouse=True)
def empty_hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No test sees what the user of this machine has pulled."""
    from huggingface_hub import constants

    cache = tmp_path / "hub"
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    return cache


@pytest.fixture(scope="session")
def whole_weights(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A weights folder in a layout, shared by all tests: read only."""
    folders: dict[str, Path] = {}

    def folder(layout: str) -> Path:
        if layout not in folders:
            folders[layout] = miniature.write_weights(tmp_path_factory.mktemp(layout), layout=layout)
        return folders[layout]

    return folder


@pytest.fixture
def own_weights(whole_weights: Callable[[str], Path], tmp_path: Path) -> Callable[[str], Path]:
    """A weights folder in a layout that the test may change."""

    def folder(layout: str) -> Path:
        return Path(shutil.copytree(whole_weights(layout), tmp_path / "weights"))

    return folder
