"""`infinitetalk dub`: build a job, run it alone or with other processes, show the result."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from infinitetalk_cli.cli.dub_options import dub_request
from infinitetalk_cli.cli.gpus import (
    Gpus,
    HeldNotes,
    SplitWords,
    hush,
    leading,
    needs_others,
    shared,
    start_processes,
    take_part,
    team_up,
)
from infinitetalk_cli.cli.options import Json, Quiet, Verbose
from infinitetalk_cli.cli.render import make_reporter, show_dry_run, show_dubbed, show_json
from infinitetalk_cli.cli.signatures import with_options_of
from infinitetalk_cli.parallel.place import Place

if TYPE_CHECKING:
    from infinitetalk_cli.pipeline.request import DubRequest

_RUN = "How to run"


@with_options_of(dub_request)
def dub(
    request: DubRequest,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the plan and stop.", rich_help_panel=_RUN)] = False,
    print_profile: Annotated[
        bool, typer.Option("--print-profile", help="Print the resolved profile as YAML and stop.", rich_help_panel=_RUN)
    ] = False,
    gpus: Gpus = None,
    split: SplitWords = None,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Dub VIDEO with a new voice.

    Interrupt it whenever you like: the same command goes on where it stopped, and a finished job is
    recognised. A name that begins with a dash is written ./-name.mp4.
    """
    from infinitetalk_cli.cli.log import open_log

    place = Place.of_environment()
    if place is not None and not place.is_main:
        hush()
        open_log(request.cache_root, "dub", verbose=verbose, to_file_only=True)
        if not (dry_run or print_profile):
            take_part(place, lambda: shared(request, gpus, split, place))
        return
    open_log(request.cache_root, "dub", verbose=verbose, quiet=quiet)
    request = shared(request, gpus, split, place)
    _answer(request, place=place, dry_run=dry_run, print_profile=print_profile, as_json=as_json, quiet=quiet)


def _answer(
    request: DubRequest, *, place: Place | None, dry_run: bool, print_profile: bool, as_json: bool, quiet: bool
) -> None:
    if dry_run or print_profile:
        _show_plan(request, print_profile=print_profile, as_json=as_json, quiet=quiet)
    elif place is None and request.num_processes > 1:
        _dub_with_others(request, as_json=as_json, quiet=quiet)
    else:
        _dub_here(request, place, as_json=as_json, quiet=quiet)


def _dub_here(request: DubRequest, place: Place | None, *, as_json: bool, quiet: bool) -> None:
    """Run the job, as the main process if the launcher has started any."""
    from infinitetalk_cli.pipeline import dubbing, preparing

    with make_reporter(quiet) as reporter, leading(place, request, as_json=as_json) as link:
        if place is not None and not place.launcher_serves:
            reporter.note(f"this is {place.name}, and waits for the others: {place.why}")
        prepared = preparing.prepare(request, reporter)
        result = dubbing.dub(prepared, reporter, team_up=team_up(link, prepared, reporter))
    show_json(result.as_dict()) if as_json else show_dubbed(result, quiet=quiet)


def _dub_with_others(request: DubRequest, *, as_json: bool, quiet: bool) -> None:
    """Start several processes if chunks are to be made; what else is missing takes one."""
    from infinitetalk_cli.pipeline import dubbing, preparing

    with make_reporter(quiet) as reporter:
        notes = HeldNotes(reporter)
        prepared = preparing.prepare(request, notes)
        if goes_alone := not needs_others(prepared):
            notes.release()
            result = dubbing.dub(prepared, reporter)
        else:
            prepared.check_destination()
    if not goes_alone:
        start_processes(request)
    show_json(result.as_dict()) if as_json else show_dubbed(result, quiet=quiet)


def _show_plan(request: DubRequest, *, print_profile: bool, as_json: bool, quiet: bool) -> None:
    """Print the profile, or what a run would do."""
    from infinitetalk_cli.config.load import dump_profile
    from infinitetalk_cli.pipeline import preparing
    from infinitetalk_cli.pipeline.forecast import forecast
    from infinitetalk_cli.pipeline.survey import survey

    with make_reporter(quiet) as reporter:
        prepared = preparing.prepare(request, reporter)
        seen = {}
        if not print_profile:
            prepared.check_destination(make_folders=False)
            seen = survey(prepared, reporter)
    profile = prepared.job.profile
    if print_profile and as_json:
        show_json({"status": "done", "profile": profile.model_dump(mode="json")})
    elif print_profile:
        typer.echo(dump_profile(profile), nl=False)
    else:
        plan = forecast(prepared, seen)
        show_json(plan.as_dict()) if as_json else show_dry_run(plan)
