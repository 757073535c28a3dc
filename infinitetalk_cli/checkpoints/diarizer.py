"""Where the weights of pyannote.audio's speaker diarization are, and whether the library is there to run them."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from infinitetalk_cli.checkpoints.files import NetworkFiles
from infinitetalk_cli.errors import DependencyError

REPOSITORY = "pyannote/speaker-diarization-community-1"
FOLDER_NAME = "speaker-diarization-community-1"
"""Looked for in the folder of weights."""

_CONFIG = "config.yaml"
_WEIGHTS = ("*.bin", "*.npz", "*.safetensors")


def require_diarization() -> None:
    """`DependencyError` with the install line if pyannote.audio is not installed."""
    try:
        is_there = find_spec("pyannote.audio") is not None
    except ModuleNotFoundError:  # not even the namespace `pyannote`
        is_there = False
    if not is_there:
        raise DependencyError("--diarize needs pyannote.audio; run: pip install 'infinitetalk[diarize]'")


def locate_diarizer(folder: Path | None, weights_root: Path) -> NetworkFiles:
    """The files of a diarization pipeline: of `folder`, else of the folder of weights, else of the hub's cache.

    Raises:
        DependencyError: there are none; the message says how to get them. They are gated, so nothing is fetched here.
    """
    if folder is not None:
        return _pipeline_files(folder, f"{folder}: holds no diarization pipeline ({_CONFIG} and its weights)")
    missing = (
        f"--diarize needs the weights of {REPOSITORY}: accept its conditions at https://huggingface.co/{REPOSITORY}, "
        f"log in with `hf auth login`, run `hf download {REPOSITORY}`, or name a local copy with --diarizer DIR"
    )
    own = weights_root / FOLDER_NAME
    return _pipeline_files(own if own.is_dir() else _hub_snapshot(), missing)


def _pipeline_files(folder: Path | None, missing: str) -> NetworkFiles:
    if folder is None or not (folder / _CONFIG).is_file():
        raise DependencyError(missing)
    weights = sorted(path for pattern in _WEIGHTS for path in folder.rglob(pattern))
    if not weights:
        raise DependencyError(missing)
    return NetworkFiles(layout="original", weights=tuple(weights), config=folder / _CONFIG)


def _hub_snapshot() -> Path | None:
    """The folder of the repository in huggingface_hub's cache, as far as it was downloaded."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        return Path(snapshot_download(REPOSITORY, local_files_only=True))
    except LocalEntryNotFoundError:
        return None
