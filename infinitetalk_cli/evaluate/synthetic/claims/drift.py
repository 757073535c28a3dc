"""Claim 2: identity and colours do not drift, however many chunks follow each other; those of the baselines do."""

from __future__ import annotations

from collections.abc import Collection

from infinitetalk_cli.evaluate.synthetic.claims.methods import (
    REFRESHED,
    SPARSE,
    baseline_models,
    of_model,
    same_weights,
    streaming_models,
)
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
from infinitetalk_cli.evaluate.synthetic.plots import Curve, Plot
from infinitetalk_cli.evaluate.synthetic.settings import BASELINES, GENTLE, EvalSettings, Method, Take

TITLE = "Identity and colours over many chunks"
STEADY_LEVELS = 0.2
"""Of 255, per chunk: two levels in ten chunks are no more than the codec's own error."""

_COLORS = ("color_first", "color_last", "color_slope", "background_slope", "palette_slope")
_LOOKS = ("likeness_first", "likeness_last", "likeness_slope", "edges_slope")


def methods(models: Collection[str]) -> list[Method]:
    """Ours and the baselines with the weights judged, then whatever was trained for comparison."""
    own = [SPARSE, REFRESHED, *(same_weights(mode) for mode in BASELINES)]
    return [*own, *streaming_models(models), *baseline_models(models)]


def takes(settings: EvalSettings, models: Collection[str]) -> list[Take]:
    """Every method on gentle motion."""
    return [Take(method, GENTLE, settings.chunks_of("drift")) for method in methods(models)]


def measured(results: Results, settings: EvalSettings, models: Collection[str]) -> Claim:
    """Tables by method, and what the paper says of the baselines."""
    wanted = takes(settings, models)
    rows = [*(results.row(take) for take in wanted), *results.bounds(wanted[0])]
    notes = [
        "Colour: mean difference of the face's colours, in levels of 255, from the source's first frame, after the "
        "face has been brought back to its place there; background alike. Likeness: correlation of the face's details "
        "with that frame's, 1 the same. Palette: CIEDE2000 of colours with the source's frame of the same time; edges: "
        "likeness of shapes with it, as the report of a dub gives both. 'Per chunk' is the slope of a line through the "
        f"{rows[0].num_chunks} chunks of the profile's plan ({_seconds(settings):.1f} s each).",
        "What is not ours is run by the same tool with the same chunks, noise and checks. Chunks of i2v overlap by one "
        "frame and those of fl2v not at all.",
    ]
    tables = [
        table_of("Colour drift", rows, _COLORS),
        table_of("Identity", rows, _LOOKS),
    ]
    verdicts = _verdicts({row.method: row for row in rows}, models)
    return Claim(name="drift", title=TITLE, notes=notes, rows=rows, tables=tables, verdicts=verdicts)


def _seconds(settings: EvalSettings) -> float:
    chunks = settings.load_profile().chunks
    return (chunks.num_frames - chunks.context_frames) / 25


def _verdicts(rows: dict[str, Row], models: Collection[str]) -> list[Verdict]:
    ours = rows[SPARSE.name]
    verdicts = [
        at_most(
            "Ours adds up no errors of colour", "colour per chunk of ours", ours.figures["color_slope"], STEADY_LEVELS
        )
    ]
    verdicts += _against("i2v", rows["i2v"], ours, "same weights")
    for name in BASELINES:
        statement = _STATEMENTS[name][0]
        if name in models and "m3" in models:
            verdicts += _against(name, rows[of_model(name).name], rows[of_model("m3").name], "trained alike")
        else:
            needed = " and ".join(f"ablation-{model}" for model in (name, "m3") if model not in models)
            verdicts.append(
                not_measurable(f"{statement} (trained alike)", "paired", f"needs `infinitetalk train {needed}`")
            )
    return verdicts


_STATEMENTS = {
    "i2v": ("i2v adds up errors of colour", "i2v loses the identity"),
    "fl2v": ("fl2v shows abrupt steps from chunk to chunk", ""),
}


def _against(name: str, row: Row, ours: Row, said: str) -> list[Verdict]:
    first, second = _STATEMENTS[name]
    if name == "fl2v":
        steps = less(row, ours, "seam_over_median")
        return [judged(f"{first} ({said})", "seam over median change, fl2v less ours", steps)]
    return [
        judged(f"{first} ({said})", "colour per chunk, i2v less ours", less(row, ours, "color_slope")),
        judged(f"{second} ({said})", "likeness per chunk, ours less i2v", less(ours, row, "likeness_slope"), 4),
    ]


def plots(results: Results, settings: EvalSettings, models: Collection[str]) -> dict[str, Plot]:
    """Colour and identity by chunk, a line per method."""
    wanted = takes(settings, models)
    codec = results.bounds(wanted[0])[1]
    pictures = {}
    for name, figure, title, axis in (
        ("drift-colour", "color_of_chunks", "Colour of the face", "levels of 255 from the first frame"),
        ("drift-background", "background_of_chunks", "Colour of the background", "levels of 255 from the first frame"),
        ("drift-identity", "likeness_of_chunks", "Identity", "correlation of details with the first frame"),
    ):
        curves = [_curve(results.row(take), figure) for take in wanted]
        curves.append(_curve(codec, figure, is_dashed=True))
        pictures[name] = Plot(title, "chunk", axis, curves)
    return pictures


def _curve(row: Row, figure: str, is_dashed: bool = False) -> Curve:
    return Curve.of(row.method, range(1, row.num_chunks + 1), row.curves[figure], is_dashed)
