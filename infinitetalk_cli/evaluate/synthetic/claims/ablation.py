"""Claim 5: where references come from in training decides how strongly they bind (paper, Table 3)."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from infinitetalk_cli.evaluate.intervals import difference
from infinitetalk_cli.evaluate.synthetic.claims.drift import STEADY_LEVELS
from infinitetalk_cli.evaluate.synthetic.claims.methods import of_model, streaming_models
from infinitetalk_cli.evaluate.synthetic.claims.result import (
    Claim,
    Results,
    Row,
    Verdict,
    at_most,
    judged,
    less,
    not_measurable,
    table_of,
)
from infinitetalk_cli.evaluate.synthetic.plots import Bar, Bars
from infinitetalk_cli.evaluate.synthetic.settings import GENTLE, STRATEGIES, EvalSettings, Take

TITLE = "Where references come from (Table 3)"
FOLLOWS_BY = 0.1
"""Lip correlation above the shuffled control from which on a model counts as following the voice at all."""

_LIPS = ("lip", "width", "lip_shuffled", "lag_frames", "amplitude", "seam_over_median")
_DRIFT = ("color_last", "color_slope", "background_slope", "likeness_last", "likeness_slope")
_POSE = ("head_with_source", "head_motion", "at_reference", "end_over_middle")


@dataclass(frozen=True)
class _Statement:
    """`larger` has more of `figure` than `smaller`, says the paper."""

    words: str
    figure: str
    larger: str
    smaller: str

    @property
    def is_about_lips(self) -> bool:
        return self.figure == "lip"

    @property
    def what(self) -> str:
        return f"{self.figure}, {self.larger} less {self.smaller}"


STATEMENTS = (
    _Statement("m3 follows the voice better than m0 (Sync-C 8.60 against 8.51)", "lip", "m3", "m0"),
    _Statement("m3 follows the voice better than m1 (8.60 against 7.96)", "lip", "m3", "m1"),
    _Statement("m3 follows the voice better than m2 (8.60 against 8.23)", "lip", "m3", "m2"),
    _Statement("m0 copies the reference at odd moments, more than m3", "at_reference", "m0", "m3"),
    _Statement(
        "m1 is drawn to the reference's pose at the ends of chunks, more than m3", "end_over_middle", "m3", "m1"
    ),
    _Statement("m2 adds up errors of colour, more than m3", "color_slope", "m2", "m3"),
    _Statement("m2 adds up errors in the background, more than m3", "background_slope", "m2", "m3"),
)


def takes(settings: EvalSettings, models: Collection[str]) -> list[Take]:
    """The strategies that were trained, on gentle motion; the same dubs as for drift."""
    return [Take(method, GENTLE, settings.chunks_of("ablation")) for method in streaming_models(models)]


def measured(results: Results, settings: EvalSettings, models: Collection[str]) -> Claim:
    """Tables by strategy, and the paper's statements judged."""
    wanted = takes(settings, models)
    rows = [*(results.row(take) for take in wanted), *map(_without_reference, results.bounds(wanted[0]))]
    notes = [
        "Models trained alike but for where the reference comes from, run alike: with a new reference for every chunk, "
        "taken where the chunk begins, as in the published loop. 'Share at the reference's pose': frames whose head is "
        "within 0.8 % of the picture's side of where it is in the reference. 'End / middle': how far from there the "
        "head is at the end of a chunk over how far it is in its middle; small is rigid. The bounds have no reference.",
    ]
    by_name = {row.method: row for row in rows}
    tables = [
        table_of("Lips and seams", rows, _LIPS),
        table_of("Drift", rows, _DRIFT),
        table_of("Head, and the reference's pose", rows, _POSE),
    ]
    verdicts = [_verdict(statement, by_name) for statement in STATEMENTS]
    verdicts.append(_steady(by_name))
    return Claim(name="ablation", title=TITLE, notes=notes, rows=rows, tables=tables, verdicts=verdicts)


def _without_reference(bound: Row) -> Row:
    """A bound looks at no reference, so it has no figures of distance from one."""
    kept = {name: value for name, value in bound.figures.items() if name not in ("at_reference", "end_over_middle")}
    return bound.model_copy(update={"figures": kept})


def _verdict(statement: _Statement, rows: dict[str, Row]) -> Verdict:
    names = statement.larger, statement.smaller
    missing = [name for name in names if of_model(name).name not in rows]
    if missing:
        return not_measurable(statement.words, statement.what, _needs(missing))
    larger, smaller = (rows[of_model(name).name] for name in names)
    if statement.is_about_lips and not any(_follows_voice(row) for row in (larger, smaller)):
        return not_measurable(statement.words, statement.what, "neither follows the voice beyond the shuffled control")
    if any(statement.figure not in row.figures for row in (larger, smaller)):
        return not_measurable(statement.words, statement.what, "too short to have this figure")
    return judged(statement.words, statement.what, less(larger, smaller, statement.figure))


def _follows_voice(row: Row) -> bool:
    """Whether lip correlation is above that with another voice."""
    return difference(row.clips("lip"), row.clips("lip_shuffled")).value > FOLLOWS_BY


def _steady(rows: dict[str, Row]) -> Verdict:
    statement, name = "m3 adds up no errors of colour", of_model("m3").name
    if name not in rows:
        return not_measurable(statement, "color_slope of m3", _needs(["m3"]))
    return at_most(statement, "color_slope of m3", rows[name].figures["color_slope"], STEADY_LEVELS)


def _needs(names: list[str]) -> str:
    commands = ", ".join(f"`infinitetalk train ablation-{name}`" for name in names)
    return f"needs {commands} and --model {names[0]}=DIR"


def missing(models: Collection[str]) -> list[str]:
    """Strategies without weights."""
    return [name for name in STRATEGIES if name not in models]


def plots(results: Results, settings: EvalSettings, models: Collection[str]) -> dict[str, Bars]:
    """Lips and pose by strategy."""
    rows = [results.row(take) for take in takes(settings, models)]
    pictures = {}
    for name, figure, title in (
        ("ablation-lips", "lip", "Lip correlation"),
        ("ablation-reference", "at_reference", "Share of frames at the reference's pose"),
        ("ablation-colour", "color_slope", "Colour drift per chunk, levels of 255"),
    ):
        pictures[name] = Bars(title, [Bar.of(row.method, row.figures[figure]) for row in rows])
    return pictures
