"""Profiles by name or path: found, layered, overridden from the command line, checked.

Order of strength: class default < the profile it `extends` < the profile < the command line. All problems are
reported together, each with the line or the option that caused it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from pathlib import Path

import yaml
from pydantic import ValidationError

from infinitetalk_cli.config.explain import explain
from infinitetalk_cli.config.profile import Profile
from infinitetalk_cli.config.source import Entry, Origin, Problem, read_layer, shown_path
from infinitetalk_cli.errors import ProfileError

MAX_SHOWN_PROBLEMS = 12
ADDS = "[]"
"""Ends the dotted key of an override that adds to a list."""


def load_profile(
    name_or_path: str | Path,
    overrides: Mapping[str, object] | None = None,
    options: Mapping[str, str] | None = None,
) -> Profile:
    """The checked profile, or `ProfileError` naming every problem.

    A `Path`, or text with a folder or a .yaml/.yml suffix, is a file; anything else names a shipped profile.
    `overrides` maps dotted keys ("sampling.num_steps") to values, `options` the same keys to the names of the
    command-line options they came from, for the messages. A key that ends in `[]` ("model.loras[]") adds to the list
    of the profile instead of replacing it.
    """
    path = find_profile(name_or_path)
    root, problems = read_with_parents(path)
    root.section.setdefault("name", Entry(path.stem, root.origin))
    for key, value in (overrides or {}).items():
        root = _override(root, key.split("."), value, Origin((options or {}).get(key, key)))
    try:
        profile = Profile.model_validate(plain(root))
    except ValidationError as exc:
        known = {problem.key for problem in problems}
        found = (explain(error, root) for error in exc.errors(include_url=False))
        problems += [problem for problem in found if problem.key not in known]
        if not problems:
            raise AssertionError("pydantic refused a profile without naming a problem") from exc
    if problems:
        raise ProfileError(report(problems))
    return profile


def list_profiles() -> tuple[str, ...]:
    """Names of the shipped profiles, sorted."""
    return tuple(sorted(_shipped()))


def dump_profile(profile: Profile) -> str:
    """YAML text from which `load_profile` makes an equal profile."""
    data = profile.model_dump(mode="json")
    return yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)


class _Dumper(yaml.SafeDumper):
    """Escapes what is not printable: PyYAML writes U+0085 bare, and reads it back as another line break."""


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=None if text.isprintable() else '"')


_Dumper.add_representer(str, _represent_text)


def profiles_dir() -> Path:
    """Folder of the shipped profiles: inside an installed package, or beside the sources in a checkout."""
    package = Path(__file__).resolve().parents[1]
    installed = package / "profiles"
    return installed if installed.is_dir() else package.parent / "profiles"


def find_profile(name_or_path: str | Path, base: Path | None = None) -> Path:
    """File of a profile; a relative path counts from `base`. `ProfileError` for an unknown name."""
    text = str(name_or_path)
    if isinstance(name_or_path, Path) or _looks_like_path(text):
        path = (base or Path()) / Path(text).expanduser()
        return path if base is None else Path(os.path.normpath(path))
    shipped = _shipped()
    if text in shipped:
        return shipped[text]
    close = get_close_matches(text, shipped, n=1)
    hint = f"did you mean '{close[0]}'? " if close else ""
    for suffix in (".yaml", ".yml"):
        if ((base or Path()) / (text + suffix)).is_file():
            hint = f"for the file of that name write '{text}{suffix}'. "
    known = ", ".join(sorted(shipped)) or f"none found in {profiles_dir()}"
    raise ProfileError(f"'{text}': no such profile; {hint}Known profiles: {known}; or a path to a YAML file")


def plain(entry: Entry) -> object:
    """The value without its origins; lists become tuples, as the strict models want them."""
    if isinstance(entry.value, dict):
        return {key: plain(child) for key, child in entry.value.items()}
    if isinstance(entry.value, list):
        return tuple(plain(child) for child in entry.value)
    return entry.value


def _looks_like_path(text: str) -> bool:
    return Path(text).suffix in (".yaml", ".yml") or "/" in text or os.sep in text


def _shipped() -> dict[str, Path]:
    return {path.stem: path for path in profiles_dir().glob("*.yaml")}


def read_with_parents(path: Path, find: Callable[[str, Path], Path] = find_profile) -> tuple[Entry, list[Problem]]:
    """The profile merged onto what it extends, and the problems of all files, the profile's own first.

    `find` gives the file of a name that is extended, and of a path that counts from a folder.
    """
    layers: list[Entry] = []
    problems: list[Problem] = []
    seen: list[Path] = []
    while True:
        seen.append(path.resolve())
        layer = read_layer(path)
        problems += layer.problems
        parent = layer.root.section.pop("extends", None)
        if layers:
            layer.root.section.pop("name", None)  # the name belongs to the file that was asked for
        layers.append(layer.root)
        if parent is None:
            break
        path = _parent_path(parent, path, find)
        if path.resolve() in seen:
            chain = " -> ".join(item.name for item in [*seen, path])
            raise ProfileError(f"{parent.origin}: extends: goes round in a circle: {chain}")
    merged = layers.pop()
    while layers:
        merged = _merge(merged, layers.pop())
    return merged, problems


def _parent_path(parent: Entry, child: Path, find: Callable[[str, Path], Path]) -> Path:
    if not isinstance(parent.value, str) or not parent.value:
        raise ProfileError(f"{parent.origin}: extends: must be the name of one profile, or a path")
    try:
        path = find(parent.value, child.parent)
    except ProfileError as exc:
        raise ProfileError(f"{parent.origin}: extends: {exc}") from exc
    if not path.is_file():
        raise ProfileError(f"{parent.origin}: extends: {shown_path(path)}: no such profile file")
    return path


def _merge(below: Entry, above: Entry) -> Entry:
    """Sections are joined key by key, everything else is replaced."""
    if not (isinstance(below.value, dict) and isinstance(above.value, dict)):
        return above
    joined = dict(below.value)
    for key, entry in above.value.items():
        joined[key] = _merge(joined[key], entry) if key in joined else entry
    return Entry(joined, above.origin)


def _override(root: Entry, keys: list[str], value: object, origin: Origin) -> Entry:
    entry = _as_entry(value, origin)
    if keys[-1].endswith(ADDS):
        keys = [*keys[:-1], keys[-1].removesuffix(ADDS)]
        entry = _added_to(root, keys, entry)
    for key in reversed(keys):
        entry = Entry({key: entry}, origin)
    return Entry(_merge(root, entry).value, root.origin)


def _added_to(root: Entry, keys: list[str], added: Entry) -> Entry:
    """What the list at `keys` has already, and then the items of `added`."""
    entry: Entry | None = root
    for key in keys:
        entry = entry.value.get(key) if entry is not None and isinstance(entry.value, dict) else None
    assert isinstance(added.value, list), f"{added.origin} adds no list"
    before = entry.value if entry is not None and isinstance(entry.value, list) else []
    return Entry([*before, *added.value], added.origin)


def _as_entry(value: object, origin: Origin) -> Entry:
    if isinstance(value, Mapping):
        return Entry({str(key): _as_entry(item, origin) for key, item in value.items()}, origin)
    if isinstance(value, list | tuple):
        return Entry([_as_entry(item, origin) for item in value], origin)
    return Entry(value, origin)  # type: ignore[arg-type]  # anything else is refused by the models


def report(problems: list[Problem]) -> str:
    """One line per problem: options first, then the files in the order they came up, by line."""
    sources = list(dict.fromkeys(problem.origin.source for problem in problems))

    def place(problem: Problem) -> tuple[bool, int, int]:
        origin = problem.origin
        return origin.line is not None, sources.index(origin.source), origin.line or 0

    problems = sorted(problems, key=place)
    lines = [str(problem) for problem in problems[:MAX_SHOWN_PROBLEMS]]
    if len(problems) > MAX_SHOWN_PROBLEMS:
        lines.append(f"and {len(problems) - MAX_SHOWN_PROBLEMS} more problems")
    return "\n".join(lines)
