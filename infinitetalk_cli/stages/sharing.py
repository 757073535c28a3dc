"""Who makes which streams of a plan: this process alone, or several that each take whole ones.

A stream (`PlannedChunk.scene`) begins without context and with noise of its own, so it comes out the same whoever makes
the others, and when.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from itertools import groupby
from typing import Protocol

from infinitetalk_cli.stages.planned_chunk import PlannedChunk

Stream = Sequence[PlannedChunk]
"""The chunks of one stream that are still to be made, in order."""


class Share(Protocol):
    """What one process (or the team it leads) makes of the streams that are left."""

    is_shared: bool
    """Whether others write into the same folders meanwhile."""

    def streams(self) -> Iterator[Stream]:
        """One stream after the other that is ours; asked for the next one when the last is finished."""

    def report(self, steps: int = 0, frames: int = 0) -> tuple[int, int]:
        """Tell of sampler steps and frames just made; returns what others made since the last call."""

    def rest(self) -> Iterator[tuple[int, int]]:
        """Wait until the others are finished too, with what they made meanwhile, as `report` returns it."""


class Crew(Protocol):
    """Everybody who works on a job."""

    def share(self, left: Sequence[PlannedChunk]) -> AbstractContextManager[Share]:
        """Begin with the chunks that are `left`. When the body ends without an error, all of them are made."""


def streams_of(chunks: Sequence[PlannedChunk]) -> list[Stream]:
    """`chunks` by stream, in order."""
    return [tuple(stream) for _, stream in groupby(chunks, key=lambda chunk: chunk.scene)]


class WholeShare:
    """Everything, for a process that is alone."""

    is_shared = False

    def __init__(self, left: Sequence[PlannedChunk]) -> None:
        self._left = left

    def streams(self) -> Iterator[Stream]:
        """All of them, in the plan's order."""
        yield from streams_of(self._left)

    def report(self, steps: int = 0, frames: int = 0) -> tuple[int, int]:
        """Nobody else makes any."""
        return 0, 0

    def rest(self) -> Iterator[tuple[int, int]]:
        """Nobody is waited for."""
        return iter(())


class Alone:
    """A crew of one process."""

    @contextmanager
    def share(self, left: Sequence[PlannedChunk]) -> Iterator[WholeShare]:
        """All that is left."""
        yield WholeShare(left)
