"""What lies where in a folder of published weights: files of each network, in either layout of the base."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

from infinitetalk_cli.checkpoints.files import (
    AUDIO_ENCODER,
    CODEC,
    CONTROL,
    IMAGE_ENCODER,
    TEXT_ENCODER,
    TRANSFORMER,
    NetworkFiles,
)
from infinitetalk_cli.checkpoints.headers import Problem, problems_of

VAE_FILE = "Wan2.1_VAE.pth"
IMAGE_ENCODER_FILE = "models_clip_open-clip-xlm-roberta-large-vit-huge-14.pth"
TEXT_ENCODER_FILE = "models_t5_umt5-xxl-enc-bf16.pth"
TOKENIZER_FOLDER = "google/umt5-xxl"
AUDIO_WEIGHTS_FILE = "infinitetalk.safetensors"
UNI3C_FILE, REPACKAGED_UNI3C_FILE = "controlnet.pth", "Wan21_Uni3C_controlnet_fp16.safetensors"

_TRANSFORMER_STEM = "diffusion_pytorch_model"
_TOKENIZER_FILES = ("tokenizer.json", "spiece.model")
_SHARD = re.compile(r"(.+)-\d{5}-of-(\d{5})\.safetensors")


@dataclass(frozen=True)
class Found:
    """The files of some networks, and what is wrong with them."""

    networks: dict[str, NetworkFiles]
    problems: tuple[Problem, ...]


def base_files(folder: Path) -> Found:
    """Transformer, VAE, image and text encoder in `folder`, whichever layout it has."""
    networks = _diffusers_base(folder) if is_diffusers(folder) else _original_base(folder)
    return _checked(networks)


def audio_encoder_files(folder: Path) -> Found:
    """The speech encoder; model.safetensors before pytorch_model.bin."""
    pickled = folder / "pytorch_model.bin"
    weights = folder / "model.safetensors"
    if pickled.is_file() and not weights.is_file():
        weights = pickled
    return _checked({AUDIO_ENCODER: NetworkFiles("diffusers", (weights,), folder / "config.json")})


def transformer_part(file: Path) -> Found:
    """Audio weights or a LoRA file: a single file in published names."""
    return _checked({TRANSFORMER: NetworkFiles("original", (file,))})


def uni3c_files(place: Path) -> Found:
    """The camera branch in a folder (exported by us, repackaged, or published), or a file in published names."""
    ours, repackaged = place / f"{_TRANSFORMER_STEM}.safetensors", place / REPACKAGED_UNI3C_FILE
    if place.is_file():
        network = NetworkFiles("original", (place,))
    elif ours.is_file():
        network = NetworkFiles("ours", (ours,), place / "config.json")
    elif repackaged.is_file():
        network = NetworkFiles("original", (repackaged,))
    else:
        safe = converted(place / UNI3C_FILE)
        network = NetworkFiles("original", (safe if safe.is_file() else place / UNI3C_FILE,))
    return _checked({CONTROL: network})


def is_diffusers(folder: Path) -> bool:
    """Whether a base is laid out as diffusers does it, one folder per network."""
    return (folder / "transformer").is_dir()


def shard_files(folder: Path, stem: str) -> tuple[Path, ...]:
    """All files that one network's weights are divided into, also those that are not there.

    The index says which; without one, a single file or the names of the shards that are there ("of 7").
    """
    if names := _indexed_files(_index_of(folder, stem)):
        return tuple(folder / name for name in names)
    single = folder / f"{stem}.safetensors"
    counts = {
        int(match[2])
        for path in folder.glob(f"{stem}-*.safetensors")
        if (match := _SHARD.fullmatch(path.name)) and match[1] == stem
    }
    if single.is_file() or not counts:
        return (single,)
    count = max(counts)
    return tuple(folder / f"{stem}-{number:05d}-of-{count:05d}.safetensors" for number in range(1, count + 1))


def converted(path: Path) -> Path:
    """Where `infinitetalk models convert` puts the safetensors form of a pickled file."""
    return path.with_name("model.safetensors") if path.name == "pytorch_model.bin" else path.with_suffix(".safetensors")


def _index_of(folder: Path, stem: str) -> Path:
    return folder / f"{stem}.safetensors.index.json"


def _indexed_files(index: Path) -> list[str]:
    """The files beside an index that it names; none: it is not there or damaged, and the shards' names tell as well."""
    try:
        names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
        return names if all(name == Path(name).name for name in names) else []
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return []


def _original_base(folder: Path) -> dict[str, NetworkFiles]:
    def network(file: str, tokenizer: Path | None = None) -> NetworkFiles:
        pickled = folder / file
        safe = converted(pickled)
        return NetworkFiles("original", (safe if safe.is_file() else pickled,), tokenizer=tokenizer)

    shards, index = shard_files(folder, _TRANSFORMER_STEM), _index_of(folder, _TRANSFORMER_STEM)
    if not index.is_file() and not any(shard.is_file() for shard in shards):
        shards = (index,)  # nothing is there, its count is unknown
    return {
        TRANSFORMER: NetworkFiles("original", shards, folder / "config.json"),
        CODEC: network(VAE_FILE),
        IMAGE_ENCODER: network(IMAGE_ENCODER_FILE),
        TEXT_ENCODER: network(TEXT_ENCODER_FILE, folder / TOKENIZER_FOLDER),
    }


def _diffusers_base(folder: Path) -> dict[str, NetworkFiles]:
    def network(name: str, stem: str, tokenizer: Path | None = None) -> NetworkFiles:
        return NetworkFiles("diffusers", shard_files(folder / name, stem), folder / name / "config.json", tokenizer)

    return {
        TRANSFORMER: network("transformer", _TRANSFORMER_STEM),
        CODEC: network("vae", "diffusion_pytorch_model"),
        IMAGE_ENCODER: network("image_encoder", "model"),
        TEXT_ENCODER: network("text_encoder", "model", folder / "tokenizer"),
    }


def _checked(networks: dict[str, NetworkFiles]) -> Found:
    problems: list[Problem] = []
    for network in networks.values():
        settings = () if network.config is None else (network.config,)
        problems += problems_of((*settings, *network.weights))
        if network.tokenizer is not None:
            present = [network.tokenizer / name for name in _TOKENIZER_FILES if (network.tokenizer / name).is_file()]
            problems += problems_of(present or [network.tokenizer / _TOKENIZER_FILES[0]])
    return Found(networks, tuple(problems))
