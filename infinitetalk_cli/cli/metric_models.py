"""The weights of metrics in `infinitetalk models`: `metrics` for all of them, `metrics/fid` for those of one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from infinitetalk_cli.cache.files import sha256_of
from infinitetalk_cli.errors import DependencyError
from infinitetalk_cli.evaluate.metrics.metric_weights import (
    METRIC_FILES,
    WEIGHT_SETS,
    MetricFile,
    check_content,
    find,
    missing_sentence,
    smallest_set,
)
from infinitetalk_cli.sizes import shown_bytes

if TYPE_CHECKING:
    from infinitetalk_cli.evaluate.metrics.metric_download import Fetch
    from infinitetalk_cli.progress import Progress


@dataclass(frozen=True)
class MetricRow:
    """One file and what is here of it."""

    file: MetricFile
    place: Path | None

    @property
    def cells(self) -> tuple[str, ...]:
        """Name, size, state and licence, for the table."""
        state = f"missing ({smallest_set(self.file.name)})" if self.place is None else "here"
        return (self.file.name, shown_bytes(self.file.size_bytes), state, self.file.licence or "not known")

    def as_dict(self) -> dict[str, Any]:
        """Plain data for `--json`."""
        return {
            "name": self.file.name,
            "about": self.file.about,
            "sets": [name for name, files in WEIGHT_SETS.items() if self.file.name in files],
            "licence": self.file.licence,
            "publisher": self.file.publisher,
            "url": self.file.url,
            "size_bytes": self.file.size_bytes,
            "sha256": self.file.sha256,
            "complete": self.place is not None,
            "place": None if self.place is None else str(self.place),
        }


def apart(names: Iterable[str]) -> tuple[list[str], list[str]]:
    """`names` of metrics' weights, and the other ones."""
    given = list(names)
    return [name for name in given if name in WEIGHT_SETS], [name for name in given if name not in WEIGHT_SETS]


def files_of(sets: Sequence[str]) -> list[str]:
    """The files that `sets` stand for."""
    return list(dict.fromkeys(file for name in sets for file in WEIGHT_SETS[name]))


def rows(folders: Sequence[Path], sets: Sequence[str] | None = None) -> list[MetricRow]:
    """All files, or those of `sets`."""
    names = list(METRIC_FILES) if sets is None else files_of(sets)
    return [MetricRow(METRIC_FILES[name], find(name, folders)) for name in names]


def plans(sets: Sequence[str], folders: Sequence[Path]) -> list[Fetch]:
    """What a pull of `sets` has to fetch."""
    from infinitetalk_cli.evaluate.metrics.metric_download import check_space, plan_fetches

    planned = plan_fetches(files_of(sets), folders)
    check_space(planned)
    return planned


def plan_sentence(sets: Sequence[str], planned: Sequence[Fetch]) -> str:
    """What will be fetched, in one sentence."""
    missing = [file for plan in planned for file in plan.files]
    if not missing:
        return f"{', '.join(sets)}: all here"
    size = shown_bytes(sum(file.size_bytes for file in missing))
    names = ", ".join(f"{file.name} ({file.licence or 'licence not known'})" for file in missing)
    return f"{', '.join(sets)}: {size} to get into {planned[0].folder}: {names}"


def pull(planned: Sequence[Fetch], progress: Progress) -> list[Path]:
    """Fetch all of `planned`; the places of the files."""
    from infinitetalk_cli.evaluate.metrics.metric_download import fetch

    return [place for plan in planned for place in fetch(plan, progress)]


def pulled_document(sets: Sequence[str], folders: Sequence[Path], planned: Sequence[Fetch]) -> list[dict[str, Any]]:
    """Of every file of `sets`: where it is, and whether it was, or would be, fetched."""
    fetched = {file.name for plan in planned for file in plan.files}
    return [{**row.as_dict(), "fetched": row.file.name in fetched} for row in rows(folders, sets)]


def verified(sets: Sequence[str], folders: Sequence[Path], progress: Progress) -> list[dict[str, Any]]:
    """Of every file of `sets`: whether it is here and the published one; its whole content is read."""
    found = []
    for row in rows(folders, sets):
        problems = ["not here"]
        if row.place is not None:
            progress.start(f"read {row.file.name}", row.file.size_bytes)
            problems = _problems(row.place, row.file, progress)
        place = None if row.place is None else str(row.place)
        found.append({"name": row.file.name, "good": not problems, "place": place, "problems": problems})
    return found


def places(sets: Sequence[str], folders: Sequence[Path]) -> list[MetricRow]:
    """The rows of `sets`, all of which have to be here.

    Raises:
        DependencyError: one is missing.
    """
    found = rows(folders, sets)
    absent = [row.file.name for row in found if row.place is None]
    if absent:
        raise DependencyError(missing_sentence(", ".join(sets), absent, folders))
    return found


def _problems(place: Path, file: MetricFile, progress: Progress) -> list[str]:
    try:
        check_content(place, sha256_of(place, progress.advance), file)
    except DependencyError as exc:
        return [str(exc)]
    return []
