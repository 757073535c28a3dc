"""All that a peer of the main process does: wait for the order, then lead a team or follow one."""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from infinitetalk_cli.errors import InputError
from infinitetalk_cli.models.load import LoadedModels
from infinitetalk_cli.parallel.link import LOOK_EVERY_S, Link
from infinitetalk_cli.parallel.main_process import ORDER, TOKEN, Order, claimed, streams_left, token_file
from infinitetalk_cli.parallel.team import Team, leave_groups, make_groups
from infinitetalk_cli.pipeline.layout import Layout
from infinitetalk_cli.pipeline.preparing import prepare
from infinitetalk_cli.pipeline.request import DubRequest, Prepared
from infinitetalk_cli.pipeline.runner import input_paths
from infinitetalk_cli.pipeline.sources import check_unchanged
from infinitetalk_cli.progress import SilentProgress
from infinitetalk_cli.stages.generate import GENERATE, make_streams
from infinitetalk_cli.stages.keyframes import read_plan
from infinitetalk_cli.stages.sharing import Stream
from infinitetalk_cli.stages.stage import StageContext

logger = logging.getLogger(__name__)

VISIBLE_WITHIN_S = 60.0
"""File systems on a network show other machines' files late."""


class _Silent(SilentProgress):
    """Only the main process is heard."""

    def stage(self, name: str, number: int, count: int, state: str) -> None:
        """See `PipelineProgress.stage`."""


class LeaderShare:
    """What the team of a leader makes; steps and frames are counted where the main process looks for them."""

    is_shared = True

    def __init__(self, link: Link, streams: Sequence[Stream]) -> None:
        self._link, self._streams = link, streams

    def streams(self) -> Iterator[Stream]:
        """See `claimed`."""
        return claimed(self._link, self._streams)

    def report(self, steps: int = 0, frames: int = 0) -> tuple[int, int]:
        """Count what was made; what others make is nobody's business here."""
        for name, number in (("steps", steps), ("frames", frames)):
            if number:
                self._link.count(name, number)
        return 0, 0

    def rest(self) -> Iterator[tuple[int, int]]:
        """Only the main process waits."""
        return iter(())


def run_peer(request: DubRequest, link: Link) -> None:
    """Wait until the plan stands, and make of it what is ours.

    Raises:
        InputError: this machine does not see the main process's cache folder, or its inputs differ.
        InfiniteTalkError: whatever making chunks raises.
    """
    _require_same_folder(link, request.cache_root)
    order = Order.model_validate(link.wait(ORDER))
    if order.generate is None or order.layout is None:
        return
    layout, rank = Layout(**order.layout), link.place.rank
    leader = layout.leader_of(rank)
    logger.info("%s; this is process %d, led by %s", layout.text, rank, leader)
    device = link.place.device(request.device)
    if leader is None:
        make_groups(link, layout, device)
        leave_groups()
        return
    request = replace(request, device=device)
    prepared = _prepared(request, order, link)
    profile = prepared.job.profile
    models = LoadedModels(prepared.weights.files, device, profile.compute, profile.memory)
    if leader == rank:
        _lead(prepared, order, layout, Team(link, models, device), link)
        link.post(f"done/{rank}", True)
    else:
        from infinitetalk_cli.models.parallel import follow

        groups = make_groups(link, layout, device)
        assert groups is not None, "a follower's team is larger than one"
        follow(models.transformer(), groups, models.control())
        leave_groups()


def _lead(prepared: Prepared, order: Order, layout: Layout, team: Team, link: Link) -> None:
    """Make whole streams, into the main process's work folder."""
    step = next(step for step in prepared.stages if step.stage is GENERATE)
    inputs = input_paths(step, prepared.stages, prepared.sources, prepared.store)
    out_dir = prepared.store.partial_path(GENERATE.name, step.fingerprint)
    _require_visible(inputs["plan"])
    streams = streams_left(read_plan(inputs["plan"]).chunks, order)
    left = [chunk for stream in streams for chunk in stream]
    check = partial(check_unchanged, [prepared.sources[name] for name in inputs if name in prepared.sources])
    context = StageContext(_Silent(), team, check)
    with team.working(layout):
        make_streams(inputs, GENERATE.settings(prepared.job), out_dir, LeaderShare(link, streams), left, context)


def _prepared(request: DubRequest, order: Order, link: Link) -> Prepared:
    """The main process's job, from our own look at the same files."""
    prepared = prepare(request, _Silent())
    (found,) = (step.fingerprint for step in prepared.stages if step.stage is GENERATE)
    if found != order.generate:
        raise InputError(
            f"{link.place.name} on {socket.gethostname()} plans other work than process 1: its files, weights, extras "
            "or version of infinitetalk differ (`infinitetalk doctor` on both machines shows more)"
        )
    return prepared


def _require_same_folder(link: Link, root: Path) -> None:
    """Raise `InputError` if this process does not see what the main process wrote into its cache folder."""
    main_root, name = link.wait(TOKEN)
    if not _appears(token_file(root, name), or_else=lambda: _is_dismissed(link)):
        raise InputError(
            f"{root}: is not the cache folder of process 1 ({main_root}) here on {socket.gethostname()}; name a folder "
            "that all machines share with --cache-dir"
        )


def _require_visible(path: Path) -> None:
    if not _appears(path):
        raise InputError(f"{path}: process 1 has made it, but it does not appear here on {socket.gethostname()}")


def _is_dismissed(link: Link) -> bool:
    """Whether the main process has gone, with what it wrote."""
    order = link.see(ORDER)
    return order is not None and Order.model_validate(order).generate is None


def _appears(path: Path, or_else: Callable[[], bool] = lambda: False) -> bool:
    deadline = time.monotonic() + VISIBLE_WITHIN_S
    while not path.exists() and not or_else():
        if time.monotonic() > deadline:
            return False
        time.sleep(LOOK_EVERY_S)
    return True
