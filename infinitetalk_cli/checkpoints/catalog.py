"""The weights that profiles name, and what is publicly known of them: `catalog.yaml` as frozen models."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from infinitetalk_cli.config.model import ModelProfile
from infinitetalk_cli.errors import DependencyError

Kind = Literal["base", "audio_encoder", "audio_weights", "lora", "uni3c", "diarization", "nano"]
PublishedLayout = Literal["original", "diffusers"]


class _Fact(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class PublishedFile(_Fact):
    """A file of a repository, or a pattern of files; `size_bytes` as the hub's pages show it, None if unknown."""

    path: str = Field(min_length=1)
    size_bytes: int | None = Field(default=None, ge=0)
    sha256: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")

    @property
    def is_pattern(self) -> bool:
        """Whether the path stands for several files."""
        return "*" in self.path


class Publication(_Fact):
    """An entry in one layout: the repository, the commit we pin (None: not known), the folder below the weights."""

    repo: str = Field(pattern=r"^[\w.-]+/[\w.-]+$")
    commit: str | None = Field(pattern=r"^[0-9a-f]{40}$")
    folder: str = Field(min_length=1)
    files: Annotated[tuple[PublishedFile, ...], Field(min_length=1)]

    @property
    def marker(self) -> str:
        """The first file whose name is known: where it is, the others are expected."""
        return next(file.path for file in self.files if not file.is_pattern)

    @property
    def known_bytes(self) -> int:
        """Sum of the sizes that are known."""
        return sum(file.size_bytes or 0 for file in self.files)

    @property
    def knows_all_sizes(self) -> bool:
        """Whether `known_bytes` leaves no file out."""
        return all(file.size_bytes is not None for file in self.files)


class Entry(_Fact):
    """Weights under one name; `licence` None: not known to us."""

    kind: Kind
    about: str = Field(min_length=1)
    licence: str | None
    layouts: Annotated[dict[PublishedLayout, Publication], Field(min_length=1)]
    gated: bool = False

    def publication(self, layout: PublishedLayout | None = None) -> Publication:
        """This entry in `layout`, where it has a choice; else in the only one."""
        if layout is not None and layout in self.layouts:
            return self.layouts[layout]
        return next(iter(self.layouts.values()))


@lru_cache
def load_catalog() -> dict[str, Entry]:
    """All entries by name, in the order of the file."""
    import yaml

    text = Path(__file__).with_name("catalog.yaml").read_text(encoding="utf-8")
    return TypeAdapter(dict[str, Entry]).validate_python(yaml.safe_load(text))


def nearest_name(name: str, also_known: Sequence[str] = ()) -> str | None:
    """The entry, or one of `also_known`, that a misspelt name may mean."""
    return next(iter(difflib.get_close_matches(name, [*load_catalog(), *also_known], n=1, cutoff=0.5)), None)


def unknown_name(name: str, also_known: Sequence[str] = ()) -> DependencyError:
    """The error for a name that is no entry; suggests the nearest, also among `also_known`."""
    near = nearest_name(name, also_known)
    hint = f"did you mean '{near}'?" if near else "`infinitetalk models list` shows them"
    return DependencyError(f"{name}: no weights of this name are known; {hint}")


def names_of(model: ModelProfile) -> tuple[str, ...]:
    """What a profile's model names, catalogue entries and paths alike, in the order they are merged."""
    named = (model.base, model.audio_encoder, model.audio_weights, *(lora.file for lora in model.loras))
    return tuple(name for name in named if name is not None)
