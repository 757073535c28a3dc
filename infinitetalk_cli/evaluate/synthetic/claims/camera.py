"""Claim 4: what camera lock gains in the camera and costs in the lips, and the strength that this suggests."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from infinitetalk_cli.evaluate.intervals import Estimate
from infinitetalk_cli.evaluate.plots import Curve, Plot
from infinitetalk_cli.evaluate.synthetic.claims.methods import REFRESHED, SPARSE, locked
from infinitetalk_cli.evaluate.synthetic.claims.result import Claim, Results, Row, Table, less, shown, table_of
from infinitetalk_cli.evaluate.synthetic.settings import MAIN, PANNING, EvalSettings, Take

TITLE = "Camera lock, and its price"
DEFAULT_STRENGTH = 0.3
"""That of `dub --camera-lock`."""
AFFORDABLE = 0.05
"""Lip correlation that a lock may cost."""
FOLLOWS_VOICE = 0.3
"""Lip correlation below which there is nothing to lose, and no strength to choose."""

_FIGURES = ("pan_px", "zoom_percent", "roll_deg", "camera_followed", "lip", "width", "color_last", "seam_over_median")


def judged_weights(models: Collection[str]) -> list[str]:
    """Weights whose camera is measured: those judged, and m3, which was trained on cameras that move."""
    return [MAIN, *(["m3"] if "m3" in models else [])]


def _strengths(settings: EvalSettings) -> list[float]:
    return sorted({0.0, *settings.strengths})


def _of(weights: str, settings: EvalSettings) -> list[Take]:
    chunks = settings.chunks_of("camera")
    return [Take(locked(strength, weights), PANNING, chunks) for strength in _strengths(settings)]


def takes(settings: EvalSettings, models: Collection[str]) -> list[Take]:
    """No lock, no lock with a new reference for every chunk, and every strength, on a camera that pans and zooms."""
    every = [take for weights in judged_weights(models) for take in _of(weights, settings)]
    return [*every, Take(REFRESHED, PANNING, settings.chunks_of("camera"))]


def measured(results: Results, settings: EvalSettings, models: Collection[str]) -> Claim:
    """The curve as a table, and what the rule picks from it."""
    wanted = takes(settings, models)
    rows = [*(results.row(take) for take in wanted), *results.bounds(wanted[0])]
    tables, picks = [table_of("Camera and lips", rows, _FIGURES)], {}
    for weights in judged_weights(models):
        by_strength = [results.row(take) for take in _of(weights, settings)]
        tables.append(_curve_table(weights, _strengths(settings), by_strength))
        picks[weights] = pick(_strengths(settings), by_strength)
    notes = [
        "The camera is found on the background by aligning every frame to the first (the copy's row is the floor of "
        "that) and compared with the true one: pan error is the mean distance in px of the middle of the picture "
        f"({results.row(wanted[0]).num_clips} clips at {_side(settings)} px). 'Travel followed' is 1 where all of the "
        "true travel is made and 0 where none is.",
        *(_said(weights, picked) for weights, picked in picks.items()),
    ]
    extra = {"picked_strength": picks, "default_strength": DEFAULT_STRENGTH, "affordable_lip_loss": AFFORDABLE}
    return Claim(name="camera", title=TITLE, notes=notes, rows=rows, tables=tables, extra=extra)


def _side(settings: EvalSettings) -> int:
    from infinitetalk_cli.evaluate.synthetic.settings import picture_side

    return picture_side(settings.load_profile())


def pick(strengths: Sequence[float], rows: Sequence[Row]) -> float | None:
    """The strength with the smallest pan error whose lip loss is under `AFFORDABLE`; None if there are no lips to lose.

    `rows` belong to `strengths`, of which the first is 0, no lock.
    """
    free = rows[0]
    if free.figures["lip"].value < FOLLOWS_VOICE:
        return None
    affordable = [
        (row.figures["pan_px"].value, strength)
        for strength, row in zip(strengths, rows, strict=True)
        if less(free, row, "lip").value < AFFORDABLE
    ]
    return min(affordable)[1]


def _said(weights: str, picked: float | None) -> str:
    name = "the weights judged" if weights == MAIN else f"the weights {weights}"
    if picked is None:
        return (
            f"Rule for {name}: none is picked, for without a lock their lip correlation is under {FOLLOWS_VOICE:g} and "
            "nothing could be lost."
        )
    return (
        f"Rule: the smallest pan error whose loss of lip correlation is under {AFFORDABLE:g}. For {name} it picks "
        f"{f'{picked:g}' if picked else 'no lock'}; the default of `--camera-lock-strength` is {DEFAULT_STRENGTH:g}."
    )


def _curve_table(weights: str, strengths: Sequence[float], rows: Sequence[Row]) -> Table:
    lines = []
    for strength, row in zip(strengths, rows, strict=True):
        loss: Estimate = less(rows[0], row, "lip")
        gain: Estimate = less(rows[0], row, "pan_px")
        lines.append([f"{strength:g}", shown(row.figures["pan_px"]), shown(gain), shown(loss, 3)])
    name = "weights judged" if weights == MAIN else weights
    header = ["strength", "pan error, px", "gained, px", "lip correlation lost"]
    return Table(title=f"By strength, clip by clip ({name})", header=header, rows=lines)


def plots(results: Results, settings: EvalSettings, models: Collection[str]) -> dict[str, Plot]:
    """Lips against camera, a point per strength; and both against strength."""
    curves, pans, lip_curves = [], [], []
    for weights in judged_weights(models):
        rows = [results.row(take) for take in _of(weights, settings)]
        name = SPARSE.name if weights == MAIN else weights
        pan, lip = ([row.figures[figure] for row in rows] for figure in ("pan_px", "lip"))
        labels = [f"{strength:g}" for strength in _strengths(settings)]
        curves.append(Curve(name, [value.value for value in pan], [value.value for value in lip], labels=labels))
        pans.append(Curve.of(name, _strengths(settings), pan))
        lip_curves.append(Curve.of(name, _strengths(settings), lip))
    return {
        "camera-price": Plot(
            "Lips against camera, by strength of the lock", "pan error, px", "lip correlation", curves
        ),
        "camera-pan": Plot("Camera by strength of the lock", "strength", "pan error, px", pans),
        "camera-lips": Plot("Lips by strength of the lock", "strength", "lip correlation", lip_curves),
    }
