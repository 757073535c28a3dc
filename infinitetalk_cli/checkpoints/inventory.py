"""What the names that people type stand for: a catalogue entry, or all that a profile needs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infinitetalk_cli.checkpoints.catalog import Entry, load_catalog, names_of, unknown_name
from infinitetalk_cli.checkpoints.locate import find_parts
from infinitetalk_cli.checkpoints.places import Part, find_part, hub_commit
from infinitetalk_cli.config.load import list_profiles, load_profile
from infinitetalk_cli.config.model import ModelProfile


@dataclass(frozen=True)
class Row:
    """One entry of the catalogue and what is here of it."""

    name: str
    entry: Entry
    part: Part
    commits: dict[str, str | None]
    profiles: tuple[str, ...]

    @property
    def state(self) -> str:
        """In a few words: here and where, incomplete, or missing."""
        if self.part.place is None:
            return "missing"
        if self.part.problems:
            return f"incomplete: {len(self.part.problems)} files"
        return f"here ({self.part.origin})"

    def as_dict(self) -> dict[str, Any]:
        """Plain data for `--json`; sizes in bytes, null where not known."""
        layouts = {
            layout: {
                "repo": publication.repo,
                "commit": self.commits[layout],
                "folder": publication.folder,
                "size_bytes": publication.known_bytes if publication.knows_all_sizes else None,
                "files": [file.path for file in publication.files],
            }
            for layout, publication in self.entry.layouts.items()
        }
        return {
            "name": self.name,
            "kind": self.entry.kind,
            "about": self.entry.about,
            "licence": self.entry.licence,
            "gated": self.entry.gated,
            "profiles": list(self.profiles),
            "complete": self.part.is_complete,
            "place": None if self.part.place is None else str(self.part.place),
            "origin": self.part.origin,
            "size_here_bytes": self.part.size_bytes,
            "problems": [f"{problem.path}: {problem.state}" for problem in self.part.problems],
            "layouts": layouts,
        }


def inventory(weights_root: Path, names: tuple[str, ...] | None = None) -> list[Row]:
    """The catalogue, or the entries called `names`, with what is here of each."""
    users: dict[str, list[str]] = {}
    for profile in list_profiles():
        for name in names_of(load_profile(profile).model):
            users.setdefault(name, []).append(profile)
    rows = []
    for name, entry in load_catalog().items():
        if names is None or name in names:
            commits = {layout: hub_commit(p, weights_root) for layout, p in entry.layouts.items()}
            part = find_part(name, entry.kind, weights_root)
            rows.append(Row(name, entry, part, commits, tuple(users.get(name, ()))))
    return rows


def entry_names(name: str) -> tuple[str, ...]:
    """The catalogue entries that `name`, an entry or a profile, stands for.

    Raises:
        DependencyError: it is neither.
        ProfileError: the profile is not valid.
    """
    if name in load_catalog():
        return (name,)
    return tuple(part for part in names_of(_model(name)) if part in load_catalog())


def parts_of(name: str, weights_root: Path) -> list[Part]:
    """What `name`, an entry or a profile, stands for on this machine, complete or not.

    Raises:
        DependencyError, ProfileError: as `entry_names`.
    """
    catalog = load_catalog()
    if name in catalog:
        return [find_part(name, catalog[name].kind, weights_root)]
    return find_parts(_model(name), weights_root)


def _model(name: str) -> ModelProfile:
    """The model of a profile; what is neither a shipped profile nor a file is taken for a misspelt name."""
    profiles = list_profiles()
    if name not in profiles and not Path(name).is_file():
        raise unknown_name(name, profiles)
    return load_profile(name if name in profiles else Path(name)).model
