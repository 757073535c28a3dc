"""The log of a run: all of it in a file, what matters on standard error.

Apart from the other options, because `--help` does not need it.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from pathlib import Path


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


class _LogFile(logging.FileHandler):
    """Keeps what it can: on a full disk the log has a gap, and the user hears of the disk from the run itself."""

    def handleError(self, record: logging.LogRecord) -> None:
        """Say nothing; the base class would print a traceback into the terminal."""


def open_log(root: Path, command: str, *, verbose: bool, quiet: bool = False, to_file_only: bool = False) -> None:
    """Send the full log of this run to a file below `root`, and to stderr all of it, warnings or only errors.

    `to_file_only`: another process is heard on stderr.
    """
    from infinitetalk_cli.cache.files import make_folder

    folder = root / "logs"
    path = folder / f"{time.strftime('%Y%m%d-%H%M%S')}-{command}-{os.getpid()}.log"
    logger = logging.getLogger()
    logger.setLevel(logging.INFO)
    logging.getLogger("infinitetalk_cli").setLevel(logging.DEBUG)
    to_terminal = _CurrentStderr()
    to_terminal.setLevel(logging.DEBUG if verbose else logging.ERROR if quiet else logging.WARNING)
    to_terminal.setFormatter(logging.Formatter("%(levelname)s: %(message)s"))
    logging.captureWarnings(True)
    if not verbose:
        to_terminal.addFilter(lambda record: record.name != "py.warnings")
    if not to_file_only:
        logger.addHandler(to_terminal)
    try:
        make_folder(folder)
        to_file = _LogFile(path, encoding="utf-8")
    except OSError as exc:
        logger.warning("no log is kept, %s cannot be written (%s)", path, exc.strerror)
        return
    to_file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logger.addHandler(to_file)


def log_file() -> str | None:
    """The file that this run logs to, if it has one."""
    return next((h.baseFilename for h in logging.getLogger().handlers if isinstance(h, logging.FileHandler)), None)


def log_end(what: str, exc: BaseException) -> None:
    """Keep the traceback of what ended the run in the log."""
    logging.getLogger("infinitetalk_cli").debug(what, exc_info=exc)
