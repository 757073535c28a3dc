"""What is missing, unexpected or of another shape among the tensors of a network. Compares names and shapes only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

NUM_SHOWN = 5
"""Tensors named in one sentence; of more, the count is given."""


@dataclass(frozen=True)
class TensorReport:
    """How the tensors of some files compare with what the network needs.

    `misshapen` holds (name, needed shape, found shape). `problems` says in sentences what else is wrong; `notes` what
    is worth knowing and not wrong.
    """

    what: str
    num_tensors: int = 0
    missing: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()
    misshapen: tuple[tuple[str, tuple[int, ...], tuple[int, ...]], ...] = ()
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def is_good(self) -> bool:
        """Whether nothing is wrong."""
        return not (self.missing or self.unexpected or self.misshapen or self.problems)

    @property
    def sentences(self) -> list[str]:
        """All that is wrong, one kind per sentence, the first names of each."""
        wrong_shapes = [f"{name} is {_shape(found)}, not {_shape(needed)}" for name, needed, found in self.misshapen]
        kinds = (("missing", self.missing), ("not of this model", self.unexpected), ("of another shape", wrong_shapes))
        counted = [f"{len(names)} tensors {what}: {_first(names)}" for what, names in kinds if names]
        return [*self.problems, *counted]

    def as_dict(self) -> dict[str, Any]:
        """Plain data for `--json`; all names."""
        return {
            "what": self.what,
            "good": self.is_good,
            "tensors": self.num_tensors,
            "missing": list(self.missing),
            "unexpected": list(self.unexpected),
            "misshapen": [
                {"name": name, "expected": list(needed), "found": list(found)} for name, needed, found in self.misshapen
            ],
            "problems": list(self.problems),
            "notes": list(self.notes),
        }


def compare(
    what: str,
    needed: Mapping[str, tuple[int, ...]],
    found: Mapping[str, tuple[int, ...]],
    optional: Mapping[str, tuple[int, ...]] | None = None,
) -> TensorReport:
    """`found` against `needed`; tensors of `optional` may be there, then in that shape."""
    optional = optional or {}
    known = {**optional, **needed}
    return TensorReport(
        what=what,
        num_tensors=len(found),
        missing=tuple(name for name in needed if name not in found),
        unexpected=tuple(name for name in found if name not in known),
        misshapen=tuple(
            (name, known[name], found[name]) for name in found if name in known and found[name] != known[name]
        ),
    )


def _first(names: Sequence[str]) -> str:
    more = f" and {len(names) - NUM_SHOWN} more" if len(names) > NUM_SHOWN else ""
    return ", ".join(names[:NUM_SHOWN]) + more


def _shape(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "a single number"
