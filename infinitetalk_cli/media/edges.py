"""Where PyAV's errors become ours, and where file names become addresses that libavformat cannot misread."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import av
import av.container

from infinitetalk_cli.errors import InputError, OutputError, writing_to

_REFERRING = {
    "hls", "applehttp", "concat", "dash", "imf", "sdp", "rtsp", "rtp", "sap", "vobsub", "webm_dash_manifest",
    "avisynth", "vapoursynth", "lavfi",
}  # fmt: skip
"""Demuxers that read other files, addresses or programs that a file names; only the file itself counts here."""

_TEXT_ART = {"tty", "bin", "xbin", "adf", "idf", "artworx"}
"""Demuxers that draw any text, or nearly anything, as the screen of a terminal; nobody means that."""

UNDECODABLE = (
    av.error.InvalidDataError,
    av.error.ArgumentError,
    av.error.PatchWelcomeError,
    av.error.BugError,
    av.error.ExternalError,
    av.error.UnknownError,
)
"""What a decoder says of a damaged packet; the next one may be good."""

_PLAYLISTS = (b"#EXTM3U", b"ffconcat", b"v=0\r", b"v=0\n", b"[playlist]")
"""How lists of other files begin."""

MOST_PIXELS = 2**26
"""The largest picture that is decoded, 8192x8192: a few bytes may claim one of any size."""


@cache
def _open_options() -> dict[str, str]:
    return {
        "pattern_type": "none",  # `%03d` or `*` in a picture's name is a name, not a sequence
        "protocol_whitelist": "file",  # nothing reaches for the network
        "format_whitelist": ",".join(sorted(av.formats_available - _REFERRING - _TEXT_ART)),
        "max_pixels": str(MOST_PIXELS),  # for the decoders that look for the shape of the picture
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
    """Open `path` for reading; whatever PyAV raises inside the block becomes an `InputError`.

    Nothing but `path` itself is read, and no picture of more than `MOST_PIXELS` is decoded.
    """
    check_is_file(path)
    try:
        container = av.open(url_of(path), options=_open_options(), metadata_errors="replace")
    except (av.FFmpegError, ValueError) as exc:  # PyAV has no words for some shapes of a stream
        if _is_playlist(path):
            raise InputError(f"{path}: not a media file but a list of others; give one that it names") from exc
        reason = getattr(exc, "strerror", None) or "a damaged header"
        raise InputError(f"{path}: not a media file we can read ({reason}); it may be damaged or cut short") from exc
    with container, reading(path):
        for stream in container.streams.video:
            if stream.codec_context is not None:
                stream.codec_context.options = {"max_pixels": str(MOST_PIXELS)}
        yield container


def _is_playlist(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(16).lstrip(b"\xef\xbb\xbf \r\n").startswith(_PLAYLISTS)
