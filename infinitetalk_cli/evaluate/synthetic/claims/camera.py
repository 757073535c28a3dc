"""Claim 4: what following the source's camera gains in the camera, and costs in lips, background and time."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from infinitetalk_cli.config.camera import DEFAULT_LOCK_STRENGTH
from infinitetalk_cli.evaluate.intervals import Estimate
from infinitetalk_cli.evaluate.synthetic.claims.methods import REFRESHED, SPARSE, locked, steered
from infinitetalk_cli.evaluate.synthetic.claims.result import (
    Claim,
    Results,
    Row,
    Table,
    Verdict,
    at_most,
    judged,
    less,
    shown,
    table_of,
)
from infinitetalk_cli.evaluate.synthetic.plots import Curve, Plot
from infinitetalk_cli.evaluate.synthetic.settings import MAIN, PANNING, EvalSettings, Method, Take, picture_side

TITLE = "Following the source's camera, and its price"
AFFORDABLE = 0.05
"""Lip correlation that a lock may cost."""
HARDLY_ANY = 0.03
"""Lip correlation that nobody would miss."""
FOLLOWS_VOICE = 0.3
"""Lip correlation below which there is nothing to lose, and no strength to choose."""

STEERED = steered(1.0)
"""The branch as it was trained."""

_CAMERA = ("pan_px", "zoom_percent", "roll_deg", "camera_followed")
_PRICE = ("lip", "width", "lip_with_source", "background_off", "background_likeness", "seam_over_median")
_TIME = ("seconds_per_chunk",)


@dataclass(frozen=True)
class _Line:
    """A way to follow, by rising strength; the first is strength 0, no lock at all."""

    name: str
    key: str
    strengths: tuple[float, ...]
    methods: tuple[Method, ...]


def _lines(settings: EvalSettings, models: Collection[str], has_branch: bool) -> list[_Line]:
    """SDEdit of the weights judged, and of m3, trained on cameras that move; then the branch of those judged."""
    by_noise = (0.0, *sorted(settings.strengths))
    lines = [_Line("SDEdit", MAIN, by_noise, tuple(locked(strength) for strength in by_noise))]
    if "m3" in models:
        methods = tuple(locked(strength, "m3") for strength in by_noise)
        lines.append(_Line("SDEdit, weights m3", "m3", by_noise, methods))
    if has_branch:
        alone, beside = sorted(settings.uni3c_strengths), sorted(settings.both_strengths)
        methods = (SPARSE, *(steered(strength) for strength in alone))
        lines.append(_Line("Uni3C", "uni3c", (0.0, *alone), methods))
        methods = (SPARSE, *(steered(1.0, strength) for strength in beside))
        lines.append(_Line("both, Uni3C at 1", "both", (0.0, *beside), methods))
    return lines


def _take(method: Method, settings: EvalSettings) -> Take:
    return Take(method, PANNING, settings.chunks_of("camera"))


def _takes_of(line: _Line, settings: EvalSettings) -> list[Take]:
    return [_take(method, settings) for method in line.methods]


def takes(settings: EvalSettings, models: Collection[str], has_branch: bool) -> list[Take]:
    """No lock, no lock with a new reference for every chunk, and every strength, on a camera that pans and zooms."""
    every = [take for line in _lines(settings, models, has_branch) for take in _takes_of(line, settings)]
    judged_by = [_take(STEERED, settings)] if has_branch else []
    return list(dict.fromkeys([*every, *judged_by, _take(REFRESHED, settings)]))


def measured(results: Results, settings: EvalSettings, models: Collection[str], has_branch: bool) -> Claim:
    """Every method's figures, the curves as tables, what the rule picks from them, and what the paper says."""
    wanted, lines = takes(settings, models, has_branch), _lines(settings, models, has_branch)
    rows = [*(results.row(take) for take in wanted), *results.bounds(wanted[0])]
    tables = [
        table_of("Camera", rows, _CAMERA),
        table_of("Lips, background and time", rows, (*_PRICE, *_TIME)),
    ]
    picks, said = {}, []
    for line in lines:
        by_strength = [results.row(take) for take in _takes_of(line, settings)]
        tables.append(_curve_table(line, by_strength))
        picks[line.key] = pick(line.strengths, by_strength)
        said.append(_said(line, picks[line.key]))
    notes = [_how(results.row(wanted[0]), picture_side(settings.load_profile())), *said]
    extra = {"picked_strength": picks, "default_strength": DEFAULT_LOCK_STRENGTH, "affordable_lip_loss": AFFORDABLE}
    judged_so = verdicts(*(results.row(_take(method, settings)) for method in (SPARSE, STEERED))) if has_branch else []
    return Claim(name="camera", title=TITLE, notes=notes, rows=rows, tables=tables, verdicts=judged_so, extra=extra)


def _how(free: Row, side_px: int) -> str:
    return (
        "The camera is found on the background by aligning every frame to the first (the copy's row is the floor of "
        "that) and compared with the true one: pan error is the mean distance in px of the middle of the picture "
        f"({free.num_clips} clips at {side_px} px). 'Travel followed' is 1 where all of the true travel is made and 0 "
        "where none is. 'Background off' is the mean difference from the source's background, place by place at the "
        "same time, in levels of 255; 'background likeness' the correlation of its details with the first frame's, "
        "after the camera that was found has been taken out. Seconds are those of generating, on the machine as it was."
    )


def verdicts(free: Row, led: Row) -> list[Verdict]:
    """What the paper says of Uni3C (Section 3.4, Figure 7), from clips without it (`free`) and with it."""
    follows = "Uni3C follows the camera"
    loses = "Uni3C fails to preserve the background"
    return [
        judged(follows, "pan error without less that with Uni3C", less(free, led, "pan_px"), 2),
        at_most(f"{follows}, and the lips stay", "lip correlation lost", less(free, led, "lip"), HARDLY_ANY),
        judged(loses, "background off, with Uni3C less without", less(led, free, "background_off"), 2),
        judged(loses, "background likeness, without less with", less(free, led, "background_likeness")),
    ]


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


def _said(line: _Line, picked: float | None) -> str:
    if picked is None:
        return (
            f"Rule for {line.name}: none is picked, for without a lock the lip correlation is under {FOLLOWS_VOICE:g} "
            "and nothing could be lost."
        )
    default = f"; `--camera-lock-strength` is {DEFAULT_LOCK_STRENGTH:g} unless said" if line.key == MAIN else ""
    return (
        f"Rule: the smallest pan error whose loss of lip correlation is under {AFFORDABLE:g}. For {line.name} it picks "
        f"{f'{picked:g}' if picked else 'no lock'}{default}."
    )


def _curve_table(line: _Line, rows: Sequence[Row]) -> Table:
    lines = []
    for strength, row in zip(line.strengths, rows, strict=True):
        loss: Estimate = less(rows[0], row, "lip")
        gain: Estimate = less(rows[0], row, "pan_px")
        worse: Estimate = less(row, rows[0], "background_off")
        lines.append([f"{strength:g}", shown(row.figures["pan_px"]), shown(gain), shown(loss, 3), shown(worse)])
    header = ["strength", "pan error, px", "gained, px", "lip correlation lost", "background further off"]
    return Table(title=f"By strength, clip by clip ({line.name})", header=header, rows=lines)


def plots(results: Results, settings: EvalSettings, models: Collection[str], has_branch: bool) -> dict[str, Plot]:
    """Lips against camera, a point per strength; and both against strength."""
    prices, pans, lip_curves = [], [], []
    for line in _lines(settings, models, has_branch):
        rows = [results.row(take) for take in _takes_of(line, settings)]
        pan, lip = ([row.figures[figure] for row in rows] for figure in ("pan_px", "lip"))
        labels = [f"{strength:g}" for strength in line.strengths]
        prices.append(Curve(line.name, [value.value for value in pan], [value.value for value in lip], labels=labels))
        pans.append(Curve.of(line.name, line.strengths, pan))
        lip_curves.append(Curve.of(line.name, line.strengths, lip))
    price = "Lips against camera, by strength of the lock"
    return {
        "camera-price": Plot(price, "pan error, px", "lip correlation", prices),
        "camera-pan": Plot("Camera by strength of the lock", "strength", "pan error, px", pans),
        "camera-lips": Plot("Lips by strength of the lock", "strength", "lip correlation", lip_curves),
    }
