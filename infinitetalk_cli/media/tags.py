"""Names and numbers of colour tags: ISO/IEC 23091-2 (H.273) numbers, libavutil's names."""

from __future__ import annotations

MATRICES = {
    0: "gbr", 1: "bt709", 4: "fcc", 5: "bt470bg", 6: "smpte170m", 7: "smpte240m", 8: "ycgco",
    9: "bt2020nc", 10: "bt2020c", 14: "ictcp",
}  # fmt: skip
PRIMARIES = {
    1: "bt709", 4: "bt470m", 5: "bt470bg", 6: "smpte170m", 7: "smpte240m", 8: "film", 9: "bt2020",
    10: "smpte428", 11: "smpte431", 12: "smpte432", 22: "ebu3213",
}  # fmt: skip
TRANSFERS = {
    1: "bt709", 4: "bt470m", 5: "bt470bg", 6: "smpte170m", 7: "smpte240m", 8: "linear", 9: "log100",
    10: "log316", 11: "iec61966-2-4", 12: "bt1361e", 13: "iec61966-2-1", 14: "bt2020-10",
    15: "bt2020-12", 16: "smpte2084", 17: "smpte428", 18: "arib-std-b67",
}  # fmt: skip
RANGES = {1: "tv", 2: "pc"}

HDR_TRANSFERS = {"smpte2084", "arib-std-b67"}

UNSPECIFIED = 2
"""The number of "unspecified" for matrix, primaries and transfer (a range says it with 0)."""


def number_of(names: dict[int, str], name: str | None, default: int = UNSPECIFIED) -> int:
    """Number of a tag's name, `default` for `None`."""
    return default if name is None else next(number for number, known in names.items() if known == name)


def usual_matrix(width: int, height: int) -> str:
    """Matrix of a picture that does not say: BT.709 from HD on, BT.601 below, as players assume."""
    return "bt709" if max(width, height) >= 1280 or min(width, height) > 576 else "smpte170m"


_QUICKTIME_LANGUAGES = {
    "bod": "tib", "cym": "wel", "deu": "ger", "ell": "gre", "eus": "baq", "hye": "arm", "isl": "ice",
    "kat": "geo", "msa": "may", "mya": "bur", "nld": "dut", "sqi": "alb", "swe": "sve", "zho": "chi",
    "cze": "ces", "fre": "fra", "rum": "ron", "slo": "slk",
}  # fmt: skip
"""Spellings that libavformat's table of QuickTime's languages lacks, and the one it has for the same language."""


def language_for(muxer: str, language: str) -> str:
    """The ISO 639-2 code as `muxer` takes it; one that QuickTime does not know would be lost."""
    return _QUICKTIME_LANGUAGES.get(language, language) if muxer == "mov" else language
