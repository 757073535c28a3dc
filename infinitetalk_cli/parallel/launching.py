"""Starts the processes of a run on this machine, through accelerate's launcher, and says how they ended.

The program replaces itself by this one, so that nothing it looked at before (a GPU, files) is held while they run. The
launcher's own words go to the log: the main process tells what happened, and this program only where it cannot.
"""

from __future__ import annotations

import logging
import os
import signal
import site
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import infinitetalk_cli
from infinitetalk_cli.errors import ExitCode
from infinitetalk_cli.machine import num_processors

logger = logging.getLogger(__name__)

ENDED = "INFINITETALK_ENDED"
"""Names the file in which the main process leaves its exit code: then it has said everything itself."""


@dataclass(frozen=True)
class Launched:
    """How a run ended; `message` None: its main process has said why."""

    exit_code: int
    message: str | None = None


def tell_launcher(exit_code: int) -> None:
    """Leave the exit code of the main process where `launch` looks for it."""
    path = os.environ.get(ENDED)
    if path and os.environ.get("RANK") == "0":
        with suppress(OSError):  # the launcher is gone, and its folder
            Path(path).write_text(str(exit_code), encoding="ascii")


def launch(words: Sequence[str], num_processes: int) -> Launched:
    """Run `infinitetalk WORDS` in `num_processes` processes here, and wait for their end."""
    with tempfile.TemporaryDirectory(prefix="infinitetalk-") as folder:
        ended = Path(folder) / "exit-code"
        os.environ[ENDED] = str(ended)
        os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # remarks on sockets
        failed = _launched(words, num_processes)
        try:
            return Launched(int(ended.read_text(encoding="ascii")))
        except (OSError, ValueError):
            return failed or Launched(ExitCode.PEER, f"the processes ended without a word; {_AGAIN}")


def _launched(words: Sequence[str], num_processes: int) -> Launched | None:
    from accelerate.commands.launch import launch_command, launch_command_parser
    from torch.distributed.elastic.multiprocessing import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    _keep_to_the_log("torch", "accelerate")
    arguments = launch_command_parser().parse_args(_arguments(words, num_processes, os.environ))
    try:
        launch_command(arguments)
    except ChildFailedError as exc:
        rank, failure = exc.get_first_failure()
        how = f"ended with exit code {failure.exitcode}"
        if failure.exitcode < 0:
            how = f"was ended by {signal.Signals(-failure.exitcode).name}"
        return Launched(ExitCode.PEER, f"process {rank + 1} of {num_processes} {how}; {_AGAIN}")
    except SignalException as exc:
        return Launched(128 + exc.sigval, f"stopped by {exc.sigval.name}; run the same command again to go on")
    return None


def _arguments(words: Sequence[str], num_processes: int, environment: Mapping[str, str]) -> list[str]:
    """For accelerate's launcher; everything is said, so that no settings file of the user's changes it."""
    threads = environment.get("OMP_NUM_THREADS") or str(max(1, num_processors() // num_processes))
    return [
        "--multi_gpu",
        *("--num_processes", str(num_processes), "--num_machines", "1", "--machine_rank", "0"),
        *("--main_process_port", "0", "--gpu_ids", "all", "--rdzv_backend", "static"),
        *("--mixed_precision", "no", "--dynamo_backend", "no", "--num_cpu_threads_per_process", threads),
        *("--module", "infinitetalk_cli", *words),
    ]


def _keep_to_the_log(*names: str) -> None:
    """What these libraries say goes to our log file only."""
    for name in [*names, *logging.root.manager.loggerDict]:
        if name.split(".")[0] in names:
            named = logging.getLogger(name)
            named.handlers.clear()
            named.propagate = True


_AGAIN = "finished chunks are kept, run the same command again, with as many processes as you like"


def become_launcher(words: Sequence[str], num_processes: int, log_folder: Path) -> None:
    """Replace this program by one that calls `launch`; does not return."""
    sys.stdout.flush()
    sys.stderr.flush()
    command = [sys.executable, "-m", "infinitetalk_cli.cli.launch", str(num_processes), str(log_folder), *words]
    os.execve(sys.executable, command, _environment(os.environ))


def _environment(environment: Mapping[str, str]) -> dict[str, str]:
    """So that all processes import this very package, and no file beside the user's videos by accident."""
    root = str(Path(infinitetalk_cli.__file__).parent.parent)
    found = [] if root in (*site.getsitepackages(), site.getusersitepackages()) else [root]
    paths = [*found, *filter(None, [environment.get("PYTHONPATH")])]
    return {**environment, "PYTHONSAFEPATH": "1", "PYTHONPATH": os.pathsep.join(paths)}
