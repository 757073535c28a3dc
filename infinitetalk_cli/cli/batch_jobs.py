"""From the rows of a list to jobs: each row is read as the command line of `dub` that it stands for."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args, get_origin

import typer

from infinitetalk_cli.cli.dub_options import dub_request
from infinitetalk_cli.cli.signatures import parameters, parsed_by
from infinitetalk_cli.errors import InfiniteTalkError

if TYPE_CHECKING:
    from infinitetalk_cli.batch.jobs import BatchJob
    from infinitetalk_cli.batch.rows import JobTable, Row
    from infinitetalk_cli.pipeline.request import DubRequest

ONE_FOR_ALL = ("cache_dir", "cache_size", "no_wait")
"""Options of `dub` that no row can have for itself."""
NOT_FOR_ALL = ("video", "audio", "output", "no_wait")
"""Options of `dub` that the command line cannot give for all rows."""

_YES, _NO = frozenset("true yes y on 1 x".split()), frozenset("false no n off 0".split())
_WrongUsage = typer.BadParameter.__base__
assert _WrongUsage is not None  # the base of all that is wrong with a command line, typer's own or click's


@dataclass(frozen=True)
class Column:
    """An option of `dub` as a column of a list."""

    name: str
    is_flag: bool
    is_repeated: bool
    is_path: bool


@cache
def columns() -> Mapping[str, Column]:
    """All columns that a list may have, by name: the long options of `dub`."""
    found = (_column(item.name, get_args(item.annotation)[0]) for item in parameters(dub_request, ONE_FOR_ALL))
    return {column.name: column for column in found}


def repeated_columns() -> frozenset[str]:
    """Those that may have several values."""
    return frozenset(name for name, column in columns().items() if column.is_repeated)


def _column(name: str, kind: Any) -> Column:
    kinds = (kind, *get_args(kind), *(inner for item in get_args(kind) for inner in get_args(item)))
    is_repeated = any(get_origin(item) is list for item in kinds)
    return Column(name.replace("_", "-"), kind is bool, is_repeated, any(item is Path for item in kinds))


def read_jobs(table: JobTable, base: Path, given: Mapping[str, Any], output_dir: Path | None = None) -> list[BatchJob]:
    """The jobs of all rows; relative paths count from `base`. `given` are options of the command line, for all rows.

    What a row says itself counts more than the command line. Results of rows that name none go to `output_dir`.

    Raises:
        InputError: everything that is wrong with any row, before anything is computed.
    """
    from infinitetalk_cli.batch.jobs import BatchJob

    everywhere = {name: value for name, value in given.items() if name in ("cache_dir", "cache_size")}
    common = {name.replace("_", "-"): _texts(value) for name, value in given.items() if name not in everywhere}
    always = [f"--{name.replace('_', '-')}={value}" for name, value in everywhere.items()]
    parse, check = parsed_by(dub_request), _Checker(table)
    jobs = []
    for row in table.rows:
        complain = _complaints(table, row)
        words = [*always, *_words({**common, **row.values}, row.values, base, complain)]
        missing = [name for name in ("video", "audio") if not row.values.get(name)]
        if missing:
            complain(f"has no {' and no '.join(missing)}")
            continue
        try:
            request: DubRequest = parse([*words, "--", str(_resolved("video", row.values["video"][0], base))])
        except _WrongUsage as exc:
            complain(exc.format_message())
            continue
        request = _placed(request, output_dir)
        check(row, request)
        jobs.append(BatchJob(row.number, row.place, replace(request, wait_for_lock=False)))
    table.require_sound()
    return jobs


def _complaints(table: JobTable, row: Row) -> Callable[[str], None]:
    return lambda what: table.complain(row.place, what)


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(map(str, value)) if isinstance(value, list | tuple) else (str(value),)


def _words(
    values: Mapping[str, Sequence[str]], own: Mapping[str, Sequence[str]], base: Path, complain: Callable[[str], None]
) -> Iterator[str]:
    """The words of a command line that say `values`; paths of the row's `own` count from `base`."""
    for name, texts in values.items():
        column = columns().get(name)
        if column is None or name == "video":  # an unknown one was complained of before
            continue
        if not column.is_flag:
            folder = base if name in own else Path.cwd()
            yield from (f"--{name}={_resolved(name, text, folder)}" for text in texts)
        elif texts[0].strip().lower() in _YES:
            yield f"--{name}"
        elif texts[0].strip().lower() not in _NO:
            complain(f"'{name}' is {texts[0]!r}; write yes or no")


def _resolved(name: str, text: str, base: Path) -> str:
    """`text` with an absolute path, where it is one."""
    whole = str(Path(os.path.abspath(base)) / Path(text).expanduser())
    if columns()[name].is_path:
        return whole
    if name == "scenes" and text not in ("auto", "off"):
        return whole
    if name == "profile" and (Path(text).suffix in (".yaml", ".yml") or "/" in text or os.sep in text):
        return whole
    if name == "lora" and any(Path(candidate).is_file() for candidate in (whole, whole.rpartition(":")[0])):
        return whole
    return text


def _placed(request: DubRequest, output_dir: Path | None) -> DubRequest:
    """With a place for the result: a file in `output_dir` where the row names none."""
    from infinitetalk_cli.pipeline.preparing import output_path

    if request.output is None and output_dir is not None:
        request = replace(request, output=output_dir.absolute() / output_path(request).name)
    return request


class _Checker:
    """What can be known of a row without opening a video: its files, its profile, and whether its output is its own."""

    def __init__(self, table: JobTable) -> None:
        self._table = table
        self._outputs: dict[str, str] = {}
        self._profiles: dict[str, str | None] = {}

    def __call__(self, row: Row, request: DubRequest) -> None:
        """Complain of whatever is wrong with `row`."""
        for path, what in _files(request):
            if not path.is_file():
                self._table.complain(row.place, f"{what} {path} {'is a folder' if path.is_dir() else 'does not exist'}")
        try:
            self._check_output(row, request)
        except InfiniteTalkError as exc:
            self._table.complain(row.place, str(exc))
        wrong = self._wrong_profile(request)
        if wrong is not None:
            self._table.complain(row.place, wrong)

    def _check_output(self, row: Row, request: DubRequest) -> None:
        from infinitetalk_cli.pipeline.preparing import output_path

        output = os.path.realpath(output_path(request))
        if output in self._outputs:
            self._table.complain(row.place, f"has the same output as {self._outputs[output]}: {output}")
        self._outputs.setdefault(output, row.place)

    def _wrong_profile(self, request: DubRequest) -> str | None:
        """What is wrong with the profile and its settings; every combination is looked at once."""
        key = repr((request.profile, request.overrides, len(request.audio), request.diarize, request.weights_root))
        if key not in self._profiles:
            self._profiles[key] = _profile_error(request)
        return self._profiles[key]


def _profile_error(request: DubRequest) -> str | None:
    from infinitetalk_cli.cache.store import Store
    from infinitetalk_cli.pipeline.choose import choose_profile

    store, num_people = Store(request.cache_root), 2 if request.diarize else len(request.audio)
    weights_root = request.weights_root or store.root / "weights"
    try:
        choose_profile(request.profile, request.overrides, "of no job", store, weights_root, num_people)
    except InfiniteTalkError as exc:
        return str(exc).replace("\n", "; ")
    return None


def _files(request: DubRequest) -> Iterator[tuple[Path, str]]:
    yield request.video, "video"
    yield from ((path, "audio") for path in request.audio)
    yield from ((path, "speech") for path in request.speech)
    if request.scene_list is not None:
        yield request.scene_list, "list of scenes"
