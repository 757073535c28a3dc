"""Golden files: where they are, what they hold, and how values are compared with them.

A golden is a JSON file with a safetensors file of the same name beside it. The stem is its kind
(`dit_single`), with the folder in front where kinds live in folders (`syncnet/mfcc`). Tensor names begin with
an optional case, then `in.`, `mid.` or `out.`; only `mid.` tensors may be missing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

PUBLIC_GOLDENS = Path(__file__).parent / "data"

_SUPPORT = re.compile(r".*_weights|full_keys")
"""Stems of files that other goldens use, and that hold no case of their own."""

_INFORMATION = re.compile(r"note|seed|.*(std|diff|sensitivity|margin|self_noise|effect_of).*")
"""Settings of a case that only describe how it was made."""


class GoldenError(AssertionError):
    """A golden that cannot be compared with: incomplete, unknown, or of a structure we do not know."""


@dataclass
class Comparison:
    """Compares values with recorded ones and remembers the largest error of each name."""

    errors: dict[str, float] = field(default_factory=dict)

    def close(self, name: str, ours: Tensor, recorded: Tensor, max_abs: float, mean_abs: float | None = None) -> None:
        """Equal shape, and no element further away than `max_abs` (on average `mean_abs`)."""
        difference = self._difference(name, ours, recorded)
        self._record(name, difference.max(), max_abs, "largest error")
        if mean_abs is not None:
            self._record(name, difference.mean(), mean_abs, "mean error")

    def close_relative(self, name: str, ours: Tensor, recorded: Tensor, max_relative: float) -> None:
        """Equal shape, and no element further away than `max_relative` times the recorded one."""
        smallest = torch.finfo(torch.float64).tiny
        relative = self._difference(name, ours, recorded) / recorded.double().abs().clamp(min=smallest)
        self._record(name, relative.max(), max_relative, "largest relative error")

    def equal(self, name: str, ours: Any, recorded: Any) -> None:
        """Plain values that must agree exactly."""
        self.errors.setdefault(name, 0.0)
        if ours != recorded:
            raise AssertionError(f"{name}: {ours!r}, recorded {recorded!r}")

    @staticmethod
    def _difference(name: str, ours: Tensor, recorded: Tensor) -> Tensor:
        if ours.shape != recorded.shape:
            raise AssertionError(f"{name}: shape {tuple(ours.shape)}, recorded {tuple(recorded.shape)}")
        if not recorded.numel():
            raise GoldenError(f"{name}: the recorded tensor is empty")
        return (ours.detach().double() - recorded.double()).abs()

    def _record(self, name: str, error: Tensor, allowed: float, what: str) -> None:
        self.errors[name] = max(self.errors.get(name, 0.0), error.item())
        if not error.item() <= allowed:  # also false for NaN
            raise AssertionError(f"{name}: {what} {error.item():.3g} exceeds {allowed:.3g}")


@dataclass(frozen=True)
class Golden:
    """One golden file with its tensors."""

    kind: str
    path: Path

    @cached_property
    def spec(self) -> dict[str, Any]:
        """The JSON document."""
        try:
            spec = json.loads(self.path.read_text())
        except ValueError as exc:
            raise GoldenError(f"{self.path}: not readable as JSON: {exc}") from exc
        if not isinstance(spec, dict):
            raise GoldenError(f"{self.path}: not a JSON object")
        return spec

    @cached_property
    def tensors(self) -> dict[str, Tensor]:
        """All tensors of the safetensors file beside it."""
        path = self.path.with_suffix(".safetensors")
        if not path.is_file():
            raise GoldenError(f"{path}: missing; every golden needs its tensors")
        return load_file(path)

    def setting(self, *keys: str) -> Any:
        """The value in the JSON at this path of keys."""
        value: Any = self.spec
        for depth, key in enumerate(keys):
            if not isinstance(value, dict) or key not in value:
                raise GoldenError(f"{self.path}: no '{'.'.join(keys[: depth + 1])}'")
            value = value[key]
        return value

    def tensor(self, name: str) -> Tensor:
        """A tensor that has to be there."""
        if name not in self.tensors:
            raise GoldenError(f"{self.path}: tensor '{name}' is missing")
        return self.tensors[name]

    def tensors_under(self, prefix: str) -> dict[str, Tensor]:
        """Tensors whose name begins with `prefix`, by the rest of their name."""
        return {name.removeprefix(prefix): self.tensors[name] for name in self.tensors if name.startswith(prefix)}

    def weights(self, name: str) -> dict[str, Tensor]:
        """The tensors of the support file `name` beside the JSON."""
        path = self.path.parent / name
        if not path.is_file():
            raise GoldenError(f"{path}: missing; {self.path.name} needs these weights")
        return load_file(path)

    def check_tensors(self, known: Iterable[str]) -> None:
        """Fail if a tensor that the JSON lists is missing, or if there is one whose meaning we do not know.

        `known`: regular expressions that whole names must match.
        """
        listed = self.spec.get("tensors", {})
        missing = [name for name in listed if name not in self.tensors and "mid." not in name]
        if missing:
            raise GoldenError(f"{self.path}: listed tensors are missing: {', '.join(missing)}")
        pattern = re.compile("|".join(f"(?:{expression})" for expression in known))
        unknown = [name for name in self.tensors if not pattern.fullmatch(name)]
        if unknown:
            raise GoldenError(f"{self.path}: tensors of unknown meaning: {', '.join(unknown)}")


def check_settings(where: str, settings: Iterable[str], known: Iterable[str]) -> None:
    """Fail if a case has a setting that we would ignore although it may change the result."""
    unknown = [key for key in settings if key not in set(known) and not _INFORMATION.fullmatch(key)]
    if unknown:
        raise GoldenError(f"{where}: unknown settings: {', '.join(unknown)}")


@dataclass(frozen=True)
class Case:
    """One thing to compare. `run` raises AssertionError where we differ."""

    name: str
    run: Callable[[Comparison], None]

    def check(self) -> dict[str, float]:
        """Compare; the largest error of every compared name."""
        comparison = Comparison()
        self.run(comparison)
        if not comparison.errors:
            raise GoldenError(f"{self.name}: compared nothing")
        return comparison.errors


def failing(name: str, error: Exception) -> Case:
    """A case that fails with `error`, so that what cannot be read is seen."""

    def run(_comparison: Comparison) -> None:
        raise error

    return Case(name, run)


def find_cases(folder: Path, kinds: dict[str, Callable[[Golden], list[Case]]]) -> list[Case]:
    """All cases below `folder`, named by their kind. Whatever we cannot compare becomes a failing case.

    `kinds`: readers of the kinds we know.
    """
    cases = []
    for path in sorted(folder.rglob("*.json")):
        if not _SUPPORT.fullmatch(path.stem):
            cases += _cases_of(path, folder, kinds)
    for path in sorted(folder.rglob("*.safetensors")):
        if not _SUPPORT.fullmatch(path.stem) and not path.with_suffix(".json").is_file():
            cases.append(failing(_kind(path, folder), GoldenError(f"{path}: has no JSON beside it")))
    return cases or [failing("nothing", GoldenError(f"{folder}: holds no golden"))]


def _cases_of(path: Path, folder: Path, kinds: dict[str, Callable[[Golden], list[Case]]]) -> list[Case]:
    kind = _kind(path, folder)
    names = (kind, path.stem, f"{path.absolute().parent.name}/{path.stem}")
    reader = next((kinds[name] for name in names if name in kinds), None)
    if reader is None:
        return [failing(kind, GoldenError(f"{path}: unknown kind of golden"))]
    try:
        cases = reader(Golden(kind, path))
    except Exception as exc:  # whatever is wrong with one file must not hide the others
        return [failing(kind, exc)]
    if not cases:
        return [failing(kind, GoldenError(f"{path}: holds no case"))]
    return [Case(f"{kind}-{case.name}", case.run) for case in cases]


def _kind(path: Path, folder: Path) -> str:
    return path.relative_to(folder).with_suffix("").as_posix()
