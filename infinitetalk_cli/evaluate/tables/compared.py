"""A comparison as Markdown, CSV, JSON and HTML: per dataset the paper's metrics and ours."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from html import escape
from typing import Any

from infinitetalk_cli.evaluate.tables.columns import NETWORK_METRICS, Column, written
from infinitetalk_cli.evaluate.tables.compare import PAPER, Block, Cell, Comparison
from infinitetalk_cli.evaluate.tables.page import document, table
from infinitetalk_cli.evaluate.tables.text import markdown_table

_TESTS = ("method", "figure", "difference", "95 % interval", "clips", "p (Holm)")
_ARROWS = {"lower": " ↓", "higher": " ↑", "zero": " →0", "one": " →1", "": ""}


def as_markdown(comparison: Comparison) -> str:
    """Tables with the best value bold, then the paired tests, then the notes."""
    lines = []
    for block in comparison.blocks:
        lines += [f"## {block.dataset}: {_covers(block)}", ""]
        published, free = _apart(comparison)
        if published:
            header = ["method", *(_title(column) for column in published)]
            lines += markdown_table(header, [[m, *_row(block, m, published)] for m in block.methods])
        if free:
            methods = _measured(block)
            rows = [
                [_title(column), *(_shown(column, block.cells[column.key].get(m)) for m in methods)] for column in free
            ]
            lines += markdown_table(["figure", *methods], rows)
        tests = list(_tests(comparison, block))
        if tests:
            lines += [f"Less {comparison.baseline}, paired over clips:", ""]
            lines += markdown_table(_TESTS, tests)
    lines += [f"- {note}" for note in (*comparison.notes, "bold: best; intervals: 95 %, bootstrap over clips")]
    return "\n".join(lines).rstrip() + "\n"


def _apart(comparison: Comparison) -> tuple[list[Column], list[Column]]:
    """The paper's metrics, shown as in its tables, and ours, which are many and therefore stand below each other."""
    published = [column for column in comparison.columns if column.key.partition(".")[0] in NETWORK_METRICS]
    return published, [column for column in comparison.columns if column not in published]


def _measured(block: Block) -> list[str]:
    """The methods without the paper's rows, which have none of our measures."""
    return [method for method in block.methods if not method.startswith(PAPER)]


def _title(column: Column) -> str:
    return column.title + _ARROWS[column.better]


def _row(block: Block, method: str, columns: list[Column]) -> list[str]:
    return [_shown(column, block.cells[column.key].get(method)) for column in columns]


def _covers(block: Block) -> str:
    return f"{block.num_common} of {block.num_items} clips of {block.split}"


def _shown(column: Column, cell: Cell | None) -> str:
    if cell is None or cell.value is None:
        return "-" if cell is None else cell.reason
    text = written(column, cell.value)
    text = f"**{text}**" if cell.is_best else text
    part = f" ({_clips(cell)})" if cell.is_part else ""
    span = "" if cell.low is None else f" [{written(column, cell.low)}, {written(column, cell.high)}]"
    return f"{text}{span}{part}"


def _clips(cell: Cell) -> str:
    return f"{cell.n} clip{'' if cell.n == 1 else 's'}"


def _tests(comparison: Comparison, block: Block) -> Iterator[list[str]]:
    for method in block.methods:
        for column in comparison.columns:
            cell = block.cells[column.key].get(method)
            if cell is None or cell.test is None:
                continue
            test = cell.test
            p = "too few differ" if cell.p_holm is None else f"{cell.p_holm:.3g}"
            span = "-" if test.low is None else f"{written(column, test.low)} to {written(column, test.high)}"
            yield [method, column.title, written(column, test.difference), span, str(test.n), p]


def as_csv(comparison: Comparison) -> str:
    """One line per dataset, method and figure."""
    out = io.StringIO()
    rows = csv.writer(out, lineterminator="\n")
    rows.writerow(["dataset", "split", "method", "figure", "value", "low", "high", "clips", "best", "reason"])
    for block in comparison.blocks:
        for method in block.methods:
            for column in comparison.columns:
                cell = block.cells[column.key].get(method)
                if cell is not None:
                    figures = (_text(value) for value in (cell.value, cell.low, cell.high))
                    reason = "" if cell.value is not None else cell.reason
                    about = (block.dataset, block.split, method, column.key)
                    rows.writerow([*about, *figures, cell.n, int(cell.is_best), reason])
    return out.getvalue()


def _text(value: float | None) -> str:
    return "" if value is None else repr(value)


def as_dict(comparison: Comparison) -> dict[str, Any]:
    """All of it as plain data."""
    return {
        "baseline": comparison.baseline,
        "notes": list(comparison.notes),
        "blocks": [
            {
                "dataset": block.dataset, "split": block.split, "common": block.num_common, "items": block.num_items,
                "covered": dict(block.covered),
                "cells": {key: {m: _plain(cell) for m, cell in row.items()} for key, row in block.cells.items()},
            }
            for block in comparison.blocks
        ],
    }  # fmt: skip


def _plain(cell: Cell) -> dict[str, Any]:
    return {**vars(cell), "test": None if cell.test is None else vars(cell.test)}


def as_json_text(comparison: Comparison) -> str:
    """The same as a file."""
    return json.dumps({"schema": 1, **as_dict(comparison)}, indent=1) + "\n"


def as_html(comparison: Comparison) -> str:
    """A page without scripts."""
    parts = ["<h1>Methods side by side</h1>"]
    for block in comparison.blocks:
        parts.append(f"<h2>{escape(block.dataset)}: {escape(_covers(block))}</h2>")
        published, free = _apart(comparison)
        if published:
            header = ["method", *(escape(_title(column)) for column in published)]
            parts.append(table(header, [[escape(m), *_html_row(block, m, published)] for m in block.methods]))
        if free:
            methods = _measured(block)
            rows = [[escape(_title(c)), *(_html_cell(c, block.cells[c.key].get(m)) for m in methods)] for c in free]
            parts.append(table(["figure", *(escape(m) for m in methods)], rows))
        tests = [[escape(text) for text in row] for row in _tests(comparison, block)]
        if tests:
            parts.append(f"<details><summary>less {escape(comparison.baseline)}, paired over clips</summary>")
            parts.append(table(_TESTS, tests))
            parts.append("</details>")
    parts += [f'<p class="soft">{escape(note)}</p>' for note in comparison.notes]
    parts.append('<p class="soft">Green: best. Below a mean: 95 % interval, bootstrap over clips.</p>')
    return document("Methods side by side", "\n".join(parts))


def _html_row(block: Block, method: str, columns: list[Column]) -> list[str]:
    return [_html_cell(column, block.cells[column.key].get(method)) for column in columns]


def _html_cell(column: Column, cell: Cell | None) -> str:
    if cell is None or cell.value is None:
        return f"<small>{escape('-' if cell is None else cell.reason)}</small>"
    mark = ' class="best"' if cell.is_best else ""
    span = ""
    if cell.low is not None:
        span = f"<br><small>{written(column, cell.low)} to {written(column, cell.high)}</small>"
    part = f"<br><small>{_clips(cell)}</small>" if cell.is_part else ""
    return f"<td{mark}>{written(column, cell.value)}{span}{part}</td>"
