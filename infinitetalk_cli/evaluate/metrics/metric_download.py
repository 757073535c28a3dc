"""Getting the metrics' weight files from where they are published: plain downloads, resumed, their hash compared."""

from __future__ import annotations

import http.client
import shutil
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from infinitetalk_cli import __version__
from infinitetalk_cli.cache.files import sha256_of
from infinitetalk_cli.checkpoints.fetch import SPARE_BYTES
from infinitetalk_cli.errors import DependencyError, ResourceError, writing_to
from infinitetalk_cli.evaluate.metrics.metric_weights import METRIC_FILES, MetricFile, check_content, find
from infinitetalk_cli.progress import Progress

PART_SUFFIX = ".part"
_PIECE_BYTES = 1 << 20
_TIMEOUT_S = 60


@dataclass(frozen=True)
class Fetch:
    """One address and the files that come from it; more than one of an archive."""

    url: str
    files: tuple[MetricFile, ...]
    folder: Path

    @property
    def part(self) -> Path:
        """Where what has arrived is kept until it is whole."""
        name = PurePosixPath(self.url.split("?", maxsplit=1)[0]).name
        return self.folder / f"{name}{PART_SUFFIX}"


def plan_fetches(names: Sequence[str], folders: Sequence[Path]) -> list[Fetch]:
    """What has to be fetched so that all of the files `names` are here; into the first of `folders`."""
    missing = [METRIC_FILES[name] for name in dict.fromkeys(names) if find(name, folders) is None]
    by_url: dict[str, list[MetricFile]] = {}
    for file in missing:
        by_url.setdefault(file.url, []).append(file)
    return [Fetch(url, tuple(files), folders[0]) for url, files in by_url.items()]


def check_space(plans: Sequence[Fetch]) -> None:
    """Make sure that all of `plans` fit on the disk; an archive needs room beside what is taken out of it.

    Raises:
        ResourceError: they do not.
    """
    needed = sum(file.size_bytes * (1 if file.member is None else 2) for plan in plans for file in plan.files)
    if not needed:
        return
    folder = plans[0].folder.absolute()
    disk = next(place for place in (folder, *folder.parents) if place.is_dir())
    free = shutil.disk_usage(disk).free
    if needed + SPARE_BYTES > free:
        raise ResourceError(
            f"{disk}: the metrics' weights need {needed / 1e9:.1f} GB, {free / 1e9:.1f} GB are free; free some, or "
            "choose another disk with --metrics-dir"
        )


def fetch(plan: Fetch, progress: Progress) -> list[Path]:
    """Get the files of `plan`; what an earlier, interrupted call got is not fetched again.

    Raises:
        DependencyError: the address cannot be reached, or gives other files than the published ones.
        ResourceError, OutputError: the disk is full or cannot be written.
    """
    with writing_to(plan.folder):
        plan.folder.mkdir(parents=True, exist_ok=True)
        with _reaching(plan.url):
            _download(plan.url, plan.part, progress)
        try:
            placed = [_place(plan, file) for file in plan.files]
        finally:
            # Whole by now: either used, or wrong and of no use to the next attempt.
            plan.part.unlink(missing_ok=True)
    return placed


def _download(url: str, part: Path, progress: Progress) -> None:
    have = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"User-Agent": f"infinitetalk/{__version__}"})
    if have:
        request.add_header("Range", f"bytes={have}-")
    try:
        response = urllib.request.urlopen(request, timeout=_TIMEOUT_S)
    except urllib.error.HTTPError as exc:
        if have and exc.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            return  # nothing lies beyond what is here; the hash will tell
        raise
    with response:
        if response.status != http.HTTPStatus.PARTIAL_CONTENT:
            have = 0  # the server starts over
        length = response.headers.get("Content-Length")
        total = have + int(length) if length is not None else None
        progress.start(f"fetch {part.name.removesuffix(PART_SUFFIX)}", total, have)
        with part.open("ab" if have else "wb") as target:
            while piece := response.read(_PIECE_BYTES):
                target.write(piece)
                have += len(piece)
                progress.advance(len(piece))
    if total is not None and have < total:
        raise http.client.IncompleteRead(b"", total - have)


def _place(plan: Fetch, file: MetricFile) -> Path:
    """Put `file` out of what has arrived into its place, if it is the published one."""
    target = plan.folder / file.name
    if file.member is None:
        check_content(plan.part, sha256_of(plan.part), file)
        return plan.part.rename(target)
    unpacked = target.with_name(f"{target.name}{PART_SUFFIX}")
    try:
        check_content(plan.part, _unpack(plan, file, unpacked), file)
        return unpacked.rename(target)
    finally:
        unpacked.unlink(missing_ok=True)


def _unpack(plan: Fetch, file: MetricFile, target: Path) -> str:
    """Write the member of the archive that `file` is; returns its hash. Packs differ in whether they hold a folder."""
    try:
        with zipfile.ZipFile(plan.part) as archive:
            inside = [info for info in archive.infolist() if PurePosixPath(info.filename).name == file.member]
            if len(inside) != 1 or inside[0].file_size != file.size_bytes:
                raise DependencyError(f"{plan.url}: holds no {file.member} of {file.size_bytes} bytes; {_BY_HAND}")
            with archive.open(inside[0]) as source, target.open("wb") as out:
                shutil.copyfileobj(source, out, _PIECE_BYTES)
    except zipfile.BadZipFile as exc:
        raise DependencyError(f"{plan.url}: gave no zip archive; {_BY_HAND}") from exc
    return sha256_of(target)


_BY_HAND = "get the file by hand and place it in the folder of the metrics' weights (docs/metrics.md)"


@contextmanager
def _reaching(url: str) -> Iterator[None]:
    """Whatever goes wrong on the way to `url` becomes one sentence."""
    try:
        yield
    except urllib.error.HTTPError as exc:
        raise DependencyError(f"{url}: answered {exc.code}; {_BY_HAND}") from exc
    except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError) as exc:
        raise DependencyError(
            f"{url}: cannot be reached, or broke off; check the connection and run the same command again, "
            "what has arrived is kept"
        ) from exc
