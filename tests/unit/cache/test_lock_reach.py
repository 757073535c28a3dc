"""What is known of locks on shared file systems."""

from __future__ import annotations

import fcntl
from pathlib import Path

import pytest

from infinitetalk_cli.cache.reach import Reach, locks_in, reach_of, require_locks
from infinitetalk_cli.errors import OutputError


@pytest.mark.parametrize(
    ("file_system", "options", "reach"),
    [
        ("nfs4", "rw,relatime,vers=4.2,local_lock=none,addr=10.0.0.1", Reach.EVERYBODY),
        ("nfs", "rw,vers=3,local_lock=none", Reach.EVERYBODY),
        ("nfs", "rw,vers=3,nolock,local_lock=all", Reach.THIS_COMPUTER),
        ("nfs4", "rw,local_lock=flock", Reach.THIS_COMPUTER),
        ("nfs4", "rw,local_lock=posix", Reach.EVERYBODY),
        ("lustre", "rw,flock,lazystatfs", Reach.EVERYBODY),
        ("lustre", "rw,localflock", Reach.UNKNOWN),
        ("lustre", "rw", Reach.UNKNOWN),
        ("ext4", "rw,relatime", Reach.THIS_COMPUTER),
        ("fuse.sshfs", "rw", Reach.UNKNOWN),
        ("9p", "rw", Reach.UNKNOWN),
    ],
)
def test_mounts_tell_how_far_locks_reach(file_system: str, options: str, reach: Reach):
    assert reach_of(file_system, options) is reach


def test_the_mount_of_a_folder_is_found_before_it_is_made(tmp_path: Path):
    assert locks_in(tmp_path / "not" / "there") == locks_in(tmp_path)
    assert locks_in(tmp_path).file_system != "unknown"


def test_locks_that_do_nothing_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    require_locks(tmp_path / "locks")
    monkeypatch.setattr(fcntl, "flock", lambda file, operation: None)
    with pytest.raises(OutputError, match="locks have no effect"):
        require_locks(tmp_path / "locks")
    assert list((tmp_path / "locks").iterdir()) == []
