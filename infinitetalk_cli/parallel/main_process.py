"""The main process's side of the chunk loop: it says who makes what, makes its own share, and waits for the others.

Which team makes a stream is settled when it is begun: whoever is free takes the longest that is left. So it does not
matter that machines differ in speed, and a plan is never divided in advance.
"""

from __future__ import annotations

import logging
import secrets
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict

from infinitetalk_cli.cache.files import make_folder, write_text_atomic
from infinitetalk_cli.cache.store import LOCKS_NAME
from infinitetalk_cli.errors import writing_to
from infinitetalk_cli.parallel.link import LOOK_EVERY_S, Link
from infinitetalk_cli.pipeline.layout import Layout, in_order
from infinitetalk_cli.stages.sharing import Stream, WholeShare, streams_of

if TYPE_CHECKING:
    from infinitetalk_cli.parallel.team import Team
    from infinitetalk_cli.stages.planned_chunk import PlannedChunk

logger = logging.getLogger(__name__)

ORDER, TOKEN = "order", "token"
_PARTING_S = 10.0
_TOKEN_SUFFIX, _TOKEN_LIFE_S = ".meeting", 24 * 3600


class Order(BaseModel):
    """What the others are told once the plan stands; `generate` None: nothing is left for them to do.

    `generate` is the fingerprint of the stage.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    generate: str | None = None
    layout: dict[str, Any] | None = None
    left: tuple[tuple[int, int], ...] = ()
    """(index of the first chunk, number of chunks) of every stream that is left."""


def streams_left(chunks: Sequence[PlannedChunk], order: Order) -> list[Stream]:
    """The streams of an order, of a plan's `chunks`."""
    return [tuple(chunks[first : first + count]) for first, count in order.left]


def claimed(link: Link, streams: Sequence[Stream]) -> Iterator[Stream]:
    """The streams that this team makes: taken one after the other, the longest that nobody has begun."""
    for place in in_order([sum(chunk.num_frames for chunk in stream) for stream in streams]):
        if link.count(f"taken/{place}", 1) == 1:
            yield streams[place]


class MainShare:
    """What the main process's own team makes; `leaders` are the others that make whole streams."""

    is_shared = True

    def __init__(self, link: Link, left: Sequence[PlannedChunk], leaders: Sequence[int]) -> None:
        self._link, self._streams, self._leaders = link, streams_of(left), leaders
        self._heard, self._looked_s = (0, 0), 0.0

    def streams(self) -> Iterator[Stream]:
        """See `claimed`."""
        return claimed(self._link, self._streams)

    def report(self, steps: int = 0, frames: int = 0) -> tuple[int, int]:
        """What the others counted since the last look."""
        now_s = time.monotonic()
        if now_s - self._looked_s < LOOK_EVERY_S:
            return 0, 0
        self._looked_s = now_s
        return self._news()

    def rest(self) -> Iterator[tuple[int, int]]:
        """Until every leader has said that it is done."""
        while not all(self._link.see(f"done/{rank}") for rank in self._leaders):
            yield self._news()
            time.sleep(LOOK_EVERY_S)
        yield self._news()

    def _news(self) -> tuple[int, int]:
        (steps, frames), self._heard = self._heard, (self._link.count("steps"), self._link.count("frames"))
        return self._heard[0] - steps, self._heard[1] - frames


@dataclass(frozen=True)
class MainProcess:
    """The crew of a job on several processes, as its main process has it.

    `layout_of` says how what is left is shared, once it is known; `fingerprint` is that of the stage `generate`.
    """

    link: Link
    team: Team
    fingerprint: str
    layout_of: Callable[[Sequence[Stream]], Layout]
    on_layout: Callable[[str], None]

    @contextmanager
    def share(self, left: Sequence[PlannedChunk]) -> Iterator[MainShare | WholeShare]:
        """Give the order, and make our share. The others are sent home after that; what is left later we make alone."""
        if self.link.see(ORDER) is not None:
            logger.info("the other processes have ended; this one goes on alone")
            yield WholeShare(left)
            return
        streams = streams_of(left)
        layout = self.layout_of(streams)
        logger.info("%s", layout.text)
        self.on_layout(layout.text)
        spans = tuple((stream[0].index, len(stream)) for stream in streams)
        order = Order(generate=self.fingerprint, layout=layout.as_dict(), left=spans)
        self.link.post(ORDER, order.model_dump(mode="json"))
        with self.team.working(layout):
            yield MainShare(self.link, left, [team[0] for team in layout.teams[1:]])


def dismiss(link: Link) -> None:
    """The job is done: the others end, if they have not, before this process does, whom they may be asking."""
    if link.see(ORDER) is None:
        link.post(ORDER, Order().model_dump(mode="json"))
    deadline = time.monotonic() + _PARTING_S
    others = range(1, link.place.num_processes)
    while not all(link.has_left(rank) for rank in others) and time.monotonic() < deadline:
        time.sleep(LOOK_EVERY_S)


def token_file(root: Path, name: str) -> Path:
    """A file that lies there as long as a run of several processes goes on."""
    return root / LOCKS_NAME / f"{name}{_TOKEN_SUFFIX}"


def _forget_old(folder: Path) -> None:
    """Remove the files of runs that were killed; only at the beginning of a run they are looked for."""
    for path in folder.glob(f"*{_TOKEN_SUFFIX}"):
        with suppress(OSError):
            if time.time() - path.stat().st_mtime > _TOKEN_LIFE_S:
                path.unlink()


@contextmanager
def shared_folder(link: Link, root: Path) -> Iterator[None]:
    """During the body a file in the cache folder lets the others see whether theirs is the same folder."""
    token = token_file(root, f"{socket.gethostname()}-{secrets.token_hex(8)}")
    with writing_to(token):
        make_folder(token.parent)
        _forget_old(token.parent)
    write_text_atomic(token, token.stem)
    link.post(TOKEN, [str(root), token.stem])
    try:
        yield
    finally:
        token.unlink(missing_ok=True)
