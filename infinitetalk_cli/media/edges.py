"""Where PyAV's errors become ours, and where file names become addresses that libavformat cannot misread."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import av
import av.container

from infinitetalk_cli.errors import InputError, OutputError, writing_to

_TEXT_ART = {"tty", "bin", "xbin", "adf", "idf", "artworx"}
"""Demuxers that draw any text, or nearly anything, as the screen of a terminal; nobody means that."""

_OPEN_OPTIONS = {
    "pattern_type": "none",  # `%03d` or `*` in a picture's name is a name, not a sequence
    "protocol_whitelist": "file",  # a playlist must not reach for the network
}


def url_of(path: Path) -> str:
    """Address of `path` for libavformat; with the protocol spelled out nothing in the name is special."""
    return "file:" + os.path.abspath(path)


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """PyAV's errors inside the block become an `InputError` about `path`."""
    try:
        yield
    except av.FFmpegError as exc:
        raise InputError(f"{path}: cannot be read as media ({exc.strerror}); it may be damaged or cut short") from exc


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """PyAV's errors inside the block become an `OutputError` or, with a full disk, a `ResourceError`."""
    try:
        with writing_to(path):
            yield
    except av.FFmpegError as exc:
        raise OutputError(f"{path}: cannot be written ({exc.strerror}); choose another place or format") from exc


def check_is_file(path: Path) -> None:
    """`InputError` unless `path` is a file with something in it that we may read."""
    try:
        if not path.exists():
            raise InputError(f"{path}: no such file; check the name")
        if not path.is_file():
            raise InputError(f"{path}: not a file; give the name of a media file")
        if path.stat().st_size == 0:
            raise InputError(f"{path}: the file is empty")
        with path.open("rb"):
            pass
    except OSError as exc:
        raise InputError(f"{path}: cannot be opened ({exc.strerror}); check its permissions") from exc


@contextmanager
def open_media(path: Path) -> Iterator[av.container.InputContainer]:
    """Open `path` for reading; whatever PyAV raises inside the block becomes an `InputError`."""
    check_is_file(path)
    try:
        container = av.open(url_of(path), container_options=_OPEN_OPTIONS, metadata_errors="replace")
    except av.FFmpegError as exc:
        raise InputError(
            f"{path}: not a media file we can read ({exc.strerror}); it may be damaged or cut short"
        ) from exc
    with container, reading(path):
        if container.format.name in _TEXT_ART:
            raise InputError(f"{path}: not a media file")
        yield container
