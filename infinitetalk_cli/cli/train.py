"""`infinitetalk train`: make a model with a shipped or own configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from infinitetalk_cli.cli.options import Json, Quiet, Verbose
from infinitetalk_cli.cli.render import make_reporter, show_json


def train(
    config: Annotated[str, typer.Argument(help="A shipped configuration (nano) or a YAML file.", show_default=False)],
    out: Annotated[Path, typer.Option(help="Folder of the run; give it again to go on.")] = Path("runs/nano"),
    data: Annotated[
        Path | None, typer.Option(help="Folder of rendered clips to use or fill.", show_default="OUT/world")
    ] = None,
    step: Annotated[
        list[str] | None, typer.Option(help="Only this step; may be repeated.", show_default="all of them")
    ] = None,
    cpu: Annotated[bool, typer.Option("--cpu", help="Do not use a GPU.")] = False,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Train a model from nothing: characters, speech, audio encoder, codec, transformer, probe, export.

    Stop it at any time and run it again: finished steps are kept, and the transformer goes on from its last
    checkpoint to the same result.
    """
    from infinitetalk_cli.cli.log import open_log
    from infinitetalk_cli.train.config import load_settings
    from infinitetalk_cli.train.recipe import STEPS, Recipe

    unknown = [name for name in step or () if name not in STEPS]
    if unknown:
        raise typer.BadParameter(f"no step {unknown[0]}; the steps are {', '.join(STEPS)}", param_hint="--step")
    settings = load_settings(config)
    open_log(out, "train", verbose=verbose)
    with make_reporter(quiet) as reporter:
        Recipe(settings, out, reporter, data=data, cpu=cpu).run(tuple(step) if step else STEPS)
    weights = out / "weights"
    if as_json:
        show_json({"status": "done", "weights": str(weights)})
    else:
        typer.echo(weights)
