"""Which files a model consists of on this machine.

Nothing here imports torch: planning a job must stay quick.
"""

from __future__ import annotations

from pathlib import Path

from infinitetalk_cli.errors import DependencyError

LOADABLE_FAMILIES = ("nano",)
"""Model families that this version can run."""

_BUILTIN = Path(__file__).resolve().parent.parent / "weights"
_NANO_PARTS = ("transformer", "codec", "audio_encoder")
_PART_FILES = ("config.json", "diffusion_pytorch_model.safetensors")


def builtin_folder(name: str) -> Path:
    """Folder of weights that ship inside the package."""
    return _BUILTIN / name


def model_files(family: str, folder: Path) -> tuple[Path, ...]:
    """All files that decide what the model computes, checked to exist.

    Raises:
        DependencyError: a file is missing, or this version cannot run the family.
    """
    if family not in LOADABLE_FAMILIES:
        raise DependencyError(
            f"models of the family '{family}' cannot be run by this version of infinitetalk; use --profile nano"
        )
    files = tuple(folder / part / name for part in _NANO_PARTS for name in _PART_FILES)
    missing = [str(path.relative_to(folder)) for path in files if not path.is_file()]
    if missing:
        remedy = (
            "install infinitetalk again with `pip install --force-reinstall --no-deps infinitetalk`"
            if folder.is_relative_to(_BUILTIN)
            else f"train them with `infinitetalk train nano --out {folder}`, or correct model.weights in the profile"
        )
        raise DependencyError(f"{folder}: weights are missing ({', '.join(missing)}); {remedy}")
    return files
