"""What a claim comes out as: rows of figures with intervals, tables for people, verdicts computed from intervals."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict

from infinitetalk_cli.evaluate.intervals import FEW_CLIPS, Estimate, difference, estimate
from infinitetalk_cli.evaluate.synthetic import lips
from infinitetalk_cli.evaluate.synthetic.settings import ClaimName, Take
from infinitetalk_cli.evaluate.synthetic.units import BOUNDS, Found, Runner

LABELS = {
    "lip": "lip correlation",
    "width": "width correlation",
    "lip_shuffled": "with another voice",
    "lip_with_source": "with the source's mouth",
    "true_with_source": "of a perfect dub",
    "lag_frames": "lag, frames",
    "amplitude": "amplitude",
    "color_first": "colour, first chunk",
    "color_last": "colour, last chunk",
    "color_slope": "colour per chunk",
    "background_last": "background, last chunk",
    "background_slope": "background per chunk",
    "background_off": "background off the source's",
    "background_likeness": "background likeness",
    "likeness_first": "likeness, first chunk",
    "likeness_last": "likeness, last chunk",
    "likeness_slope": "likeness per chunk",
    "palette_last": "palette, last chunk",
    "palette_slope": "palette per chunk",
    "edges_slope": "edges per chunk",
    "seam_over_median": "seam / median change",
    "seam_over_mean": "seam / mean change",
    "seam_over_groups": "seam / group boundaries",
    "group_over_mean": "group boundary / mean change",
    "seam_levels": "seam, levels of 255",
    "pan_px": "pan error, px",
    "zoom_percent": "zoom error, %",
    "roll_deg": "roll error, deg",
    "camera_followed": "travel followed",
    "head_off_px": "head off the source's, px",
    "head_with_source": "head moves with the source's",
    "head_motion": "head motion / source",
    "at_reference": "share at the reference's pose",
    "end_over_middle": "from the reference: end / middle",
    "lip_loss": "lip loss",
    "seconds_per_chunk": "seconds per chunk",
}
_DIGITS = {"lag_frames": 2, "color_slope": 3, "background_slope": 3, "likeness_slope": 4, "edges_slope": 4,
           "palette_slope": 3, "likeness_first": 3, "likeness_last": 3, "background_likeness": 3}  # fmt: skip

Judgement = Literal["holds", "does not hold", "undecided", "not measurable"]


class _Result(BaseModel):
    model_config = ConfigDict(frozen=True)


class Row(_Result):
    """A method in a situation: every figure over clips, and those that have a value per chunk or lag."""

    method: str
    said: str
    situation: str
    num_chunks: int
    num_clips: int
    is_bound: bool
    figures: dict[str, Estimate]
    curves: dict[str, list[Estimate]]
    num_redrawn: int

    def clips(self, figure: str) -> list[float]:
        """The figure of every clip."""
        return self.figures[figure].clips


class Table(_Result):
    """Text, ready to print; the first column names the row."""

    title: str
    header: list[str]
    rows: list[list[str]]


class Verdict(_Result):
    """What a paper says, by which rule it was judged here, and how it came out."""

    statement: str
    rule: str
    judgement: Judgement
    found: str


class Missing(_Result):
    """What was not measured, and what it needs."""

    claim: ClaimName
    what: str
    reason: str


class Claim(_Result):
    """One claim as measured."""

    name: ClaimName
    title: str
    notes: list[str]
    rows: list[Row]
    tables: list[Table]
    verdicts: list[Verdict] = []
    extra: dict[str, object] = {}

    @property
    def legend(self) -> dict[str, str]:
        """What each method is, by its name."""
        return {row.method: row.said for row in self.rows}


class Results:
    """Rows by take, from what a runner found."""

    def __init__(self, found: Mapping[Take, list[Found]]) -> None:
        self._found, self._rows = found, {take: row_of(take, clips) for take, clips in found.items()}

    def row(self, take: Take) -> Row:
        """The row of a take."""
        return self._rows[take]

    def bounds(self, take: Take) -> list[Row]:
        """What the true dub, the codec alone and a copy of the source reach in the same situation."""
        return [self._rows[Take(bound, take.situation, take.num_chunks)] for bound in BOUNDS]

    def clips(self, take: Take) -> list[Found]:
        """What was found of every clip."""
        return self._found[take]


def collect(runner: Runner, takes: Sequence[Take]) -> Results:
    """Find `takes` and make rows of them."""
    return Results(runner.find(takes))


def row_of(take: Take, clips: Sequence[Found]) -> Row:
    """Estimates of whatever all clips have a value for."""
    names = [name for name in clips[0].figures if all(name in found.figures for found in clips)]
    figures, curves = {}, {}
    for name in names:
        values = [found.figures[name] for found in clips]
        if isinstance(values[0], list):
            curves[name] = [estimate(column) for column in zip(*values, strict=True)]
        else:
            figures[name] = estimate(values)
    if "lag_curve" in curves:
        figures["lag_frames"] = estimate([found.figures["lag_curve"] for found in clips], _peak_of_mean)
    times = [found.generate_s for found in clips if found.generate_s is not None]
    if len(times) == len(clips):
        figures["seconds_per_chunk"] = estimate([seconds / take.num_chunks for seconds in times])
    return Row(
        method=take.method.name,
        said=take.method.said,
        situation=take.situation.name,
        num_chunks=take.num_chunks,
        num_clips=len(clips),
        is_bound=take.method in BOUNDS,
        figures=figures,
        curves=curves,
        num_redrawn=sum(found.num_redrawn for found in clips),
    )


def _peak_of_mean(curves: np.ndarray) -> float:
    return lips.peak_lag(curves.mean(axis=0).tolist(), lips.WIDE_LAGS)


def shown(value: Estimate | None, digits: int = 2) -> str:
    """`0.85 [0.80, 0.90]`, or a dash."""
    if value is None:
        return "-"
    # Adding 0 makes a plain 0 of -0.
    text, *edges = (
        f"{round(number, digits) + 0.0:.{digits}f}"
        for number in (value.value, value.low, value.high)
        if number is not None
    )
    return f"{text} [{edges[0]}, {edges[1]}]" if edges else text


def table_of(title: str, rows: Sequence[Row], figures: Sequence[str], with_situation: bool = False) -> Table:
    """A row for each of `rows`, a column for each of `figures`."""
    situation = ["clips"] if with_situation else []
    lines = []
    for row in rows:
        where = [row.situation] if with_situation else []
        lines.append([row.method, *where, *(shown(row.figures.get(name), _DIGITS.get(name, 2)) for name in figures)])
    return Table(title=title, header=["", *situation, *(LABELS[name] for name in figures)], rows=lines)


def judged(statement: str, what: str, wanted: Estimate, digits: int = 3) -> Verdict:
    """Whether `wanted`, a difference that the statement says is above 0, is so beyond chance."""
    judgement = _judgement(wanted, is_so=lambda edge: edge > 0)
    rule = f"{what}: 95 % interval above 0"
    return Verdict(statement=statement, rule=rule, judgement=judgement, found=_found(wanted, digits))


def at_most(statement: str, what: str, value: Estimate, limit: float, digits: int = 3) -> Verdict:
    """Whether `value` is below `limit` beyond chance."""
    judgement = _judgement(value, is_so=lambda edge: edge < limit)
    rule = f"{what}: 95 % interval below {limit:g}"
    return Verdict(statement=statement, rule=rule, judgement=judgement, found=_found(value, digits))


def _judgement(value: Estimate, is_so: Callable[[float], bool]) -> Judgement:
    """Both edges of the interval decide; with few clips nothing does."""
    if len(value.clips) < FEW_CLIPS or value.low is None or value.high is None:
        return "undecided"
    edges = is_so(value.low), is_so(value.high)
    return "holds" if all(edges) else "undecided" if any(edges) else "does not hold"


def _found(value: Estimate, digits: int) -> str:
    few = f"; {len(value.clips)} clips are too few to judge by" if len(value.clips) < FEW_CLIPS else ""
    return shown(value, digits) + few


def not_measurable(statement: str, what: str, reason: str) -> Verdict:
    """What cannot be judged."""
    return Verdict(statement=statement, rule=what, judgement="not measurable", found=reason)


def less(one: Row, other: Row, figure: str) -> Estimate:
    """`figure` of `one` less that of `other`, clip by clip."""
    return difference(one.clips(figure), other.clips(figure))
