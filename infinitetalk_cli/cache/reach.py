"""How far the cache's locks reach: whether another computer that shares the folder respects them.

Locks are flock(2) on a file. Linux passes them on to the server on NFS (as byte-range locks, see flock(2)) unless the
mount says otherwise (nfs(5): `local_lock`, `nolock`), on Lustre where it is mounted with `flock`, on CephFS and GFS2.
"""

from __future__ import annotations

import os
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

from infinitetalk_cli.errors import OutputError

_LOCAL = frozenset("apfs bcachefs btrfs ext2 ext3 ext4 f2fs jfs ntfs overlay ramfs tmpfs xfs zfs".split())
_KEPT_LOCAL = {
    "nfs": ("local_lock=flock", "local_lock=all", "nolock"),
    "nfs4": ("local_lock=flock", "local_lock=all"),
    "lustre": (),
    "ceph": (),
    "gfs2": ("localflocks",),
}
"""Shared file systems that pass locks on, with the mount options that make them keep locks to themselves."""


_WANTS = {"lustre": "flock"}
"""Mount options without which there are no such locks."""


class Reach(StrEnum):
    """Who respects a lock."""

    EVERYBODY = "all computers that share the folder"
    THIS_COMPUTER = "this computer only"
    UNKNOWN = "perhaps this computer only"


class Locks(NamedTuple):
    """How far locks in a folder reach, and the file system that decides it."""

    reach: Reach
    file_system: str


def locks_in(folder: Path) -> Locks:
    """As the system's table of mounts has it; nothing is written."""
    import psutil

    place = os.path.realpath(folder)
    mounts = [mount for mount in psutil.disk_partitions(all=True) if _is_below(place, mount.mountpoint)]
    if not mounts:
        return Locks(Reach.UNKNOWN, "unknown")
    mount = max(enumerate(mounts), key=lambda item: (len(item[1].mountpoint), item[0]))[1]
    return Locks(reach_of(mount.fstype, mount.opts), mount.fstype)


def reach_of(file_system: str, options: str) -> Reach:
    """What is known of a kind of file system, mounted with `options` (as in /proc/mounts)."""
    if file_system in _LOCAL:
        return Reach.THIS_COMPUTER
    if file_system not in _KEPT_LOCAL:
        return Reach.UNKNOWN
    given = options.split(",")
    if _WANTS.get(file_system, given[0]) not in given:
        return Reach.UNKNOWN
    return Reach.THIS_COMPUTER if any(each in given for each in _KEPT_LOCAL[file_system]) else Reach.EVERYBODY


def require_locks(folder: Path) -> None:
    """Raise `OutputError` if two programs could hold one lock in `folder` at the same time, even on this computer.

    A folder that cannot be written is left alone: whoever has to write there says so.
    """
    if _locks_exclude(folder):
        return
    raise OutputError(
        f"{folder}: locks have no effect on this file system ({locks_in(folder).file_system}), two runs would do the "
        "same work; name another folder with --cache-dir, or run one batch at a time"
    )


def _locks_exclude(folder: Path) -> bool:
    try:
        import fcntl
    except ImportError:  # Windows, whose locks are others
        return True
    path = folder / f"tmp-locks-{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with path.open("w") as first, path.open("w") as second:
            path.unlink()
            fcntl.flock(first, fcntl.LOCK_EX | fcntl.LOCK_NB)
            fcntl.flock(second, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # the second one is refused, as it should be; or there are none, and lock files take their place
        return True
    return False


def _is_below(place: str, folder: str) -> bool:
    return place == folder or place.startswith(folder.rstrip("/") + "/")
