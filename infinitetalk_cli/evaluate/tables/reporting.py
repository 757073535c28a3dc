"""Puts a report into a folder: `report.json`, `clips.csv`, `report.md`, `report.html`."""

from __future__ import annotations

from pathlib import Path

from infinitetalk_cli.cache.files import write_text_atomic
from infinitetalk_cli.evaluate.tables.page import render_page
from infinitetalk_cli.evaluate.tables.results import Report
from infinitetalk_cli.evaluate.tables.text import clips_csv, markdown


def write_reports(report: Report, folder: Path) -> dict[str, Path]:
    """Write all four; their places by kind."""
    texts = {
        "json": ("report.json", report.model_dump_json(indent=1, by_alias=True) + "\n"),
        "csv": ("clips.csv", clips_csv(report)),
        "markdown": ("report.md", markdown(report)),
        "html": ("report.html", render_page(report, folder / "clips")),
    }
    for name, text in texts.values():
        write_text_atomic(folder / name, text)
    return {kind: folder / name for kind, (name, _) in texts.items()}
