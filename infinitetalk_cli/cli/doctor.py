"""`infinitetalk doctor`: what this machine can run."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

import typer

from infinitetalk_cli.cli.options import CacheDir, Device, Json, WeightsDir, cache_root, weights_root
from infinitetalk_cli.cli.render import show_json, show_table

if TYPE_CHECKING:
    from infinitetalk_cli.pipeline.doctor import Report

_MARKS = {"ok": "ok", "note": "-", "missing": "missing", "broken": "BROKEN"}


def doctor(
    device: Device = "auto", weights_dir: WeightsDir = None, cache_dir: CacheDir = None, as_json: Json = False
) -> None:
    """Say what this machine can run: memory, GPU, codecs, weights, extras, and every shipped profile.

    A report, not a test: it ends with exit code 0 whatever is missing. Memory is a forecast, for a square source.
    """
    from infinitetalk_cli.pipeline.doctor import examine

    report = examine(device, cache_root(cache_dir), weights_root(weights_dir, cache_dir))
    if as_json:
        show_json({"status": "done", **report.as_dict()})
    else:
        _show(report)


def _show(report: Report) -> None:
    for area, findings in groupby(report.findings, key=lambda finding: finding.area):
        rows = []
        for finding in findings:
            remedy = f" -> {finding.remedy}" if finding.remedy else ""
            rows.append((finding.name, _MARKS[finding.state], finding.text + remedy))
        show_table((area, "", ""), rows)
        typer.echo()
    show_table(
        ("profiles", "", "memory as forecast, for a square source"),
        [(v.name, "runs" if v.runs else "no", v.text) for v in report.verdicts],
    )
