"""Pydantic's findings as sentences for the person who wrote the profile."""

from __future__ import annotations

import re
from collections.abc import Iterator
from difflib import get_close_matches
from typing import Any, get_args

import yaml
from pydantic import BaseModel

from infinitetalk_cli.config.profile import Profile
from infinitetalk_cli.config.source import Entry, Problem, dotted

_NUMBER_AS_TEXT = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")

_WANTED = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "string_type": "text",
    "bool_type": "true or false",
    "tuple_type": "a list",
}

_LIMITS = {
    "greater_than": ("gt", "above"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "below"),
    "less_than_equal": ("le", "at most"),
}


def explain(error: Any, root: Entry, settings: type[BaseModel] = Profile) -> Problem:
    """One of `ValidationError.errors()` of `settings` as a problem at the line or option that wrote the value."""
    keys: tuple[str | int, ...] = tuple(error["loc"])
    entry, exact = _deepest(root, keys)
    return Problem(entry.origin, dotted(keys), _sentence(error, keys, entry, exact, settings))


def _deepest(root: Entry, keys: tuple[str | int, ...]) -> tuple[Entry, bool]:
    """The entry at `keys`, or the nearest one above it; and whether it is the very one."""
    entry = root
    for key in keys:
        below = _below(entry, key)
        if below is None:
            return entry, False
        entry = below
    return entry, True


def _below(entry: Entry, key: str | int) -> Entry | None:
    if isinstance(entry.value, dict):
        return entry.value.get(str(key))
    if isinstance(entry.value, list) and isinstance(key, int) and key < len(entry.value):
        return entry.value[key]
    return None


def _sentence(error: Any, keys: tuple[str | int, ...], entry: Entry, exact: bool, settings: type[BaseModel]) -> str:
    kind, context = error["type"], error.get("ctx", {})
    if kind == "extra_forbidden":
        return "unknown key" + _suggestion_for_key(keys, settings)
    if kind == "missing":
        return "is required"
    if kind in ("model_type", "model_attributes_type"):
        if entry.value is None:
            return "the section is empty; fill it or remove it"
        return f"must be a section with settings below it, not {_shown(entry)}"
    if kind == "value_error":
        return str(context["error"])
    if kind == "literal_error":
        return f"must be {context['expected']}, not {_shown(entry)}" + _suggestion_for_choice(keys, entry, settings)
    if kind in _LIMITS:
        limit, words = _LIMITS[kind]
        return f"must be {words} {context[limit]}, not {_shown(entry)}"
    if kind in _WANTED:
        return f"must be {_WANTED[kind]}, not {_shown(entry)}" + _surprise(kind, entry)
    if kind in ("string_too_short", "too_short"):
        return "must not be empty"
    if kind == "finite_number":
        return "must be a finite number"
    shown = f", not {_shown(entry)}" if exact else ""
    return str(error["msg"]).replace("Input should", "should") + shown


def _shown(entry: Entry) -> str:
    """The value as the user wrote it."""
    if isinstance(entry.value, dict):
        return "a section"
    if isinstance(entry.value, list):
        return "a list"
    if entry.written is not None:
        return entry.written[:60] or "empty"
    return repr(entry.value)[:60]


def _surprise(kind: str, entry: Entry) -> str:
    """Why a value that looks right is not what YAML read."""
    value, written = entry.value, entry.written
    if isinstance(value, bool) and written is not None:
        return f"; YAML reads a bare {written} as {str(value).lower()}, put it in quotes if it is a word"
    if isinstance(value, str) and kind != "string_type" and _NUMBER_AS_TEXT.fullmatch(value):
        if written is None:
            return "; remove the quotes"
        return f"; YAML reads it as text, write {yaml.safe_dump(float(value)).splitlines()[0]}"
    if kind == "string_type" and isinstance(value, int | float) and written is not None:
        return "; put it in quotes"
    return ""


def _suggestion_for_key(keys: tuple[str | int, ...], settings: type[BaseModel]) -> str:
    *path, name = keys
    model = _model_at(tuple(path), settings)
    close = get_close_matches(str(name), model.model_fields if model else (), n=1)
    if close:
        return f"; did you mean '{close[0]}'?"
    elsewhere = {key.rsplit(".", 1)[-1]: key for key in _all_keys(settings)}
    close = get_close_matches(str(name), elsewhere, n=1)
    return f"; did you mean '{elsewhere[close[0]]}'?" if close else ""


def _suggestion_for_choice(keys: tuple[str | int, ...], entry: Entry, settings: type[BaseModel]) -> str:
    model = _model_at(keys[:-1], settings)
    if model is None or not isinstance(entry.value, str):
        return _surprise("literal_error", entry)
    close = get_close_matches(entry.value, get_args(model.model_fields[str(keys[-1])].annotation), n=1)
    return f"; did you mean '{close[0]}'?" if close else ""


def _model_at(keys: tuple[str | int, ...], settings: type[BaseModel]) -> type[BaseModel] | None:
    """The section of `settings` at `keys`, e.g. `SamplingProfile` at ("sampling",)."""
    model: type[BaseModel] | None = settings
    for key in keys:
        if isinstance(key, int):
            continue
        field = model.model_fields.get(key) if model else None
        model = _section_in(field.annotation) if field else None
    return model


def _section_in(annotation: Any) -> type[BaseModel] | None:
    """The model class inside `Section`, `Section | None` or `tuple[Section, ...]`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for part in get_args(annotation) if (found := _section_in(part))), None)


def _all_keys(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    for name, field in model.model_fields.items():
        yield prefix + name
        section = _section_in(field.annotation)
        if section is not None:
            yield from _all_keys(section, f"{prefix}{name}.")
