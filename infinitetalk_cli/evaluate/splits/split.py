"""A split: a small YAML file that says which clips are dubbed and whose audio each of them gets."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, ValidationError, field_validator, model_validator

from infinitetalk_cli.cache.files import write_text_atomic
from infinitetalk_cli.config.explain import explain
from infinitetalk_cli.config.load import plain, report
from infinitetalk_cli.config.profile import Settings
from infinitetalk_cli.config.source import Entry, Problem, read_layer, shown_path
from infinitetalk_cli.errors import ProfileError

SCHEMA = 1
_ID = re.compile(r"[^./\\\x00-\x1f][^/\\\x00-\x1f]{0,149}")
SPLIT_NAME = re.compile(r"[\w][\w.-]{0,99}")
Seconds = Annotated[float, Field(ge=0.0)]


class Prepare(Settings):
    """What every source is turned into before anything else, once; that file is the reference of every metric."""

    fps: Literal[25] = 25
    size: int = Field(default=480, ge=64, le=2048, multiple_of=16)
    crop: Literal["center-square"] = "center-square"
    audio_hz: Literal[16000] = 16000
    max_seconds: float | None = Field(default=None, gt=0.0)


class Provenance(Settings):
    """Where a clip is from; nothing reads it but people."""

    youtube: str | None = None
    start: str | None = None
    end: str | None = None


class SplitItem(Settings):
    """One clip. `video`: relative path, or several spellings of it; `end` None: to the end.

    `crop` and `face` are x, y, width, height in pixels of the upright source, before scaling: the crop that a dataset
    prescribes, and a face that detectors need not look for. `audio_from` is the id whose sound this clip is given.
    `sha256` None: the video is not checked.
    """

    id: str
    video: tuple[str, ...]
    start: Seconds = 0.0
    end: float | None = Field(default=None, gt=0.0)
    crop: tuple[int, int, int, int] | None = None
    face: tuple[int, int, int, int] | None = None
    audio_from: str
    source: Provenance | None = None
    sha256: str | None = Field(default=None, pattern="^[0-9a-f]{64}$")

    @field_validator("id")
    @classmethod
    def _names_files(cls, value: str) -> str:
        if not _ID.fullmatch(value):
            raise ValueError("must be fit for a file name: no slashes, no dot in front, at most 150 characters")
        return value

    @field_validator("video", mode="before")
    @classmethod
    def _one_or_several(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    @field_validator("video")
    @classmethod
    def _inside(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for text in value:
            path = PurePosixPath(text)
            if not text or path.is_absolute() or ".." in path.parts:
                raise ValueError(f"'{text}' must be a path below the folder of videos")
        if not value:
            raise ValueError("must name a video")
        return value

    @field_validator("crop", "face")
    @classmethod
    def _covers_something(cls, value: tuple[int, int, int, int] | None) -> tuple[int, int, int, int] | None:
        if value is not None and (min(value[:2]) < 0 or min(value[2:]) < 1):
            raise ValueError("must be x, y, width, height in pixels, x and y at least 0")
        return value

    @model_validator(mode="after")
    def _ordered(self) -> SplitItem:
        if self.end is not None and self.end <= self.start:
            raise ValueError("end must lie after start")
        return self


class SourceList(Settings):
    """A public list that a split was made from."""

    file: str
    sha256: str
    revision: str | None = None


class Split(Settings):
    """Clips and whose audio each gets. `permutation`: how the donors were chosen; `lists`: what ids were read from."""

    schema_: Literal[1] = Field(alias="schema")
    name: str = Field(pattern=f"^{SPLIT_NAME.pattern}$")
    dataset: str
    seed: int
    permutation: Literal["sha256-cycle", "own"] = "sha256-cycle"
    lists: tuple[SourceList, ...] = ()
    prepare: Prepare = Prepare()
    items: tuple[SplitItem, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _consistent(self) -> Split:
        twice = [name for name, count in Counter(item.id for item in self.items).items() if count > 1]
        if twice:
            raise ValueError(f"items: the id '{twice[0]}' is given twice")
        known = {item.id for item in self.items}
        for number, item in enumerate(self.items):
            where = f"items[{number}].audio_from"
            if item.audio_from == item.id:
                raise ValueError(f"{where}: '{item.id}' must not keep its own audio")
            if item.audio_from not in known:
                raise ValueError(f"{where}: no item has the id '{item.audio_from}'")
        return self

    def item(self, name: str) -> SplitItem:
        """The item with this id."""
        return next(item for item in self.items if item.id == name)


def read_split(path: Path) -> Split:
    """The checked split, or `ProfileError` naming every problem with file, line and key."""
    if not path.is_file():
        raise ProfileError(f"{shown_path(path)}: no such split file; make one with 'infinitetalk eval split make'")
    layer = read_layer(path)
    problems = layer.problems
    try:
        split = Split.model_validate(plain(layer.root))
    except ValidationError as exc:
        problems += [_problem(error, layer.root) for error in exc.errors(include_url=False)]
    if problems:
        raise ProfileError(report(problems))
    return split


def split_text(split: Split) -> str:
    """YAML text from which `read_split` makes an equal split; what is at its default is left out."""
    data = split.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    head = {
        "schema": SCHEMA,
        **{key: value for key, value in data.items() if key not in ("schema", "items", "prepare")},
    }
    head["permutation"] = split.permutation
    head["prepare"] = split.prepare.model_dump(mode="json")
    items = [_plain_item(item) for item in split.items]
    text = yaml.safe_dump(head, sort_keys=False, allow_unicode=True, default_flow_style=None, width=110)
    return text + yaml.safe_dump(
        {"items": items}, sort_keys=False, allow_unicode=True, default_flow_style=None, width=110
    )


def write_split(split: Split, path: Path) -> None:
    """Write the split file whole or not at all."""
    write_text_atomic(path, split_text(split))


def _plain_item(item: SplitItem) -> dict[str, Any]:
    data = item.model_dump(mode="json", exclude_defaults=True)
    data["video"] = data["video"][0] if len(data["video"]) == 1 else data["video"]
    if "source" in data:
        data["source"] = {key: value for key, value in data["source"].items() if value is not None}
    return data


def _problem(error: Any, root: Entry) -> Problem:
    """The problem; what spans several items begins with the key that is to be changed, and gets its line."""
    problem = explain(error, root, Split)
    named = re.fullmatch(r"items\[(\d+)\]\.audio_from: (.+)", problem.what)
    items = root.section.get("items")
    if named is None or items is None or not isinstance(items.value, list):
        return problem
    entry = items.value[int(named[1])].section["audio_from"]
    return Problem(entry.origin, f"items[{named[1]}].audio_from", named[2])
