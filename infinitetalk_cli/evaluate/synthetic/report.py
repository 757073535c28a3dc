"""The report of an evaluation: report.json, report.md (to be pasted), claims.csv, plots and contact sheets."""

from __future__ import annotations

import csv
import io
import json
import platform
from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from infinitetalk_cli.cache.files import make_folder, write_text_atomic
from infinitetalk_cli.errors import writing_to
from infinitetalk_cli.evaluate.synthetic.claims.result import Claim, Missing, Row, Table
from infinitetalk_cli.evaluate.synthetic.plots import Bars, Plot, draw
from infinitetalk_cli.evaluate.synthetic.settings import EvalSettings


class Machine(BaseModel):
    """Where it was measured."""

    model_config = ConfigDict(frozen=True)

    processor: str
    num_processors: int
    torch: str
    load: float
    """Processes that wanted to run, on average over the last quarter of an hour; more than processors is contended."""

    @staticmethod
    def here() -> Machine:
        """This one, now."""
        import os

        import torch

        from infinitetalk_cli.machine import num_processors, processor_name

        load = os.getloadavg()[2] if hasattr(os, "getloadavg") else 0.0
        name = processor_name() or platform.machine()
        return Machine(processor=name, num_processors=num_processors(), torch=torch.__version__, load=round(load, 1))


class EvalReport(BaseModel):
    """All that was measured, and what was not."""

    model_config = ConfigDict(frozen=True)

    settings: EvalSettings
    side_px: int
    machine: Machine
    claims: list[Claim]
    not_measured: list[Missing]

    def document(self) -> dict[str, object]:
        """As JSON; the figures of lips on near-still heads also stand right below the claim, by their own names."""
        claims = {}
        for claim in self.claims:
            content = claim.model_dump(mode="json")
            claims[claim.name] = {**content.pop("extra"), **content}
        return {
            "status": "done",
            "settings": self.settings.model_dump(mode="json"),
            "side_px": self.side_px,
            "machine": self.machine.model_dump(mode="json"),
            "claims": claims,
            "not_measured": [missing.model_dump(mode="json") for missing in self.not_measured],
        }


def markdown(report: EvalReport, pictures: dict[str, str]) -> str:
    """The report for people; `pictures` by claim: lines that show its plots, if there are any."""
    machine, settings = report.machine, report.settings
    contended = " (shared with other work)" if machine.load > machine.num_processors else ""
    lines = [
        "# Claims, measured on held-out characters, voices and words",
        "",
        f"{settings.num_clips} clips, {report.side_px} px, profile {settings.profile}; "
        f"{machine.num_processors} cores ({machine.processor}), torch {machine.torch}, "
        f"load {machine.load:g}{contended}. "
        "In brackets: 95 % bootstrap intervals over clips.",
        "",
    ]
    for claim in report.claims:
        lines += [f"## {claim.title}", ""]
        for note in claim.notes:
            lines += [note, ""]
        lines += [*(f"- `{method}`: {said}" for method, said in claim.legend.items()), ""]
        for table in claim.tables:
            lines += [f"**{table.title}**", "", *_markdown_table(table), ""]
        if claim.verdicts:
            verdicts = [[v.statement, v.rule, v.found, v.judgement] for v in claim.verdicts]
            header = ["statement", "rule", "found", "verdict"]
            lines += [*_markdown_table(Table(title="", header=header, rows=verdicts)), ""]
        lines += [pictures[claim.name], ""] if claim.name in pictures else []
    if report.not_measured:
        lines += ["## Not measured", ""]
        lines += [f"- {missing.claim}, {missing.what}: {missing.reason}" for missing in report.not_measured]
        lines.append("")
    return "\n".join(lines)


def _markdown_table(table: Table) -> Iterator[str]:
    yield "| " + " | ".join(table.header) + " |"
    yield "|" + " --- |" * len(table.header)
    for row in table.rows:
        yield "| " + " | ".join(cell.replace("|", "/") for cell in row) + " |"


def csv_text(claims: list[Claim]) -> str:
    """Every figure in a line, with its interval; `index` is its place in a curve."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(
        ["claim", "situation", "chunks", "method", "bound", "figure", "index", "value", "low", "high", "clips"]
    )
    for claim in claims:
        for row in claim.rows:
            writer.writerows(_csv_rows(claim, row))
    return out.getvalue()


def _csv_rows(claim: Claim, row: Row) -> Iterator[list[object]]:
    front = [claim.name, row.situation, row.num_chunks, row.method, int(row.is_bound)]
    values = [(name, "", value) for name, value in row.figures.items()]
    values += [(name, index, value) for name, curve in row.curves.items() for index, value in enumerate(curve)]
    for name, index, value in values:
        yield [*front, name, index, value.value, value.low, value.high, row.num_clips]


def write_report(
    report: EvalReport, plots: dict[str, dict[str, Plot | Bars]], sheets: dict[str, object], out: Path
) -> None:
    """Write everything into `out`; `plots` and `sheets` (pictures) by claim.

    Raises:
        OutputError, ResourceError: the folder cannot be written, the disk is full.
    """
    shown: dict[str, str] = {}
    with writing_to(out):
        make_folder(out)
        for claim, pictures in plots.items():
            for name, picture in pictures.items():
                draw(picture).save(out / f"{name}.png")
                shown[claim] = f"{shown.get(claim, '')}![{picture.title}]({name}.png) "
        for claim, sheet in sheets.items():
            sheet.save(out / f"sheet-{claim}.png")
            shown[claim] = f"{shown.get(claim, '')}![Frames](sheet-{claim}.png)"
    shown = {claim: text.strip() for claim, text in shown.items()}
    write_text_atomic(out / "report.md", markdown(report, shown))
    write_text_atomic(out / "claims.csv", csv_text(report.claims))
    write_text_atomic(out / "report.json", json.dumps({"schema": 1, **report.document()}, indent=1) + "\n")
