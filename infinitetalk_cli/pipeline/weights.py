"""The weights of a profile: where they are, and which revision."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from infinitetalk_cli.cache.fingerprint import file_content_hash, fingerprint
from infinitetalk_cli.cache.store import Store
from infinitetalk_cli.checkpoints.files import CONTROL, ModelFiles, NetworkFiles
from infinitetalk_cli.checkpoints.locate import locate_model, locate_uni3c
from infinitetalk_cli.config.profile import Profile
from infinitetalk_cli.progress import Progress

_SHA256 = re.compile(r"[0-9a-f]{64}")
_SLOW_BYTES = 100 * 1024 * 1024
"""Reading more than this takes long enough for the user to be told."""


@dataclass(frozen=True)
class Weights:
    """A complete set of weights; the revision of each network follows from the content of its files."""

    files: ModelFiles
    revisions: Mapping[str, str]


def find_weights(profile: Profile, weights_root: Path, store: Store, progress: Progress | None = None) -> Weights:
    """The weights that `profile` names.

    Every file is read once to know its content; the hash is remembered. `progress` hears of files that take long.

    Raises:
        DependencyError: files are missing; the message says how to get them.
    """
    files = locate_model(profile.model, weights_root)
    if profile.steers_camera:
        files = ModelFiles(files.family, {**files.networks, CONTROL: locate_uni3c(profile.model, weights_root)})
    revisions = {name: _revision(name, network, store, progress) for name, network in files.networks.items()}
    return Weights(files, revisions)


def content_hash(file: Path, store: Store, progress: Progress | None = None) -> str:
    """SHA-256 of a file of weights.

    huggingface_hub's cache names large files by it, so they need not be read; `models verify --sha256` does read them.
    """
    real = file.resolve()
    if real.parent.name == "blobs" and _SHA256.fullmatch(real.name):
        return real.name
    is_slow = real.stat().st_size > _SLOW_BYTES
    return file_content_hash(file, store.hashes_dir, progress if is_slow else None)


def _revision(name: str, network: NetworkFiles, store: Store, progress: Progress | None) -> str:
    digests = [content_hash(file, store, progress) for file in network.all_files]
    loras = [[lora.weight, lora.honours_alpha] for lora in network.loras]
    return fingerprint({"network": name, "layout": network.layout, "files": digests, "loras": loras})


def add_network(weights: Weights, name: str, network: NetworkFiles, store: Store) -> Weights:
    """`weights` and one network more that a stage of the job needs beside the model."""
    files = ModelFiles(weights.files.family, {**weights.files.networks, name: network})
    return Weights(files, {**weights.revisions, name: _revision(name, network, store, None)})
