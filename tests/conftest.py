"""What every kind of test shares: the project's clip maker on the path, and the command as a function."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from infinitetalk_cli.machine import num_processors

sys.path.insert(0, str(Path(__file__).parent))

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the command does, before torch is imported

_MOST_WORKERS = 4
"""Each takes about 1 GB."""

if _WORKERS := int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "0")):
    # More threads than cores wait for each other; also for the processes that tests start.
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, num_processors() // _WORKERS)))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """For `-n auto`: the cores we may use; by itself it counts only physical ones, whether they are ours or not."""
    return min(num_processors(), _MOST_WORKERS)


@dataclass(frozen=True)
class Outcome:
    """How a command ended."""

    exit_code: int
    stdout: str
    stderr: str

    @property
    def document(self) -> dict[str, Any]:
        """The one JSON document on stdout."""
        return json.loads(self.stdout)


RunCommand = Callable[..., Outcome]


def run_here(*args: object) -> Outcome:
    """`infinitetalk ARGS` in this process; returns how it ended."""
    from infinitetalk_cli.cli.app import main

    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    kept_loggers = list(logging.getLogger().handlers)
    out, err = io.StringIO(), io.StringIO()
    with (
        mock.patch.object(sys, "argv", ["infinitetalk", *map(str, args)]),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            main()
            code = 0
        except SystemExit as exc:
            code = exc.code if isinstance(exc.code, int) else 0 if exc.code is None else 1
    logging.getLogger().handlers[:] = kept_loggers
    for number, handler in handlers.items():
        signal.signal(number, handler)
    return Outcome(int(code), out.getvalue(), err.getvalue())


@pytest.fixture
def run_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunCommand:
    """`run_here` with a cache of its own."""
    monkeypatch.setenv("INFINITETALK_CACHE", str(tmp_path / "cache"))
    return run_here


@pytest.fixture(scope="session")
def run_command_in() -> RunCommand:
    """`run_here`, for fixtures that outlive a test; the arguments name the cache."""
    return run_here


@pytest.fixture
def small_profile(tmp_path: Path) -> Path:
    """nano with short chunks and little pictures: several chunks in a second or two."""
    path = tmp_path / "small.yaml"
    path.write_text(
        "extends: nano\n"
        "geometry: {area_px: 4096}\n"
        "chunks: {num_frames: 17, context_frames: 5}\n"
        "sampling: {num_steps: 2, audio_guidance_scale: 1.0}\n"
    )
    return path
