"""Figures of a training as lines of JSON, and for TensorBoard where that is installed."""

from __future__ import annotations

import json
import logging
from pathlib import Path

from infinitetalk_cli.errors import writing_to

log = logging.getLogger(__name__)


class Metrics:
    """`metrics.jsonl` in `folder`, and event files in `folder/tensorboard`.

    What a broken run wrote after the checkpoint at `step` is dropped: those steps are run again.
    """

    def __init__(self, folder: Path, step: int) -> None:
        self._file = folder / "metrics.jsonl"
        if self._file.exists():
            lines = self._file.read_text(encoding="utf-8").splitlines()
            kept = [line for line in lines if _step_of(line) <= step]
            if len(kept) < len(lines):
                self._file.write_text("".join(line + "\n" for line in kept), encoding="utf-8")
        self._board = _tensorboard(folder / "tensorboard", step)

    def add(self, step: int, figures: dict[str, float]) -> None:
        """Write the figures of one step."""
        with writing_to(self._file), self._file.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step, **figures}) + "\n")
        if self._board is not None:
            for name, value in figures.items():
                self._board.add_scalar(name, value, step)
            self._board.flush()


def _step_of(line: str) -> float:
    """The step of a line; a line that was cut short belongs to none that counts."""
    try:
        return json.loads(line)["step"]
    except (ValueError, KeyError, TypeError):
        return float("inf")


def _tensorboard(folder: Path, step: int):
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        log.info("tensorboard is not installed; figures go to metrics.jsonl only")
        return None
    return SummaryWriter(str(folder), purge_step=step + 1)
