"""Options and conventions that several commands share."""

from __future__ import annotations

import logging
import os
import sys
import time
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
WeightsDir = Annotated[
    Path | None,
    typer.Option(
        envvar="INFINITETALK_WEIGHTS",
        help="Folder of weights that are not built in.",
        show_default="weights/ in the cache folder",
    ),
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")]


def cache_root(cache_dir: Path | None) -> Path:
    """The cache folder: the one asked for, else the platform's place for it."""
    if cache_dir is not None:
        return cache_dir.absolute()
    from platformdirs import user_cache_path

    return user_cache_path("infinitetalk", appauthor=False)


class _CurrentStderr(logging.StreamHandler):
    """Writes to whatever standard error is at that moment (bars put themselves in its place), each sentence once."""

    def __init__(self) -> None:
        super().__init__()
        self._said: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        sentence = record.getMessage()
        if sentence not in self._said:
            self._said.add(sentence)
            self.stream = sys.stderr
            super().emit(record)


def open_log(root: Path, command: str, *, verbose: bool, quiet: bool = False) -> None:
    """Send the full log of this run to a file below `root`, and to stderr all of it, warnings or only errors."""
    folder = root / "logs"
    path = folder / f"{time.strftime('%Y%m%d-%H%M%S')}-{command}-{os.getpid()}.log"
    logger = logging.getLogger()
    logger.setLevel(logging.INFO)
    logging.getLogger("infinitetalk_cli").setLevel(logging.DEBUG)
    to_terminal = _CurrentStderr()
    to_terminal.setLevel(logging.DEBUG if verbose else logging.ERROR if quiet else logging.WARNING)
    to_terminal.setFormatter(logging.Formatter("%(levelname)s: %(message)s"))
    logger.addHandler(to_terminal)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        to_file = logging.FileHandler(path, encoding="utf-8")
    except OSError as exc:
        logger.warning("no log is kept, %s cannot be written (%s)", path, exc.strerror)
        return
    to_file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logger.addHandler(to_file)
