"""From names to files: both layouts, both doors, and everything that can be missing."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import miniature
import pytest

from infinitetalk_cli.checkpoints.catalog import load_catalog
from infinitetalk_cli.checkpoints.files import (
    AUDIO_ENCODER,
    CODEC,
    IMAGE_ENCODER,
    TEXT_ENCODER,
    TRANSFORMER,
)
from infinitetalk_cli.checkpoints.headers import problem_of
from infinitetalk_cli.checkpoints.layouts import shard_files
from infinitetalk_cli.checkpoints.locate import locate_model
from infinitetalk_cli.checkpoints.places import find_part
from infinitetalk_cli.config.model import LoraFile
from infinitetalk_cli.errors import DependencyError, ProfileError

SHARDS = [f"diffusion_pytorch_model-0000{number}-of-00003.safetensors" for number in (1, 2, 3)]
LORA = "lightx2v-I2V-14B-480P"
MODEL = miniature.model_profile()


def test_original_layout(whole_weights) -> None:
    root = whole_weights("original")
    networks = locate_model(MODEL, root).networks
    base = root / miniature.BASE
    assert [path.name for path in networks[TRANSFORMER].weights] == [*SHARDS, "infinitetalk.safetensors"]
    assert networks[TRANSFORMER].config == base / "config.json"
    assert networks[CODEC].weights == (base / miniature.VAE_FILE,)
    assert networks[IMAGE_ENCODER].weights == (base / miniature.CLIP_FILE,)
    assert networks[TEXT_ENCODER].weights == (base / miniature.T5_FILE,)
    assert networks[TEXT_ENCODER].tokenizer == base / "google" / "umt5-xxl"
    assert networks[AUDIO_ENCODER].config == root / miniature.AUDIO_ENCODER / "config.json"
    assert {network.layout for name, network in networks.items() if name != AUDIO_ENCODER} == {"original"}


def test_diffusers_layout(whole_weights) -> None:
    root = whole_weights("diffusers")
    networks = locate_model(MODEL, root).networks
    base = root / miniature.DIFFUSERS_BASE
    assert [path.name for path in networks[TRANSFORMER].weights] == [*SHARDS, "infinitetalk.safetensors"]
    assert networks[TRANSFORMER].layout == "diffusers"
    assert networks[CODEC].config == base / "vae" / "config.json"
    assert len(networks[TEXT_ENCODER].weights) == 2
    assert networks[TEXT_ENCODER].tokenizer == base / "tokenizer"


def test_paths_stand_where_names_may(whole_weights, tmp_path: Path) -> None:
    root = whole_weights("original")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    audio = elsewhere / "mine.safetensors"
    shutil.copy(root / "InfiniteTalk" / "multi" / "infinitetalk.safetensors", audio)
    model = miniature.model_profile(
        base=str(root / miniature.BASE), audio_weights=str(audio), audio_encoder=miniature.AUDIO_ENCODER
    )
    assert locate_model(model, root).networks[TRANSFORMER].weights[-1] == audio
    folder = miniature.model_profile(
        audio_weights="InfiniteTalk/multi"
    )  # below the weights folder, the file in it by its name
    expected = root / "InfiniteTalk" / "multi" / "infinitetalk.safetensors"
    assert locate_model(folder, root).networks[TRANSFORMER].weights[-1] == expected


def test_converted_weights_are_preferred(own_weights) -> None:
    root = own_weights("original")
    vae = root / miniature.BASE / miniature.VAE_FILE
    shutil.copy(root / "InfiniteTalk" / "single" / "infinitetalk.safetensors", vae.with_suffix(".safetensors"))
    assert locate_model(MODEL, root).networks[CODEC].weights == (vae.with_suffix(".safetensors"),)


def test_the_speech_encoder_as_published(own_weights) -> None:
    root = own_weights("original")
    shutil.rmtree(root / miniature.AUDIO_ENCODER)
    miniature.write_audio_encoder(root / miniature.AUDIO_ENCODER, file_format="bin")
    assert locate_model(MODEL, root).networks[AUDIO_ENCODER].weights[0].name == "pytorch_model.bin"


@pytest.mark.parametrize("place", ["loras/Lightx2v", "loras", "."])
def test_lora_by_name(own_weights, place: str) -> None:
    root = own_weights("original")
    name = Path(load_catalog()[LORA].layouts["original"].files[0].path).name
    miniature.write_lora(root / place / name)
    model = miniature.model_profile(loras=(LoraFile(file=LORA, weight=0.8),), lora_alpha="ignore")
    (lora,) = locate_model(model, root).networks[TRANSFORMER].loras
    assert (lora.path, lora.weight, lora.honours_alpha) == (root / place / name, 0.8, False)


def test_all_that_is_missing_is_named_at_once(own_weights) -> None:
    root = own_weights("original")
    base = root / miniature.BASE
    for name in (SHARDS[0], SHARDS[2], miniature.CLIP_FILE, "google/umt5-xxl/tokenizer.json"):
        (base / name).unlink()
    shutil.rmtree(root / "InfiniteTalk")
    with pytest.raises(DependencyError) as raised:
        locate_model(MODEL, root)
    message = str(raised.value)
    for name in (SHARDS[0], SHARDS[2], miniature.CLIP_FILE, "tokenizer.json", "InfiniteTalk-single (neither in"):
        assert name in message
    assert SHARDS[1] not in message
    assert miniature.T5_FILE not in message
    assert f"`infinitetalk models pull {miniature.BASE} InfiniteTalk-single`" in message


def test_nothing_is_there(tmp_path: Path) -> None:
    model = miniature.model_profile(audio_weights="my/weights.safetensors")
    with pytest.raises(DependencyError, match="correct the paths in the profile") as raised:
        locate_model(model, tmp_path)
    assert f"models pull {miniature.BASE} {miniature.AUDIO_ENCODER}`" in str(raised.value)
    assert "my/weights.safetensors (neither in" in str(raised.value)


@pytest.mark.parametrize(
    ("file", "kept", "words"),
    [
        (SHARDS[1], 0, "empty"),
        (SHARDS[1], 0.5, "damaged"),
        (SHARDS[1], 4, "damaged"),
        (miniature.T5_FILE, 0.7, "damaged"),
        ("google/umt5-xxl/tokenizer.json", 0, "empty"),
        ("config.json", 0, "empty"),
    ],
)
def test_a_file_that_was_cut_short(own_weights, file: str, kept: float, words: str) -> None:
    root = own_weights("original")
    path = root / miniature.BASE / file
    os.truncate(path, int(kept if kept >= 1 else kept * path.stat().st_size))
    with pytest.raises(DependencyError, match=rf"{file.rsplit('/')[-1]} {words}"):
        locate_model(MODEL, root)


def test_garbage_in_place_of_weights(tmp_path: Path) -> None:
    for name, content in (("a.safetensors", b"<html>404</html>" * 9), ("b.pth", b"<html>404</html>")):
        (tmp_path / name).write_bytes(content)
        problem = problem_of(tmp_path / name)
        assert problem is not None
        assert problem.state == "damaged"


def test_shards_without_an_index(own_weights) -> None:
    folder = own_weights("original") / miniature.BASE
    stem = "diffusion_pytorch_model"
    indexed = shard_files(folder, stem)
    (folder / f"{stem}.safetensors.index.json").write_text("{]")
    assert shard_files(folder, stem) == indexed
    (folder / f"{stem}.safetensors.index.json").unlink()
    (folder / SHARDS[0]).unlink()
    assert shard_files(folder, stem) == indexed  # the names of the others say how many there are
    for shard in SHARDS[1:]:
        (folder / shard).unlink()
    assert shard_files(folder, stem) == (folder / f"{stem}.safetensors",)


def test_a_complete_layout_wins_over_an_incomplete_one(own_weights, whole_weights) -> None:
    root = own_weights("original")
    (root / miniature.BASE / SHARDS[1]).unlink()
    shutil.copytree(whole_weights("diffusers") / miniature.DIFFUSERS_BASE, root / miniature.DIFFUSERS_BASE)
    assert find_part(miniature.BASE, "base", root).place == root / miniature.DIFFUSERS_BASE


@pytest.mark.parametrize("is_pinned", [False, True])
def test_the_hubs_cache_is_the_second_door(
    whole_weights, empty_hub_cache: Path, tmp_path: Path, is_pinned: bool
) -> None:
    """Laid out as huggingface_hub keeps it: snapshots of links to blobs, a commit in refs."""
    root = whole_weights("original")
    sources = {
        "Wan-AI/Wan2.1-I2V-14B-480P": root / miniature.BASE,
        "TencentGameMate/chinese-wav2vec2-base": root / miniature.AUDIO_ENCODER,
        "MeiGen-AI/InfiniteTalk": root / "InfiniteTalk",
    }
    pinned = load_catalog()["chinese-wav2vec2-base"].publication().commit
    other = "f" * 40  # main, as another program pulled it
    for repo, folder in sources.items():
        commit = pinned if repo.startswith("Tencent") and is_pinned else other
        store = empty_hub_cache / f"models--{repo.replace('/', '--')}"
        shutil.copytree(folder, store / "snapshots" / commit)
        (store / "refs").mkdir()
        (store / "refs" / "main").write_text(other)
    networks = locate_model(MODEL, tmp_path / "no weights folder").networks
    assert networks[CODEC].weights[0].is_relative_to(empty_hub_cache)
    assert networks[TRANSFORMER].weights[-1].parts[-2:] == ("single", "infinitetalk.safetensors")
    part = find_part("InfiniteTalk-single", "audio_weights", tmp_path)
    assert part.origin == "hub cache"
    assert find_part("InfiniteTalk-single", "audio_weights", root).origin == "weights folder"


@pytest.mark.parametrize("index", [None, '{"weight_map": {}}', '{"weight_map": {"a": "../../elsewhere"}}'])
def test_an_index_without_its_shards(own_weights, index: str | None) -> None:
    """As an interrupted download leaves it: small files come first."""
    root = own_weights("original")
    for name in SHARDS:
        (root / miniature.BASE / name).unlink()
    if index is not None:
        (root / miniature.BASE / "diffusion_pytorch_model.safetensors.index.json").write_text(index)
    with pytest.raises(DependencyError, match=r"diffusion_pytorch_model\S*\.safetensors missing"):
        locate_model(MODEL, root)


def test_an_empty_index_in_the_diffusers_layout(own_weights) -> None:
    root = own_weights("diffusers")
    (root / miniature.DIFFUSERS_BASE / "text_encoder" / "model.safetensors.index.json").write_text('{"weight_map": {}}')
    assert len(locate_model(MODEL, root).networks[TEXT_ENCODER].weights) == 2


def test_names_of_another_kind_and_misspelt_ones(whole_weights) -> None:
    root = whole_weights("original")
    with pytest.raises(ProfileError, match="InfiniteTalk-single is of kind audio_weights, and named as base"):
        locate_model(miniature.model_profile(base="InfiniteTalk-single"), root)
    with pytest.raises(DependencyError, match=rf"did you mean {miniature.BASE}\?"):
        locate_model(miniature.model_profile(base="Wan2.1-I2V-14B-480p"), root)
    with pytest.raises(DependencyError, match="weights are missing"):
        locate_model(miniature.model_profile(base="x" * 5000), root)


@pytest.mark.parametrize("what", ["config.json", "."])
def test_what_may_not_be_read(own_weights, what: str) -> None:
    root = own_weights("original")
    place = root / miniature.BASE / what
    mode = place.stat().st_mode
    place.chmod(0)
    try:
        if os.access(place, os.R_OK):
            pytest.skip("this user may read everything")
        with pytest.raises(DependencyError, match=r"[Pp]ermission"):
            locate_model(MODEL, root)
    finally:
        place.chmod(mode)
