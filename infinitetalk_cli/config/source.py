"""A YAML file as a tree of values that remember where they were written.

YAML is the one door that users write by hand, so nothing is repaired here: what YAML reads differently from
how it looks (`1:30` as ninety, `010` as eight) is a problem with a line number, not a value.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TypeAlias

import yaml

from infinitetalk_cli.errors import ProfileError

MAX_PROFILE_BYTES = 256 * 1024
MAX_DEPTH = 20  # of nesting; the YAML reader takes quadratic time over [[[[

Scalar: TypeAlias = "str | int | float | bool | None"

_TAG = "tag:yaml.org,2002:"
_KNOWN_TAGS = {_TAG + kind for kind in ("str", "int", "float", "bool", "null")}
_OCTAL = re.compile(r"[-+]?0[0-7_]+")


@dataclass(frozen=True)
class Origin:
    """Where a value was written: a line of a file, or an option of the command line (`line` None)."""

    source: str
    line: int | None = None

    def __str__(self) -> str:
        return self.source if self.line is None else f"{self.source}:{self.line}"


@dataclass(frozen=True)
class Entry:
    """One value with its origin; `written` is the bare text of a scalar, None if quoted or not from YAML."""

    value: dict[str, Entry] | list[Entry] | Scalar
    origin: Origin
    written: str | None = None

    @property
    def section(self) -> dict[str, Entry]:
        """The settings below this one, which is known to have some."""
        assert isinstance(self.value, dict), f"{self.origin} is not a section"
        return self.value


@dataclass(frozen=True)
class Problem:
    """One thing wrong with a setting."""

    origin: Origin
    key: str
    what: str

    def __str__(self) -> str:
        if self.origin.line is None or not self.key:
            return f"{self.origin}: {self.what}"
        return f"{self.origin}: {self.key}: {self.what}"


@dataclass
class Layer:
    """What one file says, and what is wrong with how it says it."""

    root: Entry
    problems: list[Problem] = field(default_factory=list)


def dotted(keys: tuple[str | int, ...]) -> str:
    """`sampling.num_steps`, `model.downloads[0].files`."""
    text = ""
    for key in keys:
        text += f"[{key}]" if isinstance(key, int) else f".{key}" if text else key
    return text


def shown_path(path: Path) -> str:
    """`path` as a person would type it here: relative to the current folder where that is shorter."""
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except (ValueError, OSError):
        return str(path)


def read_layer(path: Path) -> Layer:
    """The settings in a YAML file; `ProfileError` if it is not readable as one mapping."""
    shown = shown_path(path)
    text = _read_text(path, shown)
    try:
        node = _composed(text, shown)
        if node is None:
            raise ProfileError(f"{shown}: is empty; start from the output of --print-profile")
        if not isinstance(node, yaml.MappingNode):
            raise ProfileError(f"{shown}:{_line(node)}: expected settings as 'key: value' lines")
        layer = Layer(Entry({}, Origin(shown, _line(node))))
        layer.root.section.update(_Reader(shown, layer.problems).mapping(node, ()))
        return layer
    except yaml.YAMLError as exc:
        raise ProfileError(_syntax_message(exc, text, shown)) from exc
    except RecursionError as exc:
        raise ProfileError(f"{shown}: is nested too deeply for a profile") from exc


@lru_cache(maxsize=64)
def _composed(text: str, shown: str) -> yaml.Node | None:
    """The nodes of a file. Choosing a profile reads the same few again and again, and batches do so for every row."""
    _refuse_anchors_and_depth(text, shown)
    return yaml.compose(text, Loader=yaml.SafeLoader)


def _read_text(path: Path, shown: str) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_PROFILE_BYTES + 1)
    except FileNotFoundError as exc:
        raise ProfileError(f"{shown}: no such profile file") from exc
    except OSError as exc:
        raise ProfileError(f"{shown}: cannot be read ({exc.strerror or exc})") from exc
    if len(data) > MAX_PROFILE_BYTES:
        raise ProfileError(f"{shown}: has more than {MAX_PROFILE_BYTES // 1024} KiB; this is not a profile")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        line = data[: exc.start].count(b"\n") + 1
        raise ProfileError(f"{shown}:{line}: is not UTF-8 text; save the file as UTF-8") from exc


def _refuse_anchors_and_depth(text: str, shown: str) -> None:
    depth = 0
    for token in yaml.scan(text, Loader=yaml.SafeLoader):
        depth += isinstance(token, yaml.FlowSequenceStartToken | yaml.FlowMappingStartToken)
        depth -= isinstance(token, yaml.FlowSequenceEndToken | yaml.FlowMappingEndToken)
        if depth > MAX_DEPTH:
            raise ProfileError(f"{shown}:{token.start_mark.line + 1}: is nested too deeply for a profile")
        if isinstance(token, yaml.AliasToken | yaml.AnchorToken):
            raise ProfileError(
                f"{shown}:{token.start_mark.line + 1}: YAML anchors (& and *) are not used in profiles; "
                "repeat the value, or share it with 'extends: NAME' (quote text that begins with & or *)"
            )


def _syntax_message(exc: yaml.YAMLError, text: str, shown: str) -> str:
    if isinstance(exc, yaml.reader.ReaderError):
        number = text[: exc.position].count("\n") + 1
        return f"{shown}:{number}: contains a control character; is this a text file?"
    if not isinstance(exc, yaml.MarkedYAMLError) or exc.problem_mark is None:
        return f"{shown}: is not valid YAML"
    index = exc.problem_mark.line
    lines = text.splitlines()
    line = lines[index] if index < len(lines) else ""
    indentation = line[: len(line) - len(line.lstrip())]
    if "\t" in indentation or line[exc.problem_mark.column :].startswith("\t"):
        return f"{shown}:{index + 1}: a tab is used for indentation; YAML wants spaces"
    return f"{shown}:{index + 1}: is not valid YAML ({exc.problem})"


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


class _Reader:
    """Turns composed nodes into entries, collecting problems on the way."""

    def __init__(self, shown: str, problems: list[Problem]) -> None:
        self._shown = shown
        self._problems = problems
        self._constructor = yaml.SafeLoader("")

    def mapping(self, node: yaml.MappingNode, keys: tuple[str | int, ...]) -> dict[str, Entry]:
        entries: dict[str, Entry] = {}
        for key_node, value_node in node.value:
            key = self._key(key_node, keys)
            if key is None:
                continue
            if key in entries:
                self._report(key_node, (*keys, key), f"given twice, first in line {entries[key].origin.line}; keep one")
                continue
            entries[key] = self._entry(value_node, (*keys, key), line=_line(key_node))
        return entries

    def _key(self, node: yaml.Node, keys: tuple[str | int, ...]) -> str | None:
        if isinstance(node, yaml.ScalarNode) and node.tag == _TAG + "str":
            return str(node.value)
        text = node.value if isinstance(node, yaml.ScalarNode) else "?"
        self._report(node, keys, f"'{text}' cannot be a key; the keys of a profile are names")
        return None

    def _entry(self, node: yaml.Node, keys: tuple[str | int, ...], line: int) -> Entry:
        origin = Origin(self._shown, line)
        if len(keys) > MAX_DEPTH:
            raise ProfileError(f"{origin}: is nested too deeply for a profile")
        if isinstance(node, yaml.MappingNode) and node.tag == _TAG + "map":
            return Entry(self.mapping(node, keys), origin)
        if isinstance(node, yaml.SequenceNode) and node.tag == _TAG + "seq":
            items = [self._entry(item, (*keys, index), _line(item)) for index, item in enumerate(node.value)]
            return Entry(items, origin)
        if isinstance(node, yaml.ScalarNode):
            return Entry(self._scalar(node, keys), origin, None if node.style else node.value)
        self._report(node, keys, f"has the YAML tag {node.tag}, which profiles do not use; remove it")
        return Entry(None, origin)

    def _scalar(self, node: yaml.ScalarNode, keys: tuple[str | int, ...]) -> Scalar:
        text = node.value
        if node.tag == _TAG + "timestamp":
            self._report(node, keys, f"YAML reads {text} as a date; put it in quotes if it is text")
            return None
        if node.tag not in _KNOWN_TAGS:
            self._report(node, keys, f"has the YAML tag {node.tag}, which profiles do not use; remove it")
            return None
        try:
            value: Scalar = self._constructor.construct_object(node)
        except (ValueError, yaml.YAMLError):  # `!!int x`, or a number longer than Python converts
            self._report(node, keys, f"'{text[:40]}' is not a valid {node.tag.removeprefix(_TAG)}")
            return None
        if isinstance(value, int | float) and not isinstance(value, bool):
            reads = f"YAML reads {text} as {value}"
            if ":" in text:
                self._report(node, keys, f"{reads} (base sixty); write the number itself")
            elif isinstance(value, int) and _OCTAL.fullmatch(text):
                self._report(node, keys, f"{reads} (octal); write it without the leading 0")
        return value

    def _report(self, node: yaml.Node, keys: tuple[str | int, ...], what: str) -> None:
        self._problems.append(Problem(Origin(self._shown, _line(node)), dotted(keys), what))
