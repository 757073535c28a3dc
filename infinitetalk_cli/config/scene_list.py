"""A user's own list of cuts: one time per line, as for `--start`."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

from infinitetalk_cli.errors import InputError
from infinitetalk_cli.units import parse_time

MAX_LIST_BYTES = 4 * 1024 * 1024


def read_scene_list(path: Path) -> tuple[Fraction, ...]:
    """Times in seconds at which scenes begin, rising. Blank lines and what follows a `#` do not count.

    Raises:
        InputError: not a text file, a line is not a time, or not later than the one before; with the line's number.
    """
    times: list[Fraction] = []
    for number, line in enumerate(_text(path).splitlines(), start=1):
        text = line.partition("#")[0].strip()
        if not text:
            continue
        try:
            time_s = parse_time(text)
        except ValueError as exc:
            raise InputError(f"{path}:{number}: {exc}") from exc
        if times and time_s <= times[-1]:
            raise InputError(f"{path}:{number}: {text} is not later than the time before it; write the cuts in order")
        times.append(time_s)
    return tuple(times)


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_LIST_BYTES + 1)
    except OSError as exc:
        raise InputError(f"{path}: cannot be read ({exc.strerror or exc})") from exc
    if len(data) > MAX_LIST_BYTES:
        raise InputError(f"{path}: more than {MAX_LIST_BYTES // 1024**2} MiB; a list of cuts has one time per line")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        line = data[: exc.start].count(b"\n") + 1
        raise InputError(f"{path}:{line}: is not text; a list of cuts has one time per line") from exc
