"""Small, full and read-only disks: real mounts where the machine lets us, with the reason where it does not."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

PAGE_BYTES = 4096
"""What a tmpfs counts in."""


def _mount(*words: object) -> str:
    """What `mount` said against it; empty if it was done."""
    if sys.platform != "linux" or os.geteuid() != 0 or shutil.which("mount") is None:
        return "mounting needs Linux and root"
    done = subprocess.run(["mount", *map(str, words)], capture_output=True, text=True, check=False)
    return done.stderr.strip() or "mount failed" if done.returncode else ""


def _unmount(folder: Path) -> None:
    subprocess.run(["umount", "--lazy", str(folder)], capture_output=True, check=True)


class SmallDisk:
    """A tmpfs at `folder` whose size can be changed; other disks are not touched."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def used_bytes(self) -> int:
        """What its files take."""
        stat = os.statvfs(self.folder)
        return (stat.f_blocks - stat.f_bfree) * stat.f_frsize

    def resize(self, size_bytes: int) -> None:
        """Give it room for `size_bytes` in all, rounded down to pages."""
        size_bytes = max(PAGE_BYTES, size_bytes // PAGE_BYTES * PAGE_BYTES)
        refused = _mount("-o", f"remount,size={size_bytes}", self.folder)
        assert not refused, refused


@contextmanager
def small_disk(folder: Path, size_bytes: int = 64 * 2**20) -> Iterator[SmallDisk]:
    """A disk of its own at the new folder `folder`; the test is skipped where that is not possible."""
    folder.mkdir(parents=True)
    refused = _mount("-t", "tmpfs", "-o", f"size={size_bytes}", "tmpfs", folder)
    if refused:
        pytest.skip(f"no small disk can be mounted here: {refused}")
    try:
        yield SmallDisk(folder)
    finally:
        _unmount(folder)


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Nobody can write below `folder` during the body, not even root; skips where that is not possible."""
    refused = _mount("--bind", folder, folder)
    if refused:
        pytest.skip(f"no read-only mount here: {refused}")
    try:
        refused = _mount("-o", "remount,ro,bind", folder)
        if refused:
            pytest.skip(f"no read-only mount here: {refused}")
        yield
    finally:
        _unmount(folder)
