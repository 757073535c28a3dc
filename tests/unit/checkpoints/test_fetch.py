"""Pulling from a hub: only what is asked for, resumed, pinned, and every refusal in one sentence."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import hub
import miniature
import pytest

from infinitetalk_cli.checkpoints import fetch as fetching
from infinitetalk_cli.checkpoints.catalog import load_catalog
from infinitetalk_cli.checkpoints.fetch import Download, check_space, fetch, plan_download
from infinitetalk_cli.checkpoints.pins import read_pins
from infinitetalk_cli.checkpoints.places import find_part
from infinitetalk_cli.errors import DependencyError, ResourceError

COMMIT = "c" * 40
AUDIO = load_catalog()["InfiniteTalk-single"].publication()
BASE = load_catalog()[miniature.BASE].publication("original")


@pytest.fixture
def fake_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[hub.FakeHub]:
    with hub.serve(monkeypatch, tmp_path / "hub") as served:
        yield served


@pytest.fixture
def infinitetalk(fake_hub: hub.FakeHub, whole_weights) -> hub.FakeRepo:
    """The audio weights' repository, with files that nobody asked for."""
    repo = fake_hub.add_folder(AUDIO.repo, whole_weights("original") / "InfiniteTalk", COMMIT)
    repo.files["comfyui/infinitetalk_single.safetensors"] = b"x" * 1000
    repo.files["README.md"] = b"hello"
    return repo


def pull(publication, root: Path, into_folder: bool = False) -> Download:
    plan = plan_download(publication, root, into_folder)
    check_space([plan])
    fetch(plan, root)
    return plan


def test_into_the_hubs_cache(infinitetalk, fake_hub, tmp_path: Path) -> None:
    plan = pull(AUDIO, tmp_path / "weights")
    assert [file.path for file in plan.files] == ["single/infinitetalk.safetensors"]
    assert plan.total_bytes == plan.missing_bytes == len(infinitetalk.files["single/infinitetalk.safetensors"])
    part = find_part("InfiniteTalk-single", "audio_weights", tmp_path / "weights")
    assert (part.is_complete, part.origin) == (True, "hub cache")
    assert not any("comfyui" in request or "multi" in request for request in fake_hub.requests)


def test_into_the_weights_folder(infinitetalk, tmp_path: Path) -> None:
    root = tmp_path / "weights"
    pull(AUDIO, root, into_folder=True)
    place = root / "InfiniteTalk" / "single" / "infinitetalk.safetensors"
    assert place.read_bytes() == infinitetalk.files["single/infinitetalk.safetensors"]
    assert find_part("InfiniteTalk-single", "audio_weights", root).place == place


def test_a_second_pull_fetches_nothing(infinitetalk, fake_hub, tmp_path: Path) -> None:
    for into_folder in (False, True):
        pull(AUDIO, tmp_path / "weights", into_folder)
        sent = fake_hub.sent_bytes
        assert plan_download(AUDIO, tmp_path / "weights", into_folder).missing_bytes == 0
        pull(AUDIO, tmp_path / "weights", into_folder)
        assert fake_hub.sent_bytes == sent


def test_the_first_pull_pins_the_commit(infinitetalk, fake_hub, tmp_path: Path) -> None:
    root = tmp_path / "weights"
    plan = pull(AUDIO, root)
    pin = read_pins(root)[AUDIO.repo]
    assert pin.commit == COMMIT
    assert pin.sha256 == {file.path: file.sha256 for file in plan.files}
    fake_hub.requests.clear()
    plan_download(AUDIO, root, into_folder=False)
    assert fake_hub.requests == [f"GET /api/models/{AUDIO.repo}/revision/{COMMIT}"]
    other = load_catalog()["InfiniteTalk-multi"].publication()
    pull(other, root)
    assert len(read_pins(root)[AUDIO.repo].sha256) == 2


def test_the_whole_base_without_what_is_not_needed(fake_hub, whole_weights, tmp_path: Path) -> None:
    folder = tmp_path / "published"
    shutil.copytree(whole_weights("diffusers") / miniature.DIFFUSERS_BASE, folder)
    for number in range(1, 15):  # the names of the real shards; these ones hold nothing
        shard = folder / "transformer" / f"diffusion_pytorch_model-{number:05d}-of-00014.safetensors"
        shard.write_bytes(b"%d" % number)
    publication = load_catalog()[miniature.BASE].publication("diffusers")
    facts = [file.model_copy(update={"sha256": None}) for file in publication.files]
    publication = publication.model_copy(update={"files": tuple(facts)})
    repo = fake_hub.add_folder(publication.repo, folder, publication.commit)
    repo.files |= {"assets/big.png": b"x", "examples/i2v.jpg": b"x"}
    plan = plan_download(publication, tmp_path / "weights", into_folder=True)
    wanted = {file.path for file in plan.files}
    assert wanted >= {"vae/config.json", "tokenizer/tokenizer.json", "text_encoder/model-00002-of-00002.safetensors"}
    assert not {"assets/big.png", "examples/i2v.jpg", "model_index.json"} & wanted
    assert fake_hub.requests == [f"GET /api/models/{publication.repo}/revision/{publication.commit}"]


def test_a_broken_connection_is_resumed(infinitetalk, fake_hub, tmp_path: Path) -> None:
    data = bytes(range(256)) * 40_000
    infinitetalk.files["single/infinitetalk.safetensors"] = data
    fake_hub.break_after_bytes = 6_000_000
    plan = plan_download(AUDIO, tmp_path / "weights", into_folder=True)
    try:
        place = fetch(plan, tmp_path / "weights")
    except DependencyError as exc:  # the library may give up: the same command goes on
        assert "what has arrived is kept" in str(exc)
        place = fetch(plan, tmp_path / "weights")
    assert (place / "single" / "infinitetalk.safetensors").read_bytes() == data
    assert fake_hub.sent_bytes < 1.7 * len(data)


def test_gated(infinitetalk, tmp_path: Path) -> None:
    infinitetalk.refuse = "GatedRepo"
    with pytest.raises(DependencyError, match=r"accept its conditions; do so at .*hf auth login"):
        pull(AUDIO, tmp_path / "weights")


def test_no_such_repository(fake_hub, tmp_path: Path) -> None:
    with pytest.raises(DependencyError, match="no such repository"):
        plan_download(AUDIO, tmp_path, into_folder=False)


def test_a_file_that_is_not_there_any_more(infinitetalk, tmp_path: Path) -> None:
    del infinitetalk.files["single/infinitetalk.safetensors"]
    with pytest.raises(DependencyError, match=r"has no single/infinitetalk.safetensors"):
        plan_download(AUDIO, tmp_path, into_folder=False)


def test_another_file_under_the_known_name(fake_hub, tmp_path: Path) -> None:
    lora = load_catalog()["lightx2v-I2V-14B-480P"].publication()
    fake_hub.repos[lora.repo] = hub.FakeRepo(COMMIT, {lora.marker: b"something else"})
    with pytest.raises(DependencyError, match="SHA-256 differs"):
        plan_download(lora, tmp_path, into_folder=False)


def test_offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(DependencyError, match="HF_HUB_OFFLINE"):
        plan_download(AUDIO, tmp_path, into_folder=False)


def test_no_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with pytest.raises(DependencyError, match="cannot be reached"):
        plan_download(AUDIO, tmp_path, into_folder=False)


def test_a_disk_that_is_too_small(infinitetalk, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    plan = plan_download(AUDIO, tmp_path / "weights", into_folder=True)
    usage = type("Usage", (), {"free": 10})
    monkeypatch.setattr(fetching.shutil, "disk_usage", lambda _path: usage)
    with pytest.raises(ResourceError, match="do not fit"):
        check_space([plan])
