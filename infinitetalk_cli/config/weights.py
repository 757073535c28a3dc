"""Whether a profile's weights are here, and the exact commands that fetch the missing ones."""

from __future__ import annotations

import shlex
from pathlib import Path

from infinitetalk_cli.config.profile import ModelProfile, Profile, WeightsDownload
from infinitetalk_cli.errors import DependencyError


def weights_folder(model: ModelProfile, weights_root: Path) -> Path:
    """Folder of weights that are not built in; a relative one lies below `weights_root`."""
    assert model.builtin_name is None, "built-in weights live in the package"
    return weights_root / Path(model.weights).expanduser()


def missing_downloads(model: ModelProfile, weights_root: Path) -> tuple[WeightsDownload, ...]:
    """The downloads that are incomplete, each reduced to the files that are missing or empty."""
    if model.builtin_name is not None:
        return ()
    folder = weights_folder(model, weights_root)
    incomplete = []
    for download in model.downloads:
        files = tuple(name for name in download.files if not _has_content(folder / download.folder / name))
        if files:
            incomplete.append(download.model_copy(update={"files": files}))
    return tuple(incomplete)


def download_command(download: WeightsDownload, folder: Path) -> str:
    """The `hf download` line that fetches the files of `download` below `folder`."""
    parts = ["hf", "download", download.repo, *download.files]
    if download.revision != "main":
        parts += ["--revision", download.revision]
    return shlex.join([*parts, "--local-dir", str(folder / download.folder)])


def require_weights(profile: Profile, weights_root: Path) -> None:
    """`DependencyError` with what is missing and the commands that fetch it, unless all files are here."""
    missing = missing_downloads(profile.model, weights_root)
    if not missing:
        return
    folder = weights_folder(profile.model, weights_root)
    num_files = sum(len(download.files) for download in missing)
    commands = "\n".join("  " + download_command(download, folder) for download in missing)
    raise DependencyError(
        f"profile '{profile.name}' lacks {num_files} files of its weights in {folder}; fetch them with\n"
        f"{commands}\nor use --profile nano, which is built in"
    )


def _has_content(path: Path) -> bool:
    try:
        return path.is_file() and path.stat().st_size > 0
    except OSError:
        return False
