"""Whether a file of weights is whole, seen from its ends alone: milliseconds, whatever its size."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

_LEGACY_PICKLE = b"\x80"
"""First byte of what torch wrote before 1.6; its end shows nothing."""


@dataclass(frozen=True)
class Problem:
    """A file that cannot be used as it is; `detail` says more where there is more to say."""

    path: Path
    state: Literal["missing", "empty", "damaged"]
    detail: str = ""

    def within(self, folder: Path) -> str:
        """The problem in a few words, with the path below `folder`."""
        name = self.path.relative_to(folder) if self.path.is_relative_to(folder) else self.path
        return f"{name} {f'{self.state}: {self.detail}' if self.detail else self.state}"


def problems_of(paths: Iterable[Path]) -> tuple[Problem, ...]:
    """What is wrong with these files, in their order."""
    found = (problem_of(path) for path in paths)
    return tuple(problem for problem in found if problem is not None)


def problem_of(path: Path) -> Problem | None:
    """What is wrong with a file: not there, empty, or its ends do not fit together."""
    try:
        size_bytes = path.stat().st_size if path.is_file() else None
    except OSError as exc:
        return Problem(path, "damaged", exc.strerror or str(exc))
    if size_bytes is None:
        return Problem(path, "missing")
    if size_bytes == 0:
        return Problem(path, "empty")
    if not os.access(path, os.R_OK):
        return Problem(path, "damaged", "no permission to read it")
    checks = {".safetensors": _safetensors_damage, ".pth": _archive_damage, ".bin": _archive_damage}
    try:
        damage = checks[path.suffix](path) if path.suffix in checks else None
    except OSError as exc:
        damage = exc.strerror or str(exc)
    return None if damage is None else Problem(path, "damaged", damage)


def _safetensors_damage(path: Path) -> str | None:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np"):
            return None
    except SafetensorError as exc:
        return f"its header and its {path.stat().st_size} bytes do not fit together ({exc})"


def _archive_damage(path: Path) -> str | None:
    """The index of an archive is its end, so a file that was cut short has none."""
    if zipfile.is_zipfile(path):
        return None
    with path.open("rb") as file:
        first = file.read(1)
    return None if first == _LEGACY_PICKLE else f"not a whole archive of weights ({path.stat().st_size} bytes)"
