"""An evaluation as CSV and Markdown."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence

from infinitetalk_cli.evaluate.tables.columns import COLUMNS, NEARER, Column, written
from infinitetalk_cli.evaluate.tables.results import ClipResult, Report

FID_NOTE = (
    "FID, KID and FVD compare sets: lower with fewer clips means nothing; compare only equal sets, counts and presets."
)


def clips_csv(report: Report) -> str:
    """One line per clip, one column per figure; an empty cell has its reason in the column `missing`."""
    columns = [column for column in COLUMNS if report.values_of(column.key)]
    out = io.StringIO()
    rows = csv.writer(out, lineterminator="\n")
    rows.writerow(["id", "status", "reason", "frames", "seconds_to_make", *(c.key for c in columns), "missing"])
    for clip in report.clips:
        values = (_value(clip, column) for column in columns)
        rows.writerow([
            clip.id, clip.status, clip.reason or "", clip.num_frames or "", clip.seconds_to_make or "",
            *("" if value is None else repr(value) for value in values), _lacks(clip),
        ])  # fmt: skip
    return out.getvalue()


def _value(clip: ClipResult, column: Column) -> float | None:
    metric, _, name = column.key.partition(".")
    return clip.metrics[metric].values.get(name) if metric in clip.metrics else None


def _lacks(clip: ClipResult) -> str:
    return "; ".join(f"{name}: {m.missing}" for name, m in clip.metrics.items() if m.missing is not None)


def coverage(report: Report) -> str:
    """How many clips the figures cover."""
    return f"{report.num_scored} of {report.num_items} clips of {report.split['name']}"


def how(report: Report) -> str:
    """What was done: the method, and what every clip was made into before."""
    prepare, method = report.split["prepare"], report.method
    if method.get("kind") == "profile":
        settings = "".join(f", {key} {value}" for key, value in method.get("settings", {}).items())
        alone = "" if method.get("context_frames", True) else ", every chunk begun anew"
        used = sorted({clip.made_with["profile"] for clip in report.clips if clip.made_with})
        asked = method.get("profile") or "the best profile installed"
        made = f"dubbed with {' and '.join(used) or asked}{settings}{alone}"
    else:
        made = "the source with the new sound" if method.get("kind") == "copy" else "results made elsewhere"
    return f"Method: {made}. Clips: {prepare['size']}x{prepare['size']}, {prepare['fps']} fps, sound permuted."


def headline(report: Report) -> Iterator[tuple[Column, str, str, str]]:
    """(column, value, interval, clips) of the figures that go into tables; why not where there is no value."""
    for column in COLUMNS:
        metric = column.key.partition(".")[0]
        if not column.is_headline or metric not in report.metrics:
            continue
        if column.is_of_set:
            found = report.sets.get(column.key)
            if found is None or found.value is None:
                yield column, _reason(report, metric, found.missing if found else None), "", ""
            else:
                yield column, written(column, found.value), _interval(column, found.low, found.high), str(found.n)
        elif column.key in report.summary:
            found = report.summary[column.key]
            yield column, written(column, found.mean), _interval(column, found.low, found.high), str(found.n)
        else:
            yield column, _reason(report, metric, None), "", ""


def _interval(column: Column, low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f"{written(column, low)} to {written(column, high)}"


def _reason(report: Report, metric: str, own: str | None) -> str:
    """Why a figure is missing: for the whole run, or what most of its clips say."""
    state = report.metrics[metric]
    if state.missing is not None:
        return state.missing
    reasons = [c.metrics[metric].missing for c in report.clips if metric in c.metrics and c.metrics[metric].missing]
    return max(reasons, key=reasons.count) if reasons else own or "-"


def markdown(report: Report) -> str:
    """The summary, the clips that are not covered, and what was not measured."""
    lines = [
        f"# {report.method['name']} on {report.split['name']}",
        "",
        f"Covers {coverage(report)}. {how(report)}",
        "",
    ]
    lines += markdown_table(
        ("figure", "mean", "95 % interval over clips", "clips", "better"),
        [
            (column.title, value, interval, n, NEARER.get(column.better, column.better))
            for column, value, interval, n in headline(report)
        ],
    )
    for clip in report.uncovered:
        lines.append(f"- not covered: `{clip.id}`, {clip.status}: {clip.reason}")
    lines += ["", *(f"- {note}" for note in notes(report))]
    return "\n".join(lines).rstrip() + "\n"


def notes(report: Report) -> Iterator[str]:
    """What a reader must know beside the figures."""
    yield from _not_measured(report)
    yield from presets(report)
    if any(name in report.metrics for name in ("fid", "fvd")):
        yield FID_NOTE
    detectors = sorted({clip.face_by for clip in report.clips if clip.face_by})
    if detectors:
        yield f"face boxes of the measures without weights are from: {', '.join(detectors)}"
    doubted = [clip.id for clip in report.clips if clip.notes]
    if doubted:
        yield f"scored although not what they should be (each says why): {', '.join(doubted)}"


def presets(report: Report) -> Iterator[str]:
    """The preset and the weights of every metric that has some."""
    for name, state in report.metrics.items():
        if state.missing is None and state.about:
            files = "".join(f"; {file} {sha[:12]}" for file, sha in state.about.get("files", {}).items())
            yield f"{name}: preset {state.about.get('preset', '-')}{files}"


def _not_measured(report: Report) -> Iterator[str]:
    """One line per reason, with what to do about it."""
    reasons: dict[str, dict[str, str]] = {}
    for name, state in report.metrics.items():
        if state.missing is not None:
            reasons.setdefault(state.missing, {})[name] = state.remedy
    for reason, remedies in reasons.items():
        remedy = "; ".join(dict.fromkeys(remedies.values()))
        if reason == "no weights" and len(remedies) > 1:
            remedy = "get those of all with `infinitetalk models pull metrics`"
        yield f"{', '.join(remedies)}: {reason}; {remedy}"


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a Markdown table, with an empty one after it."""
    lines = [f"| {' | '.join(header)} |", f"|{'---|' * len(header)}"]
    return [*lines, *(f"| {' | '.join(cell.replace('|', '/') for cell in row)} |" for row in rows), ""]
