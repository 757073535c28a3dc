"""Options of `dub` for the room that it takes on the disk."""

from __future__ import annotations

from typing import Annotated

import typer

from infinitetalk_cli.cli.options import CACHE_SIZE_VARIABLE
from infinitetalk_cli.sizes import parse_bytes

_RUN = "How to run"

IgnoreDisk = Annotated[
    bool,
    typer.Option(
        "--ignore-disk", help="Start even if the forecast says that the disk is too small.", rich_help_panel=_RUN
    ),
]
CacheSize = Annotated[
    str | None,
    typer.Option(
        "--cache-size",
        envvar=CACHE_SIZE_VARIABLE,
        metavar="SIZE",
        help="After the job keep the cache to this size, such as 200GB: what was used least recently goes.",
        show_default="no limit",
        rich_help_panel=_RUN,
    ),
]


def cache_bytes(text: str | None) -> int | None:
    """`--cache-size` in bytes; typer's usage error for what is no size."""
    if text is None:
        return None
    try:
        return parse_bytes(text)
    except ValueError as exc:
        raise typer.BadParameter(f"--cache-size (or {CACHE_SIZE_VARIABLE}): {exc}") from exc
