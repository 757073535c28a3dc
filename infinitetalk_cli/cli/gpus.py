"""One job on several processes: the options, what cannot be, and how each process takes its part."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from infinitetalk_cli.cli.render import Reporter, show_error
from infinitetalk_cli.errors import DependencyError, ExitCode, PeerError
from infinitetalk_cli.parallel.place import Place

if TYPE_CHECKING:
    from infinitetalk_cli.models.load import LoadedModels
    from infinitetalk_cli.parallel.link import Failure, Link
    from infinitetalk_cli.pipeline.dubbing import TeamUp
    from infinitetalk_cli.pipeline.request import DubRequest, Prepared
    from infinitetalk_cli.pipeline.split import Split

_RUN = "How to run"

Gpus = Annotated[
    str | None,
    typer.Option(
        "--gpus",
        metavar="N|all",
        help="Processes that share the job, each with a GPU of its own (with --device cpu: on the CPU).",
        rich_help_panel=_RUN,
        show_default="1",
    ),
]
SplitWords = Annotated[
    str | None,
    typer.Option(
        "--split",
        metavar="scenes=N,guidance=N,sequence=N",
        help="How they share it.",
        rich_help_panel=_RUN,
        show_default="what is fastest, see --dry-run",
    ),
]


def shared(request: DubRequest, gpus: str | None, split: str | None, place: Place | None) -> DubRequest:
    """`request` as the process at `place` works on it (None: the one that the user started).

    Raises:
        typer.BadParameter: the options contradict each other or the launcher.
        DependencyError: there are not so many devices.
    """
    count = _count(gpus, request.device, place)
    wanted = _split(split, count)
    if count == 1:
        return request
    num_local = count if place is None else place.num_local
    if request.device != "cpu":
        _require_devices(num_local, request.device, count)
    device = request.device if place is None else place.device(request.device)
    return replace(request, num_processes=count, num_local=num_local, split=wanted, device=device)


def _count(gpus: str | None, device: str, place: Place | None) -> int:
    started = None if place is None else place.num_processes
    if gpus is None:
        count = started or 1
    elif gpus == "all":
        if device == "cpu":
            raise typer.BadParameter("--gpus all counts GPUs; with --device cpu say how many processes: --gpus N")
        count = _num_gpus() if place is None else place.num_processes
        if not count:
            raise DependencyError(
                "--gpus all: this machine has no CUDA device that torch can use; leave out --gpus, or start processes "
                "on the CPU with --gpus N --device cpu"
            )
    elif not gpus.isdecimal() or not int(gpus):
        raise typer.BadParameter(f"--gpus {gpus}: write how many, from 1 on, or all")
    else:
        count = int(gpus)
    if started is not None and count != started:
        raise typer.BadParameter(
            f"--gpus {gpus}: this is one of {started} processes that a launcher has started (RANK and WORLD_SIZE are "
            "in the environment); leave out --gpus, or unset RANK"
        )
    if count > 1 and ":" in device:
        raise typer.BadParameter(
            f"--device {device} is one GPU, and {count} processes take one each; leave it out and choose GPUs with "
            "CUDA_VISIBLE_DEVICES"
        )
    return count


def _split(words: str | None, count: int) -> Split | None:
    if words is None:
        return None
    from infinitetalk_cli.pipeline.split import Split

    try:
        split = Split.parse(words)
    except ValueError as exc:
        raise typer.BadParameter(f"--split {words}: {exc}") from exc
    if split.num_processes != count:
        raise typer.BadParameter(
            f"--split {words}: is for {split.num_processes} processes, and there are {count} (--gpus)"
        )
    return split


def _num_gpus() -> int:
    import torch

    return torch.cuda.device_count()


def _require_devices(num_local: int, device: str, count: int) -> None:
    found = _num_gpus()
    if found < num_local:
        there = {0: "no CUDA device", 1: "1 CUDA device"}.get(found, f"{found} CUDA devices")
        raise DependencyError(
            f"{count} processes (--gpus or the launcher) take one GPU each, and this machine has {there} "
            f"that torch can use; start {found or 1}, or run all of them on the CPU with --device cpu"
        )


class HeldNotes(Reporter):
    """Passes on progress at once, and notes only when asked: the process that begins in our place says them again."""

    def __init__(self, reporter: Reporter) -> None:
        self._notes: list[str] = []
        self._reporter = reporter
        self.stage, self.start = reporter.stage, reporter.start  # type: ignore[method-assign]
        self.advance, self.detail = reporter.advance, reporter.detail  # type: ignore[method-assign]

    def note(self, text: str) -> None:
        """Keep it."""
        self._notes.append(text)

    def release(self) -> None:
        """Say them."""
        for text in self._notes:
            self._reporter.note(text)


def needs_others(prepared: Prepared) -> bool:
    """Whether chunks are to be made, which is all that several processes do together; refuses what cannot be early."""
    from infinitetalk_cli.pipeline.layout import layout_of
    from infinitetalk_cli.pipeline.remaining import stages_to_do
    from infinitetalk_cli.stages.generate import GENERATE

    if GENERATE.name not in stages_to_do(prepared):
        return False
    layout_of(prepared, ())
    return True


def start_processes(request: DubRequest) -> None:
    """Replace this program by the launcher of the same command in several processes; does not return."""
    from infinitetalk_cli.parallel.launching import become_launcher

    become_launcher(sys.argv[1:], request.num_processes, request.cache_root)


def hush() -> None:
    """Only the main process is heard; what the others have to say goes to their logs, and to the main process."""
    sys.stdout = sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - till the end of the process


def take_part(place: Place, request_of: Callable[[], DubRequest]) -> None:
    """What a peer does; the main process is told of what goes wrong, so nothing is said here."""
    from infinitetalk_cli.parallel.link import Link
    from infinitetalk_cli.parallel.peer import run_peer
    from infinitetalk_cli.parallel.watch import watched

    try:
        link = Link(place)
    except PeerError:
        sys.stderr = sys.__stderr__  # there is nobody else who could say it
        raise
    with watched(link):
        run_peer(request_of(), link)


@contextmanager
def leading(place: Place | None, request: DubRequest, *, as_json: bool) -> Iterator[Link | None]:
    """In the body this process is the main process of the run at `place`; None: there is no other."""
    if place is None:
        yield None
        return
    from infinitetalk_cli.parallel.link import Link
    from infinitetalk_cli.parallel.main_process import dismiss, shared_folder
    from infinitetalk_cli.parallel.watch import watched

    def speak(failure: Failure) -> None:
        from infinitetalk_cli.parallel.launching import tell_launcher

        show_error(failure.message, ExitCode(failure.exit_code), as_json)
        sys.stdout.flush()
        tell_launcher(failure.exit_code)

    link = Link(place)
    with watched(link, speak), shared_folder(link, request.cache_root):
        yield link
        dismiss(link)


def team_up(link: Link | None, prepared: Prepared, reporter: Reporter) -> TeamUp | None:
    """How the main process's models become those of a team; None where it is alone."""
    if link is None:
        return None
    from infinitetalk_cli.parallel.main_process import MainProcess
    from infinitetalk_cli.parallel.team import Team
    from infinitetalk_cli.pipeline.layout import layout_of
    from infinitetalk_cli.stages.generate import GENERATE

    (fingerprint,) = (step.fingerprint for step in prepared.stages if step.stage is GENERATE)

    def make(loaded: LoadedModels) -> tuple[Team, MainProcess]:
        team = Team(link, loaded, prepared.request.device)
        return team, MainProcess(link, team, fingerprint, lambda streams: layout_of(prepared, streams), reporter.note)

    return make
