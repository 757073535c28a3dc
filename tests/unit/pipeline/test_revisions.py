"""The revision of every network follows from content, cheaply."""

from __future__ import annotations

import hashlib
from pathlib import Path

import miniature
import pytest

from infinitetalk_cli.cache.store import Store
from infinitetalk_cli.checkpoints.files import TRANSFORMER, LoraWeights, NetworkFiles
from infinitetalk_cli.checkpoints.locate import locate_model
from infinitetalk_cli.config.profile import Profile
from infinitetalk_cli.pipeline import weights as weights_module
from infinitetalk_cli.pipeline.weights import content_hash, find_weights
from infinitetalk_cli.progress import SilentProgress


def profile(**model: object) -> Profile:
    return Profile(name="test", description="for tests", model=miniature.model_profile(**model))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return miniature.write_weights(tmp_path / "weights")


def test_only_the_changed_network_is_another_revision(root: Path, tmp_path: Path) -> None:
    store = Store(tmp_path / "cache")
    before = find_weights(profile(), root, store).revisions
    multi = find_weights(profile(audio_weights="InfiniteTalk-multi"), root, store).revisions
    assert {name for name in before if before[name] != multi[name]} == {TRANSFORMER}
    tokenizer = root / miniature.BASE / "google" / "umt5-xxl" / "tokenizer_config.json"
    tokenizer.write_text(tokenizer.read_text() + " ")
    after = find_weights(profile(), root, store).revisions
    assert {name for name in before if before[name] != after[name]} == {"text_encoder"}


def test_how_a_lora_counts_is_part_of_the_revision(root: Path, tmp_path: Path) -> None:
    store, lora = Store(tmp_path / "cache"), miniature.write_lora(tmp_path / "lora.safetensors")
    entries = [(), ({"file": str(lora)},), ({"file": str(lora), "weight": 0.5},)]
    revisions = {find_weights(profile(loras=loras), root, store).revisions[TRANSFORMER] for loras in entries}
    ignoring = profile(loras=entries[1], lora_alpha="ignore")
    revisions.add(find_weights(ignoring, root, store).revisions[TRANSFORMER])
    assert len(revisions) == 4


def test_a_large_file_of_the_hubs_cache_is_not_read(tmp_path: Path) -> None:
    content = b"weights"
    blob = tmp_path / "models--a--b" / "blobs" / hashlib.sha256(content).hexdigest()
    blob.parent.mkdir(parents=True)
    blob.write_bytes(b"not read")
    link = tmp_path / "models--a--b" / "snapshots" / "main" / "w.safetensors"
    link.parent.mkdir(parents=True)
    link.symlink_to(blob)
    local = tmp_path / "w.safetensors"
    local.write_bytes(content)
    store = Store(tmp_path / "cache")
    assert content_hash(link, store) == content_hash(local, store) == blob.name


def test_reading_a_large_file_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights_module, "_SLOW_BYTES", 100)
    (tmp_path / "large").write_bytes(b"x" * 101)
    (tmp_path / "small").write_bytes(b"x")
    started: list[str] = []

    class Heard(SilentProgress):
        def start(self, what: str, total: int | None = None, done: int = 0) -> None:
            started.append(what)

    for name in ("large", "small"):
        content_hash(tmp_path / name, Store(tmp_path / "cache"), Heard())
    assert started == ["reading large"]


def test_all_files_of_a_network_count(root: Path) -> None:
    transformer = locate_model(profile().model, root).networks[TRANSFORMER]
    lora = LoraWeights(root / "x.safetensors", 1.0)
    files = NetworkFiles("original", transformer.weights, transformer.config, loras=(lora,)).all_files
    assert {path.name for path in files} >= {"config.json", "infinitetalk.safetensors", "x.safetensors"}
    assert len(files) == 3 + 3
