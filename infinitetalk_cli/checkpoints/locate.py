"""From the names in a profile to files on this machine."""

from __future__ import annotations

from pathlib import Path

from infinitetalk_cli.checkpoints.files import AUDIO_ENCODER, CODEC, TRANSFORMER, ModelFiles, NetworkFiles
from infinitetalk_cli.config.profile import ModelProfile
from infinitetalk_cli.errors import DependencyError

_BUILTIN = Path(__file__).resolve().parent.parent / "weights"
_NANO_NETWORKS = (TRANSFORMER, CODEC, AUDIO_ENCODER)


def builtin_folder(name: str) -> Path:
    """Folder of weights that ship inside the package."""
    return _BUILTIN / name


def locate_model(model: ModelProfile, weights_root: Path) -> ModelFiles:
    """The files of every network of `model`, checked to exist.

    Raises:
        DependencyError: files are missing; the message says which, and how to get them.
    """
    if model.family == "nano":
        return locate_nano(_nano_folder(model, weights_root))
    raise DependencyError(f"{model.base}: cannot be run by this version of infinitetalk yet; use --profile nano")


def locate_nano(folder: Path) -> ModelFiles:
    """The networks of a nano model exported to `folder`.

    Raises:
        DependencyError: a file is missing.
    """
    networks = {
        name: NetworkFiles(
            layout="ours",
            weights=(folder / name / "diffusion_pytorch_model.safetensors",),
            config=folder / name / "config.json",
        )
        for name in _NANO_NETWORKS
    }
    missing = [
        str(path.relative_to(folder))
        for network in networks.values()
        for path in network.all_files
        if not path.is_file()
    ]
    if missing:
        remedy = (
            "install infinitetalk again with `pip install --force-reinstall --no-deps infinitetalk`"
            if folder.is_relative_to(_BUILTIN)
            else f"train them with `infinitetalk train nano --out {folder}`, or correct model.weights in the profile"
        )
        raise DependencyError(f"{folder}: weights are missing ({', '.join(missing)}); {remedy}")
    return ModelFiles("nano", networks)


def _nano_folder(model: ModelProfile, weights_root: Path) -> Path:
    if model.builtin_name is not None:
        return builtin_folder(model.builtin_name)
    assert model.weights is not None, "a nano profile names its weights"
    return weights_root / Path(model.weights).expanduser()
