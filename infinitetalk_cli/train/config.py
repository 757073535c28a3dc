"""Training configurations by name or path: shipped ones, and anything with a suffix or a folder as a file."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from infinitetalk_cli.config.explain import explain
from infinitetalk_cli.config.load import plain, profiles_dir, read_with_parents, report
from infinitetalk_cli.config.source import Entry, Problem
from infinitetalk_cli.errors import ProfileError
from infinitetalk_cli.train.lora_settings import LoraSettings
from infinitetalk_cli.train.settings import TrainSettings

_NAMED_KEY = re.compile(r"(?P<key>[a-z_]+(?:\.[a-z_0-9]+|\[\d+\])*): (?P<what>.+)", re.DOTALL)


def load_settings(name_or_path: str) -> TrainSettings | LoraSettings:
    """The checked settings, or `ProfileError` naming every problem with file, line and key.

    A configuration with the key `model` fine-tunes that profile's model by LoRA; any other makes a nano model.
    """
    path = _find(name_or_path, Path())
    root, problems = read_with_parents(path, _find)
    root.section.setdefault("name", Entry(path.stem, root.origin))
    kind = LoraSettings if "model" in root.section else TrainSettings
    try:
        settings = kind.model_validate(plain(root))
    except ValidationError as exc:
        problems += [_problem(error, root, kind) for error in exc.errors(include_url=False)]
    if problems:
        raise ProfileError(report(problems))
    return settings


def list_settings() -> tuple[str, ...]:
    """Names of the shipped configurations, sorted."""
    return tuple(sorted(file.stem for file in (profiles_dir() / "train").glob("*.yaml")))


def _find(name_or_path: str, base: Path) -> Path:
    path = Path(name_or_path).expanduser()
    is_name = path.suffix not in (".yaml", ".yml") and path.name == name_or_path
    path = profiles_dir() / "train" / f"{name_or_path}.yaml" if is_name else base / path
    if not path.is_file():
        known = ", ".join(list_settings())
        raise ProfileError(f"'{name_or_path}': no such training configuration; shipped: {known}; or a path to a file")
    return path


def _problem(error: Any, root: Entry, kind: type[TrainSettings | LoraSettings]) -> Problem:
    """The problem; what spans several sections begins with the key that is to be changed, and gets its line."""
    problem = explain(error, root, kind)
    named = _NAMED_KEY.fullmatch(problem.what) if error["type"] == "value_error" and not error["loc"] else None
    if named is None:
        return problem
    entry = root
    for part in re.findall(r"[a-z_0-9]+", named["key"]):
        below = entry.value
        if isinstance(below, dict) and part in below:
            entry = below[part]
        elif isinstance(below, list) and part.isdigit() and int(part) < len(below):
            entry = below[int(part)]
        else:
            break
    return Problem(entry.origin, named["key"], named["what"])
