"""Claim 1: the mouth follows the new voice, at the right time, whatever the language and the voice."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import mean
from typing import Any

from infinitetalk_cli.evaluate.intervals import Estimate, estimate
from infinitetalk_cli.evaluate.synthetic.claims.methods import SPARSE
from infinitetalk_cli.evaluate.synthetic.claims.result import Claim, Results, Row, Table, shown, table_of
from infinitetalk_cli.evaluate.synthetic.lips import LAGS, WIDE_LAGS
from infinitetalk_cli.evaluate.synthetic.plots import Curve, Plot
from infinitetalk_cli.evaluate.synthetic.settings import MODERATE, STILL, EvalSettings, Situation, Take
from infinitetalk_cli.evaluate.synthetic.units import Found
from infinitetalk_cli.units import MODEL_RATE

TITLE = "Lips follow the new voice"
_FIGURES = ("lip", "width", "lip_shuffled", "lip_with_source", "true_with_source", "lag_frames", "amplitude")
_SITUATIONS = (STILL, MODERATE)


def takes(settings: EvalSettings) -> list[Take]:
    """Near-still heads, and heads that move moderately."""
    return [Take(SPARSE, situation, settings.chunks_of("lips")) for situation in _SITUATIONS]


def measured(results: Results, settings: EvalSettings) -> Claim:
    """Tables of lips, and the earlier single report on near-still heads as `extra`."""
    wanted = takes(settings)
    rows = [row for take in wanted for row in (results.row(take), *results.bounds(take))]
    tables = [table_of("Lips", rows, _FIGURES, with_situation=True), _audio_table(results, wanted)]
    tables += [_grouped(results.clips(take), take.situation) for take in wanted]
    notes = [
        "Correlation of the mouth's openness (and width), read from the picture by a small network, with that of the "
        "speech. Controls: with a third clip's voice, and with the source's own mouth, which the mouth of a perfect "
        "dub resembles as much as the next column says. Lag above 0: the picture is late.",
    ]
    first = wanted[0]
    extra = single_report(results.clips(first), results.row(first), results.bounds(first), settings)
    tables.insert(1, _picture_table(extra))
    return Claim(name="lips", title=TITLE, notes=notes, rows=rows, tables=tables, extra=extra)


def plots(results: Results, settings: EvalSettings) -> dict[str, Plot]:
    """The lag curve."""
    curves = []
    for take in takes(settings):
        row, truth = results.row(take), results.bounds(take)[0]
        curves.append(Curve.of(take.situation.said, WIDE_LAGS, row.curves["lag_curve"]))
        if take.situation is STILL:
            curves.append(Curve.of("true dub", WIDE_LAGS, truth.curves["lag_curve"], is_dashed=True))
    title = "Correlation of mouth and voice by lag"
    return {"lips-lag": Plot(title, "frames by which the picture is late", "correlation", curves)}


def _picture_table(report: dict[str, Any]) -> Table:
    """What else is seen on near-still heads, each beside what bounds it."""

    def number(name: str, digits: int = 2) -> str:
        return "-" if report[name] is None else f"{report[name]:.{digits}f}"

    colors = " ".join(f"{value:.1f}" for value in report["color_error_of_chunks"])
    rows = [
        ["colour error by chunk, of 255", colors, f"codec alone {number('color_error_codec', 1)}"],
        ["seam / other group boundaries", number("seam_over_boundaries"), ""],
        ["group boundary / mean change", number("boundary_over_mean_change"),
         f"source {number('boundary_over_mean_change_source')}"],
        ["change / source", number("change_over_source"), "above 1 is flicker"],
        ["PSNR outside the mouth, dB", number("psnr_outside_mouth", 1), ""],
        ["PSNR of the mouth, dB", number("psnr_mouth", 1),
         f"codec {number('psnr_mouth_codec', 1)}, still reference {number('psnr_mouth_still', 1)}"],
        ["sharpness of the mouth", number("mouth_sharpness"), "1 is the true dub"],
        ["speed, x real time", number("times_realtime", 1), "one clip at a time, on this machine as it was"],
    ]  # fmt: skip
    return Table(title="The picture (heads nearly still)", header=["", "value", "beside it"], rows=rows)


def _audio_table(results: Results, wanted: Sequence[Take]) -> Table:
    rows = []
    for take in wanted:
        heard = results.bounds(take)[0].curves["audio_alone"]
        rows.append([take.situation.said, *(shown(value) for value in heard)])
    return Table(title="Cap: the audio encoder alone", header=["", "openness", "width"], rows=rows)


def _grouped(clips: Sequence[Found], situation: Situation) -> Table:
    rows = []
    for kind in ("language", "voice"):
        for name in sorted({getattr(found, kind) for found in clips}):
            chosen = [found for found in clips if getattr(found, kind) == name]
            lip, width = (estimate([found.figures[figure] for found in chosen]) for figure in ("lip", "width"))
            rows.append([f"{kind} {name}", str(len(chosen)), shown(lip), shown(width)])
    header = ["", "clips", "lip correlation", "width correlation"]
    return Table(title=f"By language and voice ({situation.said})", header=header, rows=rows)


def single_report(clips: Sequence[Found], row: Row, bounds: Sequence[Row], settings: EvalSettings) -> dict[str, Any]:
    """The figures of near-still heads by the names that this command has always given them."""
    truth, codec, copy = bounds
    profile = settings.load_profile()

    def value(name: str, of: Row = row) -> float | None:
        found: Estimate | None = of.figures.get(name)
        return None if found is None else found.value

    def values(name: str, of: Row = row) -> list[float]:
        return [found.value for found in of.curves[name]]

    generated = [found for found in clips if found.generate_s is not None]
    seconds = sum(found.generate_s or 0.0 for found in generated)
    length_s = sum(found.num_frames for found in generated) / float(MODEL_RATE)
    first = WIDE_LAGS.index(LAGS[0])
    return {
        "settings": {
            "num_clips": settings.num_clips,
            "num_chunks": row.num_chunks,
            "num_steps": profile.sampling.num_steps,
            "timestep_shift": profile.sampling.timestep_shift,
            "audio_guidance_scale": profile.sampling.audio_guidance_scale,
            "temporal_smoothing": profile.post.temporal_smoothing,
            "seed": profile.sampling.seed,
        },
        "lip_correlation": value("lip"),
        "lip_correlation_of_clips": row.clips("lip"),
        "lip_correlation_of_chunks": values("lip_of_chunks"),
        "lip_correlation_shuffled": value("lip_shuffled"),
        "lip_correlation_with_source": value("lip_with_source"),
        "true_correlation_with_source": value("true_with_source"),
        "lag_curve": values("lag_curve")[first : first + len(LAGS)],
        "width_correlation": value("width"),
        "amplitude": value("amplitude"),
        "probe_on_truth": [value("lip", truth), value("width", truth)],
        "probe_on_codec": [value("lip", codec), value("width", codec)],
        "audio_alone": values("audio_alone", truth),
        "color_error_of_chunks": values("color_error_of_chunks"),
        "color_error_worst_clip": max(mean(found.figures["color_error_of_chunks"]) for found in clips),
        "color_error_codec": mean(values("color_error_of_chunks", codec)),
        "seam_over_boundaries": value("seam_over_groups"),
        "seam_over_median_change": value("seam_over_median"),
        "boundary_over_mean_change": value("group_over_mean"),
        "boundary_over_mean_change_source": value("group_over_mean", copy),
        "change_over_source": value("change_over_source"),
        "psnr_outside_mouth": value("psnr_outside_mouth"),
        "psnr_mouth": value("psnr_mouth"),
        "psnr_mouth_codec": value("psnr_mouth", codec),
        "psnr_mouth_still": value("psnr_mouth_still"),
        "mouth_sharpness": value("mouth_sharpness"),
        "times_realtime": length_s / seconds if seconds else None,
    }
