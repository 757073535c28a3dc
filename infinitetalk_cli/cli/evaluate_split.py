"""`infinitetalk eval split make` and `eval prepare`: which clips are dubbed, and the clips themselves."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NoReturn

import typer

from infinitetalk_cli.cli.options import Json, Quiet
from infinitetalk_cli.cli.render import make_reporter, show_error, show_json

if TYPE_CHECKING:
    from infinitetalk_cli.errors import InfiniteTalkError

app = typer.Typer(no_args_is_help=True, help="Split files: which clips are dubbed, and with whose audio.")

SplitFile = Annotated[Path, typer.Option("--split", help="Split file.", show_default=False)]
Videos = Annotated[Path, typer.Option("--videos", help="Folder of the split's videos.", show_default=False)]


@app.callback()
def _split() -> None:
    """Split files: which clips are dubbed, and with whose audio."""


@app.command("make")
def make(
    out: Annotated[Path, typer.Argument(help="Split file to write (.yaml).", show_default=False)],
    dataset: Annotated[
        Literal["hdtf", "celebv-hq", "emtd"] | None, typer.Option(help="Read a public list (with --list).")
    ] = None,
    list_files: Annotated[
        list[Path] | None, typer.Option("--list", help="The list's files as published, or their folder; repeatable.")
    ] = None,
    revision: Annotated[str | None, typer.Option(help="Commit that the list is from, kept in the split.")] = None,
    uncut: Annotated[
        bool, typer.Option("--uncut", help="The videos are whole, named by their YouTube id, not cut clips.")
    ] = False,
    videos: Annotated[Path | None, typer.Option(help="Take the videos of this folder.")] = None,
    procedural: Annotated[
        int | None, typer.Option(min=2, help="Render so many clips into --videos (extra: train).", metavar="N")
    ] = None,
    seconds: Annotated[float | None, typer.Option(min=1.0, help="Length of rendered clips.", show_default="8")] = None,
    moving_camera: Annotated[
        bool, typer.Option("--moving-camera", help="In every second rendered clip the camera moves.")
    ] = False,
    clips: Annotated[
        int | None, typer.Option(min=2, help="How many clips are taken of a list or folder.", show_default="40")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of selection and permutation.")] = 2508,
    size: Annotated[
        int, typer.Option(min=64, max=2048, help="Width and height that clips are prepared at, a multiple of 16.")
    ] = 480,
    max_seconds: Annotated[float | None, typer.Option(min=1.0, help="Clips are cut to this length.")] = None,
    name: Annotated[str | None, typer.Option(help="Name of the split.", show_default="from its source")] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file.")] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write a split file from a public list, a folder of videos, or rendered clips.

    No dataset's split is shipped: its ids come from the list that the dataset's authors publish, so give that list.
    Clips are ordered by sha256 of seed and id; the first are taken, and each gets the audio of the next.
    """
    from infinitetalk_cli.errors import OutputError, writing_to
    from infinitetalk_cli.evaluate.splits.make import CLIPS, described, from_folder, from_lists
    from infinitetalk_cli.evaluate.splits.split import SPLIT_NAME, Prepare, write_split

    _check_sources(dataset, list_files, videos, procedural, uncut)
    rendering = {"--seconds": seconds, "--moving-camera": moving_camera or None}
    _check_idle("--procedural", {} if procedural is not None else rendering)
    _check_idle("a list or folder to take from", {"--clips": clips} if procedural is not None else {})
    _check_idle("--dataset", {"--revision": revision} if dataset is None else {})
    _check_idle("--uncut", {"--videos": videos} if dataset is not None and not uncut else {})
    if out.exists() and not force:
        raise OutputError(f"{out}: already exists; add --force to overwrite it")
    if name is not None and not SPLIT_NAME.fullmatch(name):
        raise typer.BadParameter(f"--name {name}: wants letters, digits, '.', '_', '-', and no '.' or '-' in front")
    if size % 16:
        raise typer.BadParameter(f"--size {size}: must be a multiple of 16")
    prepare = Prepare(size=size, max_seconds=max_seconds)
    notes: list[str] = []
    with make_reporter(quiet) as reporter:
        if dataset is not None and list_files:
            folder = videos if uncut else None
            split, listed = from_lists(
                dataset, list_files, clips=clips or CLIPS, seed=seed, prepare=prepare, revision=revision, uncut=folder
            )
            notes = listed.notes
        elif procedural is not None and videos is not None:
            from infinitetalk_cli.evaluate.splits.rendered import render_split

            split = render_split(
                videos, clips=procedural, seconds=seconds or 8.0, seed=seed, prepare=prepare, camera=moving_camera,
                progress=reporter,
            )  # fmt: skip
        else:
            split = from_folder(videos, name=_name_of(videos), clips=clips or CLIPS, seed=seed, prepare=prepare)
        for note in notes[:5]:
            reporter.note(note)
        if len(notes) > 5:
            reporter.note(f"and {len(notes) - 5} more entries of the list could not be used")
    if name is not None:
        split = split.model_copy(update={"name": name})
    with writing_to(out):
        out.parent.mkdir(parents=True, exist_ok=True)
    write_split(split, out)
    if as_json:
        show_json({"status": "done", "split": str(out), "clips": len(split.items), "notes": notes})
    else:
        typer.echo(f"{out}: {described(split)}")


def _check_idle(needed: str, options: Mapping[str, object]) -> None:
    """Options that do nothing without another one say so."""
    idle = [option for option, value in options.items() if value is not None]
    if idle:
        raise typer.BadParameter(f"{idle[0]} has no effect without {needed}")


def _name_of(folder: Path) -> str:
    kept = "".join(letter if letter.isalnum() or letter in "._-" else "-" for letter in folder.resolve().name)
    return kept.strip(".-")[:100] or "clips"


def _check_sources(
    dataset: str | None, lists: list[Path] | None, videos: Path | None, procedural: int | None, uncut: bool
) -> None:
    if (dataset is None) != (not lists):
        raise typer.BadParameter("--dataset and --list go together: the list is what the dataset's authors publish")
    if dataset is not None and procedural is not None:
        raise typer.BadParameter("--procedural renders clips, --dataset reads a list; give one of them")
    if uncut and (dataset is None or videos is None):
        raise typer.BadParameter("--uncut needs --dataset, --list and --videos")
    if dataset is None and videos is None:
        raise typer.BadParameter("give --dataset and --list, or --videos (with --procedural N to render into it)")


def prepare(
    split: SplitFile,
    videos: Videos,
    out: Annotated[Path, typer.Option(help="Where ID.mkv and ID.wav are written.", show_default=False)],
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write every clip of a split as other tools need it: picture (ID.mkv, lossless) and new audio (ID.wav).

    Dub ID.mkv with ID.wav, call the result ID.mp4, and score it with 'eval run --outputs'.
    """
    from infinitetalk_cli.errors import BatchError, InputError
    from infinitetalk_cli.evaluate.splits.prepare import prepare_clip
    from infinitetalk_cli.evaluate.splits.split import read_split

    check_folder(videos)
    read = read_split(split)
    failed: list[str] = []
    with make_reporter(quiet) as reporter:
        reporter.start("preparing clips", len(read.items))
        for item in read.items:
            try:
                prepare_clip(item, read, videos, out)
            except InputError as exc:
                failed.append(f"{item.id}: {exc}")
                reporter.note(failed[-1])
            reporter.advance()
    done = len(read.items) - len(failed)
    lost = (
        BatchError(f"{len(failed)} of {len(read.items)} clips could not be prepared; {failed[0]}") if failed else None
    )
    if as_json:
        status = {"status": "done"} if lost is None else {"status": "incomplete", "exit_code": 8, "error": str(lost)}
        show_json({**status, "prepared": done, "failed": failed})
    else:
        typer.echo(f"{out}: {done} of {len(read.items)} clips prepared")
    if lost is not None:
        end_incomplete(lost, as_json)


def check_folder(videos: Path) -> None:
    """A wrong --videos is a wrong command line, not a split whose videos are all missing."""
    if not videos.is_dir():
        raise typer.BadParameter(f"--videos {videos}: no such folder")


def end_incomplete(lost: InfiniteTalkError, as_json: bool) -> NoReturn:
    """End with the exit code of `lost`; with --json the one document has been printed, so only stderr hears of it."""
    if not as_json:
        raise lost
    show_error(str(lost), lost.exit_code, as_json=False)
    raise typer.Exit(int(lost.exit_code))
