"""The weights of a profile: where they are, and which revision."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from infinitetalk_cli.cache.fingerprint import file_content_hash, fingerprint
from infinitetalk_cli.cache.store import Store
from infinitetalk_cli.checkpoints.files import ModelFiles, NetworkFiles
from infinitetalk_cli.checkpoints.locate import locate_model
from infinitetalk_cli.config.profile import Profile


@dataclass(frozen=True)
class Weights:
    """A complete set of weights; the revision of each network follows from the content of its files."""

    files: ModelFiles
    revisions: Mapping[str, str]


def find_weights(profile: Profile, weights_root: Path, store: Store) -> Weights:
    """The weights that `profile` names.

    Raises:
        DependencyError: files are missing; the message says how to get them.
    """
    files = locate_model(profile.model, weights_root)
    revisions = {name: _revision(name, network, store) for name, network in files.networks.items()}
    return Weights(files, revisions)


def _revision(name: str, network: NetworkFiles, store: Store) -> str:
    digests = [file_content_hash(file, store.hashes_dir) for file in network.all_files]
    weights = [lora.weight for lora in network.loras]
    return fingerprint({"network": name, "layout": network.layout, "files": digests, "lora_weights": weights})
