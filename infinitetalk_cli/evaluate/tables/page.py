"""An evaluation as one HTML page: no scripts, nothing from outside, everything inside the file."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path

from infinitetalk_cli.evaluate.tables.album import curves_path, read_curves, sheet_path
from infinitetalk_cli.evaluate.tables.columns import BY_KEY, COLUMNS, NEARER, Column, written
from infinitetalk_cli.evaluate.tables.results import ClipResult, Report
from infinitetalk_cli.evaluate.tables.text import coverage, headline, how, notes
from infinitetalk_cli.pipeline.report.plots import line_plot
from infinitetalk_cli.units import clock

STYLE = """
:root{color-scheme:light dark;--ground:#fbfaf7;--card:#fff;--ink:#1d1c1a;--soft:#6d6a63;--line:#e4e0d8;
--good:#2f6f4f;--bad:#b3261e;--one:#2f6f9f;--two:#a8a29a}
@media(prefers-color-scheme:dark){:root{--ground:#161615;--card:#1f1f1d;--ink:#ecebe7;--soft:#a09d95;--line:#35342f;
--good:#7cc6a0;--bad:#ff8a80;--one:#7db8e0;--two:#6d6a63}}
*{box-sizing:border-box}
body{margin:0;background:var(--ground);color:var(--ink);font:16px/1.5 system-ui,sans-serif;overflow-wrap:anywhere}
main{max-width:64rem;margin:0 auto;padding:1.5rem 1rem 4rem}
h1{font-size:1.4rem;line-height:1.25;margin:0 0 .25rem}
h2{font-size:1.05rem;margin:2.25rem 0 .75rem}
h3{font-size:1rem;margin:0 0 .4rem}
h3 small{font-weight:400}
p{margin:.25rem 0 .75rem}
.soft,small,figcaption{color:var(--soft)}
.bad{color:var(--bad)}
.best{color:var(--good);font-weight:600}
.card{background:var(--card);border:1px solid var(--line);border-radius:.6rem;padding:.75rem;margin:0 0 .75rem;
content-visibility:auto;contain-intrinsic-size:auto 24rem}
.card img{width:100%;height:auto;display:block;border-radius:.3rem;margin:0 0 .6rem}
.plots{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,17rem),1fr));gap:.75rem}
figure{margin:0}
figcaption{font-size:.85rem}
svg{display:block;width:100%;height:auto;overflow:visible}
svg text{fill:var(--soft);font:12px system-ui,sans-serif}
svg .grid{stroke:var(--line)}
svg .one{stroke:var(--one);fill:none;stroke-width:2;stroke-linejoin:round}
svg .two{stroke:var(--two);fill:none;stroke-width:1.5;stroke-dasharray:4 3}
.best small{font-weight:400}
.scroll{overflow-x:auto}
.scroll+.scroll{margin-top:1.25rem}
table{border-collapse:collapse;font-size:.9rem;font-variant-numeric:tabular-nums;width:100%}
th,td{text-align:left;padding:.3rem .75rem .3rem 0;border-bottom:1px solid var(--line);vertical-align:top}
td,th{white-space:nowrap}
td.wide{white-space:normal;min-width:14rem;color:var(--soft)}
th{font-weight:600;color:var(--soft)}
ul.notes{font-size:.9rem;color:var(--soft);padding-left:1.1rem;margin:.75rem 0}
@media(max-width:40rem){
.figures tr,.numbers tr{display:grid;column-gap:.75rem;padding:.3rem 0;border-bottom:1px solid var(--line)}
.figures,.numbers{font-size:.85rem}
.figures tr{grid-template-columns:1fr auto 6.75rem 2.25rem}
.numbers tr{grid-template-columns:1fr auto}
.figures :is(td,th),.numbers td{border:0;padding:0;white-space:normal}
.figures :is(td,th):nth-child(5){display:none}
.figures td.wide,.numbers td.wide{grid-column:1/-1;min-width:0;font-size:.85rem}
}
details{margin:.6rem 0 0}
summary{cursor:pointer;color:var(--soft)}
a{color:inherit}
"""

_CURVES = (
    ("delta_e", None, "background colour, Delta E from the source"),
    ("camera_px", None, "camera, px from the source's path"),
    ("change", "change_source", "change after motion, levels; dashed: source"),
)


def render_page(report: Report, clips_folder: Path) -> str:
    """The whole page; sheets and curves of the clips are read from `clips_folder`."""
    name = escape(f"{report.method['name']} on {report.split['name']}")
    parts = [
        f"<h1>{name}</h1>",
        f'<p class="soft">{escape(report.made_by)}, {escape(report.finished_at[:16].replace("T", " "))} UTC. '
        f"Figures cover {escape(coverage(report))}.<br>{escape(how(report))}</p>",
        *_uncovered(report),
        "<h2>Figures</h2>",
        table(
            ("figure", "mean", "95 % interval", "clips", "better", ""),
            [_headline_row(*row) for row in headline(report)],
            "figures",
        ),
        f'<ul class="notes">{"".join(f"<li>{escape(note)}</li>" for note in notes(report))}</ul>',
        "<h2>Clips</h2>",
        *(_clip(clip, clips_folder) for clip in report.clips if clip.status == "scored"),
    ]
    return document(name, "\n".join(parts))


def document(title: str, body: str, style: str = STYLE) -> str:
    """A page around `body`; `title` is escaped already."""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{title}</title><style>{style}</style></head>\n<body><main>\n{body}\n</main></body></html>\n"
    )


def table(header: Sequence[str], rows: Sequence[Sequence[str]], kind: str = "") -> str:
    """A table of cells that are HTML already; a cell that begins with `<td` has its own tag. `kind`: its class."""
    head = f"<tr>{''.join(f'<th>{cell}</th>' for cell in header)}</tr>" if header else ""
    tagged = [[cell if cell.startswith("<td") else f"<td>{cell}</td>" for cell in row] for row in rows]
    body = "".join(f"<tr>{''.join(cells)}</tr>" for cells in tagged)
    return f'<div class="scroll"><table class="{kind}">{head}{body}</table></div>'


def _headline_row(column: Column, value: str, interval: str, clips: str) -> tuple[str, ...]:
    what = f'<td class="wide">{escape(column.what)}</td>'
    return escape(column.title), escape(value), escape(interval), clips, NEARER.get(column.better, column.better), what


def _uncovered(report: Report) -> Iterator[str]:
    if report.uncovered:
        rows = [(escape(c.id), c.status, f'<td class="wide">{escape(c.reason or "")}</td>') for c in report.uncovered]
        yield '<h2 class="bad">Not covered</h2>' + table(("clip", "", "why"), rows)


def _clip(clip: ClipResult, folder: Path) -> str:
    sheet = sheet_path(folder, clip.id)
    picture = ""
    if sheet.is_file():
        data = base64.b64encode(sheet.read_bytes()).decode("ascii")
        picture = f'<img alt="source above, result below" src="data:image/webp;base64,{data}">'
    curves = read_curves(curves_path(folder, clip.id))
    plots = "".join(
        f"<figure>{line_plot(curves[one], curves.get(other or '', []), 0.0)}<figcaption>{caption}</figcaption></figure>"
        for one, other, caption in _CURVES
        if curves.get(one)
    )
    length = clock((clip.num_frames or 0) / 25)
    made = "" if clip.seconds_to_make is None else f", made in {clip.seconds_to_make:.0f} s"
    joints = ", ".join(f"{seam / 25:.2f}" for seam in clip.seams)
    made += f"; new chunks at {joints} s" if joints else ""
    return (
        f'<section class="card"><h3>{escape(clip.id)} <small>{length}{made}; source above, result below</small></h3>'
        f'{picture}<div class="plots">{plots}</div>{_numbers(clip)}</section>'
    )


def _numbers(clip: ClipResult) -> str:
    rows = []
    for column in COLUMNS:
        metric, _, name = column.key.partition(".")
        value = clip.metrics[metric].values.get(name) if metric in clip.metrics else None
        if value is not None:
            what = f'<td class="wide">{escape(BY_KEY[column.key].what)}</td>'
            rows.append((escape(column.key), written(column, value), what))
    lacks = [(escape(name), f"<td>{escape(m.missing)}</td>", "") for name, m in clip.metrics.items() if m.missing]
    return f"<details><summary>all numbers</summary>{table((), [*rows, *lacks], 'numbers')}</details>"
