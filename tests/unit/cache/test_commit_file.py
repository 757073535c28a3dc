"""Single files inside a work folder: whole or absent, and damage is noticed."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from infinitetalk_cli.cache import files
from infinitetalk_cli.cache.files import (
    commit_file,
    committed,
    sidecar_of,
    temporary_for,
    write_text_atomic,
)
from infinitetalk_cli.errors import OutputError, ResourceError


@pytest.fixture
def chunk(tmp_path: Path) -> Path:
    """A committed chunk file."""
    final = tmp_path / "chunk-0001.mkv"
    temporary = temporary_for(final)
    temporary.write_bytes(os.urandom(100_000))
    commit_file(temporary, final)
    return final


def test_committed_file_is_there_and_its_temporary_name_gone(chunk: Path):
    assert committed(chunk)
    assert committed(chunk, always_hash=True)
    assert not temporary_for(chunk).exists()
    assert temporary_for(chunk).suffix == ".mkv"


def test_file_that_was_never_committed_does_not_count(tmp_path: Path):
    path = tmp_path / "chunk.mkv"
    assert not committed(path)
    path.write_bytes(b"frames")
    assert not committed(path)


def test_truncated_file_is_noticed(chunk: Path):
    with chunk.open("rb+") as file:
        file.truncate(99_999)
    assert not committed(chunk)


def test_flipped_bit_is_noticed(chunk: Path):
    data = bytearray(chunk.read_bytes())
    data[50_000] ^= 1
    chunk.write_bytes(data)
    assert not committed(chunk)


def test_rot_below_the_time_stamp_needs_the_deep_look(chunk: Path):
    stat = chunk.stat()
    data = bytearray(chunk.read_bytes())
    data[50_000] ^= 1
    chunk.write_bytes(data)
    os.utime(chunk, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert committed(chunk)
    assert not committed(chunk, always_hash=True)


def test_copied_file_is_hashed_once(chunk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    copy = tmp_path / "copy" / chunk.name
    copy.parent.mkdir()
    shutil.copyfile(chunk, copy)
    shutil.copyfile(sidecar_of(chunk), sidecar_of(copy))
    os.utime(copy, (5, 5))
    assert committed(copy)
    monkeypatch.setattr(files, "sha256_of", lambda path: pytest.fail("hashed again"))
    assert committed(copy)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"size_bytes": 1}', '{"size_bytes": "1", "mtime_ns": 1, "sha256": ""}']
)
def test_unreadable_sidecar_means_not_committed(chunk: Path, text: str):
    sidecar_of(chunk).write_text(text)
    assert not committed(chunk)


def test_killed_between_rename_and_sidecar_means_not_committed(chunk: Path):
    sidecar_of(chunk).unlink()
    assert not committed(chunk)


def test_committing_again_replaces_a_damaged_file(chunk: Path):
    chunk.write_bytes(b"")
    temporary_for(chunk).write_bytes(b"better")
    commit_file(temporary_for(chunk), chunk)
    assert committed(chunk)
    assert chunk.read_bytes() == b"better"


def test_full_disk_is_a_resource_error_and_the_old_file_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "state.json"
    write_text_atomic(path, "old")

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ResourceError, match="no space left"):
        write_text_atomic(path, "new")
    monkeypatch.undo()
    assert path.read_text() == "old"
    assert [item.name for item in tmp_path.iterdir()] == ["state.json"]


@pytest.mark.skipif(sys.platform == "win32", reason="no file size limit to hit here")
def test_file_size_limit_is_a_resource_error(tmp_path: Path):
    code = (
        "import resource, sys; from pathlib import Path\n"
        "from infinitetalk_cli.cache.files import write_text_atomic\n"
        "from infinitetalk_cli.errors import ResourceError\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "try: write_text_atomic(Path(sys.argv[1]), 'x' * 5000)\n"
        "except ResourceError: print('resource')\n"
    )
    target = tmp_path / "big.txt"
    command = [sys.executable, "-c", code, str(target)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "resource"
    assert list(tmp_path.iterdir()) == []


def test_unwritable_place_is_an_output_error(tmp_path: Path):
    in_the_way = tmp_path / "file"
    in_the_way.write_text("")
    with pytest.raises(OutputError):
        write_text_atomic(in_the_way / "x.json", "{}")
