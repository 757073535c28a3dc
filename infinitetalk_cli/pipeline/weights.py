"""The weights of a profile: where they are, and which revision."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from infinitetalk_cli.cache.fingerprint import file_content_hash, fingerprint
from infinitetalk_cli.cache.store import Store
from infinitetalk_cli.config.profile import Profile
from infinitetalk_cli.config.weights import require_weights, weights_folder
from infinitetalk_cli.errors import DependencyError
from infinitetalk_cli.models.registry import LOADABLE_FAMILIES, builtin_folder, model_files


@dataclass(frozen=True)
class Weights:
    """A complete set of weights; `revision` follows from the content of its files."""

    folder: Path
    files: tuple[Path, ...]
    revision: str


def find_weights(profile: Profile, weights_root: Path, store: Store) -> Weights:
    """The weights that `profile` names.

    Raises:
        DependencyError: files are missing; the message says how to get them.
    """
    try:
        require_weights(profile, weights_root)
    except DependencyError as exc:
        if profile.model.family in LOADABLE_FAMILIES:
            raise
        raise DependencyError(f"this version of infinitetalk cannot run '{profile.name}' yet. {exc}") from exc
    name = profile.model.builtin_name
    folder = builtin_folder(name) if name else weights_folder(profile.model, weights_root)
    files = model_files(profile.model.family, folder)
    digests = {str(file.relative_to(folder)): file_content_hash(file, store.hashes_dir) for file in files}
    return Weights(folder, files, fingerprint({"family": profile.model.family, "files": digests}))
