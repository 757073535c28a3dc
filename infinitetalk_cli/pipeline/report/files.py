"""Puts a report beside the result: `NAME.report.json` and `NAME.report.html`, each whole or absent.

A report says of itself whether it is as it was written, by a checksum at its end. So one of our own is replaced, and
what somebody else wrote or edited is not.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
from pathlib import Path
from typing import Any

from infinitetalk_cli.cache.files import write_text_atomic
from infinitetalk_cli.pipeline.report.run_report import Report
from infinitetalk_cli.pipeline.report.sheet import render_sheet
from infinitetalk_cli.progress import Progress

logger = logging.getLogger(__name__)

_SEAL_BYTES = 200
_JSON_SEAL = re.compile(rb'\n "seal": "infinitetalk report ([0-9a-f]{64})"\n}\n$')
_HTML_SEAL = re.compile(rb"<!-- infinitetalk report ([0-9a-f]{64}) -->\n$")
_NOT_TEXT = re.compile("[\\ud800-\\udfff]")
"""Bytes of file names that are no text, as Python holds them."""


def report_paths(output: Path) -> tuple[Path, Path]:
    """Where the two files of the report on `output` are."""
    return output.with_suffix(".report.json"), output.with_suffix(".report.html")


def write_report(report: Report, output: Path, progress: Progress, *, force: bool) -> Path | None:
    """Write both files; returns the sheet's place.

    A file that is not our own, or that reports on another result, is left alone, with a note, unless `force`.

    Raises:
        OutputError, ResourceError: the folder cannot be written, the disk is full.
    """
    json_path, html_path = report_paths(output)
    for path in (json_path, html_path):
        if path.exists() and not force and not is_own(path):
            progress.note(f"{path}: already exists and is no untouched report of ours; no report is written")
            return None
    other = _reported_output(json_path)
    if other not in (None, output.name) and output.with_name(other).exists() and not force:
        progress.note(f"{json_path}: is the report on {other}; no report is written on {output.name}")
        return None
    write_text_atomic(json_path, _sealed_json(report.document))
    sheet = render_sheet(report).encode("utf-8", errors="replace").decode("utf-8")
    write_text_atomic(html_path, f"{sheet}<!-- infinitetalk report {_hash(sheet.encode())} -->\n")
    return html_path


def is_own(path: Path) -> bool:
    """Whether a file is a report of ours as it was written."""
    try:
        content = path.read_bytes()
    except OSError as exc:
        logger.debug("%s: cannot be read (%s)", path, exc)
        return False
    seal = (_JSON_SEAL if path.suffix == ".json" else _HTML_SEAL).search(content, max(0, len(content) - _SEAL_BYTES))
    return seal is not None and seal[1].decode() == _hash(content[: seal.start()])


def _reported_output(json_path: Path) -> str | None:
    """The name of the result that one of our reports is on."""
    return json.loads(json_path.read_bytes())["output"] if json_path.is_file() and is_own(json_path) else None


def own_summary(output: Path) -> tuple[Path, int] | None:
    """The sheet that an earlier run wrote for `output`, and how many chunks it flags."""
    json_path, html_path = report_paths(output)
    if _reported_output(json_path) != output.name or not html_path.is_file():
        return None
    return html_path, json.loads(json_path.read_bytes())["summary"]["num_flagged"]


def _sealed_json(document: dict[str, Any]) -> str:
    """`document` with a last key that holds the checksum of all before it."""
    text = json.dumps(document, indent=1, ensure_ascii=False).removesuffix("\n}") + ","
    text = _NOT_TEXT.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
    return f'{text}\n "seal": "infinitetalk report {_hash(text.encode())}"\n}}\n'


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
