"""What can go wrong for a user, one class per exit code.

Every message is one sentence that says what is wrong, where, and what to do. Anything that is not one of
these classes is a bug of ours: exit code 1, with the traceback in the log.
"""

from __future__ import annotations

import errno
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from pathlib import Path


class ExitCode(IntEnum):
    """Exit codes of every command; a number keeps its meaning once released."""

    DONE = 0
    BUG = 1
    USAGE = 2
    PROFILE = 3
    INPUT = 4
    DEPENDENCY = 5
    RESOURCE = 6
    OUTPUT = 7
    BATCH = 8
    LOCKED = 9
    PEER = 10
    INTERRUPTED = 130
    TERMINATED = 143


class InfiniteTalkError(Exception):
    """Base of all errors that are shown to the user as one sentence."""

    exit_code = ExitCode.BUG


class ProfileError(InfiniteTalkError):
    """A profile or a setting is unusable."""

    exit_code = ExitCode.PROFILE


class InputError(InfiniteTalkError):
    """Media cannot be read, or is not fit for the job."""

    exit_code = ExitCode.INPUT


class DependencyError(InfiniteTalkError):
    """Weights, an optional extra or a device is missing or damaged."""

    exit_code = ExitCode.DEPENDENCY


class ResourceError(InfiniteTalkError):
    """Memory or disk ran out, or will not suffice; the job can be resumed."""

    exit_code = ExitCode.RESOURCE


class OutputError(InfiniteTalkError):
    """The result cannot be written, or would overwrite something."""

    exit_code = ExitCode.OUTPUT


class BatchError(InfiniteTalkError):
    """Some items of a batch failed; the others are done."""

    exit_code = ExitCode.BATCH


class LockedError(InfiniteTalkError):
    """Another run holds this job."""

    exit_code = ExitCode.LOCKED


class PeerError(InfiniteTalkError):
    """A process of a run on several GPUs or machines died, or cannot be reached; the job can be resumed."""

    exit_code = ExitCode.PEER


_NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@contextmanager
def writing_to(path: Path) -> Iterator[None]:
    """Turn the operating system's refusal to write at `path` into our errors.

    A full disk, a quota or a file size limit is a `ResourceError` (finished work is kept), anything else an
    `OutputError`. PyAV's errors carry an errno too, so the same edge serves both.
    """
    try:
        yield
    except OSError as exc:
        if exc.errno in _NO_SPACE:
            raise ResourceError(
                f"{path}: no space left on the disk; free some and run the same command again, "
                "finished stages and chunks are kept"
            ) from exc
        raise OutputError(f"{path}: cannot be written ({exc.strerror or exc}); choose another place") from exc


class Stopped(BaseException):
    """SIGINT or SIGTERM arrived. Not an `Exception`, so that no handler of errors swallows it."""

    def __init__(self, signum: int) -> None:
        self.exit_code = ExitCode(128 + signum)
        super().__init__(signal.Signals(signum).name)
