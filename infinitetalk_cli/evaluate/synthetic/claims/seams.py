"""Claim 3: context frames make one chunk go over into the next."""

from __future__ import annotations

from infinitetalk_cli.evaluate.synthetic.claims.methods import SPARSE, continued_from, same_weights
from infinitetalk_cli.evaluate.synthetic.claims.result import Claim, Results, judged, less, table_of
from infinitetalk_cli.evaluate.synthetic.plots import Bar, Bars
from infinitetalk_cli.evaluate.synthetic.settings import BASELINES, GENTLE, EvalSettings, Take

TITLE = "Seams between chunks"
_FIGURES = ("seam_over_median", "seam_over_mean", "seam_over_groups", "group_over_mean", "seam_levels")


def takes(settings: EvalSettings) -> list[Take]:
    """From no context frames to many, and the baselines, on gentle motion."""
    profile = settings.load_profile()
    counts = sorted({0, *settings.context_frames, profile.chunks.context_frames})
    methods = [*(continued_from(count, profile) for count in counts), *(same_weights(mode) for mode in BASELINES)]
    return [Take(method, GENTLE, settings.chunks_of("seams")) for method in methods]


def measured(results: Results, settings: EvalSettings) -> Claim:
    """The table, and whether context helps."""
    wanted = takes(settings)
    rows = [*(results.row(take) for take in wanted), *results.bounds(wanted[0])]
    ours, without = results.row(Take(SPARSE, GENTLE, wanted[0].num_chunks)), results.row(wanted[0])
    count = settings.load_profile().chunks.context_frames
    notes = [
        "Change from the last frame of a chunk to the first new one of the next, over the median (and the mean) of all "
        "other changes from frame to frame, and over those where the codec begins another group of four frames; the "
        "control is such a group boundary inside chunks over the mean. The copy is the source's own value at the same "
        f"frames. Ours (the profile) continues from {count} context frames; without any a chunk begins with the "
        "source's own frame, as a new scene does, at the same places.",
    ]
    verdicts = [
        judged(
            f"{count} context frames make seams smaller than none",
            f"seam over median change, none less {count}",
            less(without, ours, "seam_over_median"),
        )
    ]
    if "context-1" in (row.method for row in rows):
        one = next(row for row in rows if row.method == "context-1")
        verdicts.append(
            judged(
                f"{count} context frames make seams smaller than one",
                f"seam over median change, 1 less {count}",
                less(one, ours, "seam_over_median"),
            )
        )
    tables = [table_of("Seams", rows, _FIGURES)]
    return Claim(name="seams", title=TITLE, notes=notes, rows=rows, tables=tables, verdicts=verdicts)


def plots(results: Results, settings: EvalSettings) -> dict[str, Bars]:
    """Seam over median change."""
    wanted = takes(settings)
    rows = [*(results.row(take) for take in wanted), *results.bounds(wanted[0])[1:]]
    bars = [Bar.of(row.method, row.figures["seam_over_median"]) for row in rows]
    return {"seams": Bars("Change at seams over the median change", bars)}
