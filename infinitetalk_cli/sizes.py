"""Amounts of storage and spans of time as people write and read them: `50GB`, `7d`."""

from __future__ import annotations

import re

_BYTES = {"": 1, "b": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
_BINARY = {"k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}
_SECONDS = {"s": 1, "m": 60, "h": 60 * 60, "d": 24 * 60 * 60, "w": 7 * 24 * 60 * 60}


def parse_bytes(text: str) -> int:
    """Bytes from `50GB`, `1.5T`, `300 MiB`, `0`; `ValueError` for anything else.

    A number alone is refused: who writes 50 means gigabytes, and would lose all but 50 bytes of the cache.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?) *([kmgt]?)(i?)(b?)", text.strip().lower())
    is_bare = match is not None and not (match[2] or match[4] or float(match[1]) == 0)
    if match is None or is_bare or (match[3] and not match[2]):
        raise ValueError(f"'{text}' is not a size; write a number and MB, GB or TB, such as 50GB")
    unit = (_BINARY if match[3] else _BYTES)[match[2]]
    return round(float(match[1]) * unit)


def parse_age(text: str) -> float:
    """Seconds from `90m`, `12h`, `7d` or `2w`; `ValueError` for anything else."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?) *([smhdw])", text.strip().lower())
    if match is None:
        raise ValueError(f"'{text}' is not an age; write a number and m, h, d or w, such as 7d")
    return float(match[1]) * _SECONDS[match[2]]


def shown_bytes(num_bytes: float) -> str:
    """`820 B`, `51.3 kB`, `1.2 GB`."""
    for unit, size in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if num_bytes >= 0.9995 * size:
            return f"{num_bytes / size:.1f} {unit}"
    return f"{round(num_bytes)} B"


def shown_age(seconds: float) -> str:
    """`now`, `5 min`, `3 h`, `12 d`: how long ago something was."""
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= (2 if unit == "d" else 1) * size:
            return f"{int(seconds // size)} {unit}"
    return "now"
