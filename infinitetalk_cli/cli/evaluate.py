"""`infinitetalk eval`: figures of quality."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from infinitetalk_cli.cli import evaluate_run, evaluate_split, study
from infinitetalk_cli.cli.options import Json, Quiet
from infinitetalk_cli.cli.render import make_reporter, show_json, show_table

if TYPE_CHECKING:
    from infinitetalk_cli.evaluate.synthetic import Report

app = typer.Typer(no_args_is_help=True, help="Measure quality.")


@app.callback()
def _evaluate() -> None:
    """Measure quality."""


@app.command("synthetic")
def synthetic(
    weights: Annotated[
        Path | None, typer.Option(help="Folder of trained parts.", show_default="the shipped nano model")
    ] = None,
    clips: Annotated[int, typer.Option(min=3, help="Held-out characters.")] = 8,
    chunks: Annotated[int, typer.Option(min=1, help="Chunks per clip.")] = 3,
    steps: Annotated[int, typer.Option(min=1, help="Denoising steps.")] = 4,
    audio_guidance: Annotated[float, typer.Option(min=0.0, help="Audio guidance scale; 1 is off.")] = 2.0,
    smoothing: Annotated[float, typer.Option(min=0.0, max=1.0, help="Temporal smoothing.")] = 0.75,
    seed: Annotated[int, typer.Option(help="Seed of the noise.")] = 42,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Dub drawn characters that training never met, with voices and words it never heard.

    Every character gets another one's speech, so copying the source scores nothing. Needs the extra
    `infinitetalk[train]` for the speech.
    """
    from infinitetalk_cli.checkpoints.locate import builtin_folder
    from infinitetalk_cli.evaluate.synthetic import Settings, measure

    settings = Settings(
        num_clips=clips,
        num_chunks=chunks,
        num_steps=steps,
        audio_guidance_scale=audio_guidance,
        temporal_smoothing=smoothing,
        seed=seed,
    )
    with make_reporter(quiet) as reporter:
        report = measure(weights or builtin_folder("nano"), settings, reporter)
    if as_json:
        show_json({"status": "done", **report.model_dump(mode="json")})
    else:
        show_table(("figure", "value", "beside it"), _rows(report))


def _rows(report: Report) -> list[tuple[str, str, str]]:
    def numbers(values: list[float] | tuple[float, ...], digits: int = 2) -> str:
        return " ".join(f"{value:.{digits}f}" for value in values)

    worst, best = min(report.lip_correlation_of_clips), max(report.lip_correlation_of_clips)
    rows = [
        ("lip correlation", f"{report.lip_correlation:.2f}", f"clips {worst:.2f} to {best:.2f}"),
        ("  by chunk", numbers(report.lip_correlation_of_chunks), ""),
        ("  lag -3..3 frames", numbers(report.lag_curve), "must peak in the middle"),
        ("  with another speech (shuffled)", f"{report.lip_correlation_shuffled:.2f}", "what a blind model reaches"),
        (
            "  with the source's own mouth", f"{report.lip_correlation_with_source:.2f}",
            f"a perfect dub has {report.true_correlation_with_source:.2f}",
        ),
        ("width correlation", f"{report.width_correlation:.2f}", ""),
        ("amplitude", f"{report.amplitude:.2f}", "1 is the true opening"),
        ("caps: probe on true frames", numbers(report.probe_on_truth), "openness, width"),
        ("caps: probe on decoded frames", numbers(report.probe_on_codec), "openness, width"),
        ("caps: audio encoder alone", numbers(report.audio_alone), "openness, width"),
        (
            "colour error by chunk, of 255", numbers(report.color_error_of_chunks, 1),
            f"codec alone {report.color_error_codec:.1f}, worst clip {report.color_error_worst_clip:.1f}",
        ),
        (
            "group boundary / mean change", f"{report.boundary_over_mean_change:.2f}",
            f"source {report.boundary_over_mean_change_source:.2f}",
        ),
        ("change / source", f"{report.change_over_source:.2f}", "above 1 is flicker"),
        ("PSNR outside the mouth", f"{report.psnr_outside_mouth:.1f} dB", ""),
        (
            "PSNR of the mouth against the true dub", f"{report.psnr_mouth:.1f} dB",
            f"codec {report.psnr_mouth_codec:.1f}, still reference {report.psnr_mouth_still:.1f}",
        ),
        ("sharpness of the mouth", f"{report.mouth_sharpness:.2f}", "1 is the true dub"),
        ("speed", f"{report.times_realtime:.1f} x real time", "this machine, one clip at a time"),
    ]  # fmt: skip
    if report.seam_over_boundaries is not None:
        seam = f"of the median change {report.seam_over_median_change:.1f}"
        rows.insert(11, ("seam / other group boundaries", f"{report.seam_over_boundaries:.2f}", seam))
    return rows


app.add_typer(evaluate_split.app, name="split")
app.command("prepare")(evaluate_split.prepare)
app.command("run")(evaluate_run.run)
app.command("compare")(evaluate_run.compare)
app.add_typer(study.app, name="study")
