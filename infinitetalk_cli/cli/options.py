"""Options and conventions that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="Print the result as one JSON document.")]
Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="No progress; errors only.")]
Verbose = Annotated[bool, typer.Option("-v", "--verbose", help="Also print the log.")]
CacheDir = Annotated[
    Path | None,
    typer.Option(
        envvar="INFINITETALK_CACHE",
        help="Where finished stages and chunks are kept.",
        show_default="the user's cache folder",
    ),
]
CACHE_SIZE_VARIABLE = "INFINITETALK_CACHE_SIZE"
WeightsDir = Annotated[
    Path | None,
    typer.Option(
        envvar="INFINITETALK_WEIGHTS",
        help="Folder of weights that are not built in.",
        show_default="weights/ in the cache folder",
    ),
]
METRICS_VARIABLE = "INFINITETALK_METRICS"
MetricsDir = Annotated[
    Path | None,
    typer.Option(
        "--metrics-dir",
        envvar=METRICS_VARIABLE,
        help="Folder of the weights of metrics.",
        show_default="metrics/ in the weights folder",
    ),
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")]


def cache_root(cache_dir: Path | None) -> Path:
    """The cache folder: the one asked for, else the platform's place for it."""
    if cache_dir is not None:
        return cache_dir.absolute()
    from platformdirs import user_cache_path

    return user_cache_path("infinitetalk", appauthor=False)


def weights_root(weights_dir: Path | None, cache_dir: Path | None) -> Path:
    """The folder of weights that are not built in: the one asked for, else its place in the cache folder."""
    return weights_dir.absolute() if weights_dir is not None else cache_root(cache_dir) / "weights"
