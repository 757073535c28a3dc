"""`infinitetalk train`: make a model with a shipped or own configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from infinitetalk_cli.cli.options import CacheDir, Json, Quiet, Verbose, WeightsDir, weights_root
from infinitetalk_cli.cli.render import make_reporter, show_json


def train(
    config: Annotated[
        str,
        typer.Argument(
            help="A shipped configuration (nano, nano-motion, finetune-nano, lora-infinitetalk, ...) or a YAML file.",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path | None, typer.Option(help="Folder of the run; give it again to go on.", show_default="runs/CONFIG")
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            help="Folder of talking videos; or of rendered clips, to use or fill.", show_default="rendered, OUT/world"
        ),
    ] = None,
    hours: Annotated[
        float | None,
        typer.Option(
            min=0.001, help="Train the transformer for this long, however many steps that makes.", show_default=False
        ),
    ] = None,
    step: Annotated[
        list[str] | None, typer.Option(help="Only this step; may be repeated.", show_default="all of them")
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes that render and encode.")] = 1,
    cpu: Annotated[bool, typer.Option("--cpu", help="Do not use a GPU.")] = False,
    cache_dir: CacheDir = None,
    weights_dir: WeightsDir = None,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Train a model: nano from nothing or further, or a LoRA of the large model.

    Stop it at any time and run it again: finished steps are kept, and the transformer goes on from its last
    checkpoint to the same result.
    """
    from infinitetalk_cli.cli.log import open_log
    from infinitetalk_cli.train.config import load_settings
    from infinitetalk_cli.train.lora_settings import LoraSettings

    settings = load_settings(config)
    if hours is not None:
        settings = settings.model_copy(update={"flow": settings.flow.model_copy(update={"hours": hours})})
    out = out or Path("runs") / settings.name
    with make_reporter(quiet) as reporter:
        if isinstance(settings, LoraSettings):
            from infinitetalk_cli.train.lora_recipe import STEPS, LoraRecipe

            root = weights_root(weights_dir, cache_dir)
            recipe = LoraRecipe(settings, out, reporter, _videos(settings.name, data), root, cpu)
        else:
            from infinitetalk_cli.train.recipe import STEPS, Recipe

            recipe = Recipe(settings, out, reporter, data, cpu, workers)
        unknown = [name for name in step or () if name not in STEPS]
        if unknown:
            raise typer.BadParameter(f"no step {unknown[0]}; the steps are {', '.join(STEPS)}", param_hint="--step")
        open_log(out, "train", verbose=verbose)
        recipe.run(tuple(step) if step else STEPS)
    if as_json:
        show_json({"status": "done", "weights": str(recipe.weights)})
    else:
        typer.echo(recipe.weights)


def _videos(name: str, data: Path | None) -> Path:
    if data is None:
        raise typer.BadParameter(f"configuration {name} trains on your videos; name their folder", param_hint="--data")
    return data
