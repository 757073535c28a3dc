"""Small commands around dubbing: the sample, the list of profiles."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated

import typer

from infinitetalk_cli.cli.options import CacheDir, Json, WeightsDir, weights_root
from infinitetalk_cli.cli.render import show_json, show_table


def sample(
    folder: Annotated[Path, typer.Argument(help="Where to write in.mp4 and fr.wav.", show_default=False)],
    force: Annotated[bool, typer.Option("--force", help="Overwrite files of these names.")] = False,
    as_json: Json = False,
) -> None:
    """Write a short talking clip and a French voice to try things on."""
    from infinitetalk_cli.errors import OutputError, writing_to

    shipped = Path(__file__).resolve().parent.parent / "samples"
    sources = sorted(path for path in shipped.iterdir() if path.suffix in (".mp4", ".wav"))
    written = [folder / source.name for source in sources]
    for target in written:
        if target.exists() and not force:
            raise OutputError(f"{target}: already exists; add --force to overwrite it")
    with writing_to(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for source, target in zip(sources, written, strict=True):
            shutil.copyfile(source, target)
    if as_json:
        show_json({"status": "done", "files": [str(path) for path in written]})
    else:
        for target in written:
            typer.echo(target)


def profiles(weights_dir: WeightsDir = None, cache_dir: CacheDir = None, as_json: Json = False) -> None:
    """List the profiles that come with infinitetalk: what they are, how much work, whether their weights are here.

    Work is that of the transformer for a second of video, beside infinitetalk-480p: counted, not measured.
    """
    from infinitetalk_cli.pipeline.profiles import describe_profiles

    rows = describe_profiles(weights_root(weights_dir, cache_dir))
    if as_json:
        show_json({"status": "done", "profiles": [row.as_dict() for row in rows]})
        return
    show_table(
        ("profile", "what it is", "work", "weights"),
        [(row.name, row.description, _work(row.work), "here" if row.weights_are_here else "not here") for row in rows],
    )


def _work(share: float | None) -> str:
    return "tiny" if share is None else f"{share:.2g} x"
