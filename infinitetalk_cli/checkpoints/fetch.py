"""Getting weights from the hub: only the files of one layout, with the library's resume and progress.

The files go into the hub's own cache, or into the weights folder, laid out as published.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from infinitetalk_cli.checkpoints.catalog import Publication
from infinitetalk_cli.checkpoints.pins import Pin, write_pin
from infinitetalk_cli.checkpoints.places import hub_commit
from infinitetalk_cli.errors import DependencyError, ResourceError, writing_to

SPARE_BYTES = 512 * 1024**2
"""Room that stays free on the disk beside the weights."""


@dataclass(frozen=True)
class RemoteFile:
    """A file as the hub describes it; `sha256` is stated for large files only."""

    path: str
    size_bytes: int
    sha256: str | None
    is_here: bool


@dataclass(frozen=True)
class Download:
    """What a pull will do: `files` of `publication` at `commit`, into `folder`, or the hub's cache if that is None."""

    publication: Publication
    commit: str
    files: tuple[RemoteFile, ...]
    folder: Path | None

    @property
    def total_bytes(self) -> int:
        """Size of all files."""
        return sum(file.size_bytes for file in self.files)

    @property
    def missing_bytes(self) -> int:
        """Size of the files that are not here yet."""
        return sum(file.size_bytes for file in self.files if not file.is_here)


def plan_download(publication: Publication, weights_root: Path, into_folder: bool) -> Download:
    """Ask the hub which files `publication` consists of, and look which of them are here.

    Raises:
        DependencyError: the hub cannot be reached, or has other files than the catalogue says.
    """
    from huggingface_hub import HfApi

    repo = publication.repo
    with _hub_errors(repo):
        revision = hub_commit(publication, weights_root) or "main"
        info = HfApi().model_info(repo, revision=revision, files_metadata=True)
    folder = weights_root / publication.folder if into_folder else None
    offered = {sibling.rfilename: sibling for sibling in info.siblings or ()}
    files = []
    for path in _wanted(publication, list(offered), info.sha):
        size_bytes, lfs = offered[path].size or 0, offered[path].lfs
        is_here = _is_here(repo, info.sha, path, size_bytes, folder)
        files.append(RemoteFile(path, size_bytes, lfs.sha256 if lfs is not None else None, is_here))
    download = Download(publication, info.sha, tuple(files), folder)
    _check_hashes(download)
    return download


def check_space(downloads: Sequence[Download]) -> None:
    """Make sure that all of `downloads` fit on their disks.

    Raises:
        ResourceError: they do not; the message says how much is missing.
    """
    needed: dict[Path, int] = {}
    for download in downloads:
        disk = _existing(download.folder or _hub_cache())
        needed[disk] = needed.get(disk, 0) + download.missing_bytes
    for disk, size_bytes in needed.items():
        free_bytes = shutil.disk_usage(disk).free
        if size_bytes and size_bytes + SPARE_BYTES > free_bytes:
            raise ResourceError(
                f"{disk}: {size_bytes / 1e9:.1f} GB of weights do not fit, {free_bytes / 1e9:.1f} GB are free; "
                "free some, or choose another disk with --weights-dir"
            )


def fetch(download: Download, weights_root: Path) -> Path:
    """Get what is missing; returns the folder. What an earlier, interrupted call got is not fetched again.

    Raises:
        DependencyError: the hub refused or could not be reached.
        ResourceError, OutputError: the disk is full or cannot be written.
    """
    from huggingface_hub import snapshot_download

    target = download.folder or _hub_cache()
    with writing_to(target), _hub_errors(download.publication.repo):
        place = snapshot_download(
            download.publication.repo,
            revision=download.commit,
            local_dir=download.folder,
            allow_patterns=[file.path for file in download.files],
        )
    hashes = {file.path: file.sha256 for file in download.files if file.sha256 is not None}
    write_pin(weights_root, download.publication.repo, Pin(commit=download.commit, sha256=hashes))
    return Path(place)


def _wanted(publication: Publication, offered: Sequence[str], commit: str) -> Iterator[str]:
    for file in publication.files:
        matches = [path for path in offered if fnmatch(path, file.path)]
        if not matches:
            raise DependencyError(
                f"{publication.repo}: commit {commit[:12]} has no {file.path}; its files have changed, "
                "get them from its page on the hub and name the folder with --weights-dir"
            )
        yield from matches


def _check_hashes(download: Download) -> None:
    """The hub's files must be the ones that the catalogue means, where it says which."""
    known = {file.path: file.sha256 for file in download.publication.files if file.sha256 is not None}
    other = [file.path for file in download.files if file.sha256 and known.get(file.path, file.sha256) != file.sha256]
    if other:
        raise DependencyError(
            f"{download.publication.repo}: {', '.join(other)} is not the file this version of infinitetalk was made "
            "for (its SHA-256 differs); update infinitetalk, or get the file yourself and name its path in the profile"
        )


def _is_here(repo: str, commit: str, path: str, size_bytes: int, folder: Path | None) -> bool:
    from huggingface_hub import try_to_load_from_cache

    if folder is None:
        return isinstance(try_to_load_from_cache(repo, path, revision=commit), str)
    local = folder / path
    return local.is_file() and local.stat().st_size == size_bytes


def _hub_cache() -> Path:
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE)


def _existing(folder: Path) -> Path:
    """`folder`, or the nearest folder above it that exists."""
    return next(place for place in (folder.absolute(), *folder.absolute().parents) if place.is_dir())


@contextmanager
def _hub_errors(repo: str) -> Iterator[None]:
    """Whatever the hub or the way to it answers becomes one sentence."""
    from huggingface_hub import errors

    page = f"https://huggingface.co/{repo}"
    unreachable = [errors.HTTPError, errors.LocalEntryNotFoundError, ConnectionError, TimeoutError]
    if hasattr(errors, "XetDownloadError"):  # since huggingface_hub 1
        unreachable.append(errors.XetDownloadError)
    try:
        yield
    except errors.GatedRepoError as exc:
        raise DependencyError(
            f"{repo}: is given only to those who accept its conditions; do so at {page}, "
            "log in with `hf auth login`, and run the same command again"
        ) from exc
    except errors.RepositoryNotFoundError as exc:
        raise DependencyError(f"{repo}: the hub has no such repository, or not for you; see {page}") from exc
    except errors.RevisionNotFoundError as exc:
        raise DependencyError(f"{repo}: the pinned commit is not there any more; update infinitetalk") from exc
    except errors.OfflineModeIsEnabled as exc:
        raise DependencyError(f"{repo}: cannot be pulled offline; unset HF_HUB_OFFLINE") from exc
    except tuple(unreachable) as exc:
        response = getattr(exc, "response", None)
        answer = f"answered {response.status_code}" if response is not None else "cannot be reached"
        raise DependencyError(
            f"{repo}: the hub {answer}; check the connection and run the same command again, what has arrived is kept"
        ) from exc
