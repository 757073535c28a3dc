"""How long work reports where it is, without knowing who listens."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Receives progress of one piece of work; the terminal, a log and tests implement it."""

    def start(self, what: str, total: int | None = None, done: int = 0) -> None:
        """A new piece of work begins; `total` steps if known, `done` of them by an earlier run."""

    def advance(self, steps: int = 1) -> None:
        """`steps` more are done."""

    def detail(self, text: str) -> None:
        """Where exactly the work is now, for the line that is being drawn: `chunk 3/7, step 2/4`."""

    def note(self, text: str) -> None:
        """Something the user should read once."""


class SilentProgress:
    """Listens to nothing."""

    def start(self, what: str, total: int | None = None, done: int = 0) -> None:
        """See `Progress.start`."""

    def advance(self, steps: int = 1) -> None:
        """See `Progress.advance`."""

    def detail(self, text: str) -> None:
        """See `Progress.detail`."""

    def note(self, text: str) -> None:
        """See `Progress.note`."""
