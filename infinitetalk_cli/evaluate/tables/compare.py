"""Methods side by side on the same clips: means, intervals, paired tests, the best marked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from infinitetalk_cli.errors import InputError
from infinitetalk_cli.evaluate.intervals import estimate
from infinitetalk_cli.evaluate.significance import Paired, holm, paired
from infinitetalk_cli.evaluate.tables import paper
from infinitetalk_cli.evaluate.tables.columns import COLUMNS, Column, goodness
from infinitetalk_cli.evaluate.tables.results import Report
from infinitetalk_cli.evaluate.tables.text import presets

PAPER = "paper: "


@dataclass(frozen=True)
class Cell:
    """A figure of a method; `value` None: `reason` says why. `test`: against the baseline.

    `is_part`: fewer clips have it than the table says.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    n: int = 0
    reason: str = "-"
    is_best: bool = False
    is_part: bool = False
    test: Paired | None = None
    p_holm: float | None = None


@dataclass(frozen=True)
class Block:
    """One dataset: methods in order, column key -> method -> cell; `num_common` of `num_items` clips are compared."""

    dataset: str
    split: str
    methods: tuple[str, ...]
    cells: Mapping[str, Mapping[str, Cell]]
    num_common: int
    num_items: int
    covered: Mapping[str, int]


@dataclass(frozen=True)
class Comparison:
    """All datasets; `baseline` is what tests compare with; `notes` must be read beside the figures."""

    blocks: tuple[Block, ...]
    columns: tuple[Column, ...]
    baseline: str
    notes: tuple[str, ...] = field(default=())


def compare_reports(
    reports: Sequence[Report], with_paper: bool, against: str | None, all_figures: bool = False
) -> Comparison:
    """Reports of any number of methods and datasets.

    Raises:
        InputError: two reports of one method on one split, or `against` is no method.
    """
    baseline = against or str(reports[0].method["name"])
    by_split: dict[tuple[str, str], list[Report]] = {}
    for report in reports:
        by_split.setdefault((str(report.split["name"]), str(report.split["sha256"])), []).append(report)
    if baseline not in {str(report.method["name"]) for report in reports}:
        raise InputError(f"--against {baseline}: none of the reports is of that method")
    shown = [c for c in COLUMNS if (all_figures or c.is_headline) and _is_known(c, reports, with_paper)]
    blocks = tuple(_block(group, shown, baseline, with_paper) for group in by_split.values())
    return Comparison(blocks, tuple(shown), baseline, tuple(_notes(reports, blocks, with_paper)))


def _is_known(column: Column, reports: Sequence[Report], with_paper: bool) -> bool:
    metric = column.key.partition(".")[0]
    is_asked = any(metric in report.metrics for report in reports)
    if with_paper and column.key in paper.KEYS.values():
        is_asked |= any(_printed(str(report.split["dataset"])) for report in reports)
    has_any = any(report.values_of(column.key) or column.key in report.sets for report in reports)
    return is_asked and (has_any or column.is_headline)


def _block(reports: list[Report], columns: Sequence[Column], baseline: str, with_paper: bool) -> Block:
    methods = [str(report.method["name"]) for report in reports]
    if len(set(methods)) < len(methods):
        twice = next(name for name in methods if methods.count(name) > 1)
        raise InputError(f"two reports are of '{twice}' on {reports[0].split['name']}; give one, or rename a method")
    scored = [{clip.id for clip in report.clips if clip.status == "scored"} for report in reports]
    common = set.intersection(*scored)
    by_name = dict(zip(methods, reports, strict=True))
    dataset = str(reports[0].split["dataset"])
    printed = _printed(dataset) if with_paper else {}
    cells = {}
    for column in columns:
        compares = _compares(column, reports)
        if column.is_of_set:
            row = _set_row(column, by_name)
        else:
            row = _row(column, by_name, common, baseline if compares else None)
        cells[column.key] = (_marked(column, row) if compares else row) | {
            PAPER + name: Cell(values.get(column.key)) for name, values in printed.items()
        }
    return Block(
        dataset, str(reports[0].split["name"]), (*methods, *(PAPER + name for name in printed)), cells, len(common),
        reports[0].num_items, {name: report.num_scored for name, report in by_name.items()},
    )  # fmt: skip


def _printed(dataset: str) -> dict[str, dict[str, float]]:
    """The paper's rows of both tables; ours is in both, with different numbers, so the table's number is added."""
    rows = {}
    for number in (1, 2):
        for method, values in paper.rows_of(dataset, number).items():
            rows[f"{method} (Table {number})"] = values
    return rows


def _compares(column: Column, reports: Sequence[Report]) -> bool:
    """Whether all that have the figure made it alike, and a figure of sets of the same clips and as many frames."""
    metric = column.key.partition(".")[0]
    if not column.is_of_set:
        having = [report for report in reports if report.values_of(column.key)]
        return len({_settings(report, metric) for report in having}) <= 1
    of_sets = [(report, report.sets[column.key]) for report in reports if column.key in report.sets]
    made_how = {
        (_settings(report, metric), _measured_clips(report, metric), found.n, found.samples)
        for report, found in of_sets
        if found.value is not None
    }
    return len(made_how) <= 1


def _measured_clips(report: Report, metric: str) -> frozenset[str]:
    return frozenset(c.id for c in report.clips if metric in c.metrics and c.metrics[metric].missing is None)


def _row(column: Column, reports: Mapping[str, Report], common: set[str], baseline: str | None) -> dict[str, Cell]:
    """Means over the clips of which all have the figure (who has it nowhere apart), so that no method looks better for
    having lost the hard ones; `baseline` None: without tests."""
    values = {
        name: {clip: v for clip, v in report.values_of(column.key).items() if clip in common}
        for name, report in reports.items()
    }
    having = [set(found) for found in values.values() if found]
    shared = set.intersection(*having) if having else set()
    cells = {}
    for name, found in values.items():
        if not found or not shared:
            reason = "no clip in common" if found else _reason(reports[name], column)
            cells[name] = Cell(None, reason=reason)
            continue
        mean = estimate([found[clip] for clip in found if clip in shared])
        test = paired(found, values[baseline]) if baseline in values and name != baseline else None
        cells[name] = Cell(mean.value, mean.low, mean.high, len(shared), is_part=len(shared) < len(common), test=test)
    tested = [name for name, cell in cells.items() if cell.test is not None and cell.test.p is not None]
    adjusted = holm([cells[name].test.p for name in tested])  # type: ignore[union-attr,misc]
    for name, p in zip(tested, adjusted, strict=True):
        cells[name] = Cell(**{**vars(cells[name]), "p_holm": p})
    return cells


def _set_row(column: Column, reports: Mapping[str, Report]) -> dict[str, Cell]:
    cells = {}
    for name, report in reports.items():
        found = report.sets.get(column.key)
        if found is None or found.value is None:
            cells[name] = Cell(None, reason=_reason(report, column))
        else:
            cells[name] = Cell(found.value, found.low, found.high, found.n)
    return cells


def _reason(report: Report, column: Column) -> str:
    metric = column.key.partition(".")[0]
    state = report.metrics.get(metric)
    if state is None:
        return "not asked for"
    if state.missing:
        return state.missing
    reasons = [c.metrics[metric].missing for c in report.clips if metric in c.metrics and c.metrics[metric].missing]
    return max(reasons, key=reasons.count) if reasons else "-"


def _marked(column: Column, cells: dict[str, Cell]) -> dict[str, Cell]:
    """The best of two or more is marked, equal ones all, as they are written."""
    known = {name: cell for name, cell in cells.items() if cell.value is not None}
    if column.better == "" or len(known) < 2:
        return cells
    rounded = {name: goodness(column, round(cell.value or 0.0, column.digits)) for name, cell in known.items()}
    best = max(rounded.values())
    if min(rounded.values()) == best:
        return cells
    return {name: Cell(**{**vars(cell), "is_best": rounded.get(name) == best}) for name, cell in cells.items()}


def _notes(reports: Sequence[Report], blocks: Sequence[Block], with_paper: bool) -> list[str]:
    notes = []
    if with_paper:
        notes.append(paper.NOTE)
        notes += [
            f"{block.split}: the paper has no numbers for {block.dataset}"
            for block in blocks
            if not _printed(block.dataset)
        ]
    for name in sorted({name for report in reports for name in report.metrics}):
        abouts = {_settings(report, name) for report in reports if name in report.metrics}
        if len(abouts) > 1:
            notes.append(f"{name}: the reports were made with different presets or weights; it does not compare")
    notes += dict.fromkeys(line for report in reports for line in presets(report))
    for name in sorted({block.split for block in blocks if [b.split for b in blocks].count(block.split) > 1}):
        notes.append(f"{name}: the reports are of different split files of this name, which do not compare")
    for block in blocks:
        same = {name: count for name, count in block.covered.items() if count != block.num_common}
        if same:
            notes.append(
                f"{block.split}: means are over the {block.num_common} clips that all methods have; "
                f"FID, KID and FVD over all that each has ({', '.join(f'{k} {v}' for k, v in block.covered.items())}), "
                "and unmarked where those differ"
            )
    return notes


def _settings(report: Report, name: str) -> str:
    state = report.metrics[name]
    return "missing" if state.missing else repr(sorted(state.about.items(), key=str))
