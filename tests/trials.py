"""Code tried in processes that may hang, crash in a native library or ask for all memory: each trial ends as a value.

    with Trials() as trials:
        trial = trials.run("module:function", arguments, deadline_s=30)

A server process imports what is slow to import once and forks for every trial, so that one costs milliseconds. The
functions return plain data. Linux only.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import resource
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_PRELOADED = ("torch", "infinitetalk_cli.media.writer", "infinitetalk_cli.media.reader", "infinitetalk_cli.media.scan")
_MIB = 1 << 20
_FILE_BYTES = 2 << 30


@dataclass(frozen=True)
class Trial:
    """How a trial ended. `value` is what the function returned, None if the process hung or was killed."""

    value: Any
    ended: str
    """"returned", "hung", or the signal that killed the process."""
    output: str
    """What was written to standard output and standard error."""
    seconds: float
    growth_mib: int
    """By how much the resident memory grew at most."""


class Trials:
    """A server of trials; a context manager."""

    def __enter__(self) -> Trials:
        # Threads of a pool do not survive a fork.
        env = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parent)}
        self._server = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env
        )
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._server.stdin.close()
        self._server.wait(timeout=30)
        self._server.stdout.close()

    def run(
        self, function: str, arguments: Sequence[Any], *, deadline_s: float = 60, memory_mib: int | None = None
    ) -> Trial:
        """Call `function` ("module:name") with plain data; `memory_mib` limits what it may map in addition."""
        request = {"function": function, "arguments": arguments, "deadline_s": deadline_s, "memory_mib": memory_mib}
        self._server.stdin.write(json.dumps(request) + "\n")
        self._server.stdin.flush()
        answer = self._server.stdout.readline()
        assert answer, "the server of trials has ended"
        return Trial(**json.loads(answer))


def serve() -> None:
    """Answer requests, one line of JSON each, until standard input ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for name in _PRELOADED:
        importlib.import_module(name)
    for line in sys.stdin:
        answers.write(json.dumps(_try(json.loads(line))) + "\n")
        answers.flush()


def _try(request: dict[str, Any]) -> dict[str, Any]:
    began_s = time.monotonic()
    reading, writing = os.pipe()
    with tempfile.TemporaryFile() as output:
        pid = os.fork()
        if pid == 0:
            os.close(reading)
            _child(request, writing, output.fileno())
        os.close(writing)
        answer = _answer(reading, began_s + request["deadline_s"])
        ended = "returned"
        if answer is None:
            os.kill(pid, signal.SIGKILL)
        status = os.waitpid(pid, 0)[1]
        if answer is None:
            ended = "hung"
        elif os.WIFSIGNALED(status):
            ended = signal.Signals(os.WTERMSIG(status)).name
        output.seek(0)
        said = output.read().decode("utf-8", "replace")
    value, growth_mib = json.loads(answer) if answer and ended == "returned" else (None, 0)
    seconds = time.monotonic() - began_s
    return {"value": value, "ended": ended, "output": said, "seconds": seconds, "growth_mib": growth_mib}


def _answer(reading: int, until_s: float) -> bytes | None:
    """All that the child sends until it closes its end, None if that takes too long."""
    parts = []
    with os.fdopen(reading, "rb", buffering=0) as pipe:
        while select.select([pipe], [], [], max(0.0, until_s - time.monotonic()))[0]:
            part = pipe.read(1 << 16)
            if not part:
                return b"".join(parts)
            parts.append(part)
    return None


def _child(request: dict[str, Any], writing: int, output: int) -> None:
    """Never returns."""
    os.dup2(output, 1)
    os.dup2(output, 2)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    try:
        import torch

        torch.set_num_threads(1)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_FSIZE, (_FILE_BYTES, _FILE_BYTES))
        if request["memory_mib"] is not None:
            limit = _status_kib("VmSize") * 1024 + request["memory_mib"] * _MIB
            resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")  # forget the peak of the process that forked
        before_kib = _status_kib("VmRSS")
        module, name = request["function"].split(":")
        value = getattr(importlib.import_module(module), name)(*request["arguments"])
        sys.stdout.flush()
        sys.stderr.flush()
        growth_mib = (_status_kib("VmHWM") - before_kib) // 1024
        _send(writing, json.dumps([value, growth_mib]).encode())
    except BaseException:
        import traceback

        os.write(2, traceback.format_exc().encode())
        os.kill(os.getpid(), signal.SIGABRT)
    os._exit(0)


def _send(writing: int, answer: bytes) -> None:
    with os.fdopen(writing, "wb") as pipe:
        pipe.write(answer)


def _status_kib(name: str) -> int:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name + ":"))
    return int(line.split()[1])


if __name__ == "__main__":
    serve()
