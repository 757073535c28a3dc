"""A list of jobs as somebody wrote it: rows of texts under the names of options, and what is wrong with them."""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path

import yaml

from infinitetalk_cli.errors import InputError

MAX_LIST_BYTES = 16 * 1024 * 1024
SEPARATOR = "|"
"""Between the values of an option that may be repeated, in one cell of a CSV file."""
_DELIMITERS = ",;\t"
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
_MAX_SHOWN = 30


@dataclass(frozen=True)
class Row:
    """What one row says: option (`camera-lock`) -> its values; `place` is what people find it by."""

    number: int
    place: str
    values: Mapping[str, tuple[str, ...]]


@dataclass
class JobTable:
    """The rows of a list, and a sentence for everything that is wrong with it."""

    path: Path
    rows: list[Row] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def complain(self, place: str, what: str) -> None:
        """Something is wrong at `place`."""
        self.problems.append(f"{place}: {what}")

    def require_sound(self) -> None:
        """Raise `InputError` with all problems, if there are any."""
        if not self.problems:
            return
        shown = [f"{self.path}, {problem}" for problem in self.problems[:_MAX_SHOWN]]
        if len(self.problems) > _MAX_SHOWN:
            shown.append(f"and {len(self.problems) - _MAX_SHOWN} more problems")
        raise InputError("\n".join(shown))


def read_table(path: Path, columns: Collection[str], repeated: Collection[str]) -> JobTable:
    """The rows of a CSV or YAML file whose columns or keys are among `columns`.

    Those that are `repeated` may have several values: a list in YAML, `a.wav | b.wav` in a cell of a CSV file. Row
    numbers are those that a spreadsheet shows: the header of a CSV file is row 1. In a YAML file entries are counted.

    Raises:
        InputError: the file cannot be read as a list at all; problems of single rows are collected.
    """
    is_yaml = path.suffix.lower() in (".yaml", ".yml")
    if not is_yaml and path.suffix.lower() not in (".csv", ".tsv", ".txt"):
        raise InputError(f"{path}: is no list of jobs by its name; it should end in .csv, .yaml or .yml")
    text = _text(path)
    table = JobTable(path)
    if is_yaml:
        _read_yaml(table, text, columns, repeated)
    else:
        _read_csv(table, text, columns, repeated)
    if not table.rows and not table.problems:
        raise InputError(f"{path}: has no jobs; write one row per video, with the columns video and audio at least")
    return table


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_LIST_BYTES + 1)
    except FileNotFoundError as exc:
        raise InputError(f"{path}: no such file; JOBS is a CSV or YAML file with one video per row") from exc
    except OSError as exc:
        raise InputError(f"{path}: cannot be read ({exc.strerror or exc})") from exc
    if len(data) > MAX_LIST_BYTES:
        raise InputError(f"{path}: has more than {MAX_LIST_BYTES // 1024**2} MiB; this is no list of jobs")
    if data.startswith(_UTF16_MARKS):
        raise InputError(f"{path}: is UTF-16 text; save the file as UTF-8")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        row = data[: exc.start].count(b"\n") + 1
        raise InputError(f"{path}, row {row}: is not UTF-8 text; save the file as UTF-8") from exc
    if "\0" in text:
        raise InputError(f"{path}, row {text[: text.index(chr(0))].count(chr(10)) + 1}: is not text")
    return text


def _read_csv(table: JobTable, text: str, columns: Collection[str], repeated: Collection[str]) -> None:
    lines = text.splitlines()
    header_line = next((line for line in lines if line.strip()), "")
    delimiter = max(_DELIMITERS, key=header_line.count)
    header: list[str] | None = None
    records = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        for number, cells in enumerate(records, start=1):
            if not any(cell.strip() for cell in cells):
                continue
            if header is None:
                header = _header(table, number, cells, columns)
            else:
                _add_csv_row(table, number, header, cells, repeated)
    except csv.Error as exc:
        table.complain(f"line {records.line_num}", f"is not valid CSV ({exc}); look at its quotes")


def _header(table: JobTable, number: int, cells: Sequence[str], columns: Collection[str]) -> list[str]:
    names = [option_name(cell) for cell in cells]
    place = f"row {number}"
    for name, cell in zip(names, cells, strict=True):
        if not name:
            table.complain(place, "a column has no name; remove it")
        else:
            _check_name(table, place, name, cell.strip(), columns)
    for name in dict.fromkeys(name for name in names if name and names.count(name) > 1):
        table.complain(place, f"the column '{name}' is there {names.count(name)} times; keep one")
    for name in ("video", "audio"):
        if name not in names:
            table.complain(place, f"there is no column '{name}'; the first row names the columns")
    return names


def _add_csv_row(
    table: JobTable, number: int, header: Sequence[str], cells: Sequence[str], repeated: Collection[str]
) -> None:
    place = f"row {number}"
    if len(cells) > len(header) and any(cell.strip() for cell in cells[len(header) :]):
        table.complain(
            place, f"has {len(cells)} cells, but there are {len(header)} columns; put texts with commas in quotes"
        )
        return
    values = {}
    for name, cell in zip(header, cells, strict=False):
        parts = cell.split(SEPARATOR) if name in repeated else [cell]
        if cell.strip():
            values[name] = tuple(part.strip() for part in parts)
    table.rows.append(Row(number, place, values))


def _read_yaml(table: JobTable, text: str, columns: Collection[str], repeated: Collection[str]) -> None:
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as exc:
        mark = getattr(exc, "problem_mark", None)
        where = "" if mark is None else f", line {mark.line + 1}"
        why = getattr(exc, "problem", None) or "perhaps a control character"
        raise InputError(f"{table.path}{where}: is not valid YAML ({why})") from exc
    except RecursionError as exc:
        raise InputError(f"{table.path}: is nested too deeply; write a list with one entry per video") from exc
    if node is None:
        return
    if not isinstance(node, yaml.SequenceNode):
        raise InputError(f"{table.path}: should be a list: one entry per video, each beginning with '- video: ...'")
    for number, item in enumerate(node.value, start=1):
        place = f"entry {number} (line {item.start_mark.line + 1})"
        if not isinstance(item, yaml.MappingNode):
            table.complain(place, "should have 'video: ...' and 'audio: ...'")
            continue
        values = dict(_yaml_values(table, place, item, columns))
        for name in values.keys() - set(repeated):
            if len(values[name]) > 1:
                table.complain(place, f"'{name}' has {len(values[name])} values, but takes one")
        table.rows.append(Row(number, place, values))


def _yaml_values(
    table: JobTable, place: str, item: yaml.MappingNode, columns: Collection[str]
) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Options and the texts they are written as: what YAML makes of `1:30` or `no` does not matter."""
    seen: set[str] = set()
    for key, value in item.value:
        name = option_name(str(key.value)) if isinstance(key, yaml.ScalarNode) else "?"
        if name in seen:
            table.complain(place, f"'{name}' is given twice; keep one")
        seen.add(name)
        _check_name(table, place, name, name, columns)
        items = value.value if isinstance(value, yaml.SequenceNode) else [value]
        if not all(isinstance(each, yaml.ScalarNode) for each in items):
            table.complain(place, f"'{name}' should be one value, or a list of values")
            continue
        texts = tuple(each.value for each in items if each.tag != "tag:yaml.org,2002:null")
        if texts:
            yield name, texts


def option_name(written: str) -> str:
    """`Camera_Lock ` and `--camera-lock` are both `camera-lock`."""
    return written.strip().lower().lstrip("-").replace("_", "-").replace(" ", "-")


def _check_name(table: JobTable, place: str, name: str, shown: str, columns: Collection[str]) -> None:
    if name in columns:
        return
    close = get_close_matches(name, columns, n=1)
    hint = f"did you mean '{close[0]}'?" if close else "columns have the names of the options of `infinitetalk dub`"
    table.complain(place, f"unknown column '{shown}'; {hint}")
