"""`infinitetalk eval`: figures of quality."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from infinitetalk_cli.cli import evaluate_run, evaluate_split, study
from infinitetalk_cli.cli.options import Json, Quiet
from infinitetalk_cli.cli.render import make_reporter, show_json, show_table

if TYPE_CHECKING:
    from infinitetalk_cli.evaluate.synthetic.report import EvalReport

_CLAIMS = "lips,drift,seams,camera,ablation"

app = typer.Typer(no_args_is_help=True, help="Measure quality.")


@app.callback()
def _evaluate() -> None:
    """Measure quality."""


@app.command("synthetic")
def synthetic(
    weights: Annotated[
        Path | None, typer.Option(help="Folder of trained parts.", show_default="the shipped nano model")
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=DIR",
            help="Weights to compare with: m0, m1, m2, m3, i2v, fl2v or another name; may be repeated.",
            show_default=False,
        ),
    ] = None,
    claims: Annotated[str, typer.Option(help="Which claims, with commas between them.")] = _CLAIMS,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder for report, plots and contact sheets; give it again to go on where a run was stopped.",
            show_default=False,
        ),
    ] = None,
    clips: Annotated[int, typer.Option(min=3, help="Held-out characters.")] = 8,
    chunks: Annotated[
        int | None, typer.Option(min=1, help="Chunks per clip.", show_default="3; 10 for drift, seams and ablation")
    ] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Denoising steps.", show_default="the profile's")] = None,
    audio_guidance: Annotated[
        float | None, typer.Option(min=0.0, help="Audio guidance scale; 1 is off.", show_default="the profile's")
    ] = None,
    smoothing: Annotated[
        float | None, typer.Option(min=0.0, max=1.0, help="Temporal smoothing.", show_default="the profile's")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the noise.", show_default="the profile's")] = None,
    strengths: Annotated[str, typer.Option(help="Strengths of camera lock.")] = "0.2,0.3,0.5,0.7,0.9",
    profile: Annotated[str, typer.Option(help="How to dub: a nano profile, by name or path.")] = "nano",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Dub drawn characters that training never met, with voices and words it never heard, and judge by the truth.

    Every character gets another one's speech, so copying the source scores nothing. Without --claims all is measured
    that the weights at hand allow; the rest is listed. Needs the extra `infinitetalk[train]` for the speech.
    """
    from infinitetalk_cli.checkpoints.locate import builtin_folder
    from infinitetalk_cli.evaluate.synthetic.measure import measure, named_models, weights_in
    from infinitetalk_cli.evaluate.synthetic.settings import CLAIMS, EvalSettings

    wanted = [name.strip() for name in claims.split(",") if name.strip()]
    unknown = [name for name in wanted if name not in CLAIMS]
    if unknown or not wanted:
        raise typer.BadParameter(f"no claim {', '.join(unknown)}; the claims are {_CLAIMS}", param_hint="--claims")
    settings = EvalSettings(
        profile=profile,
        num_clips=clips,
        num_chunks=chunks,
        num_steps=steps,
        audio_guidance_scale=audio_guidance,
        temporal_smoothing=smoothing,
        seed=seed,
        strengths=_numbers(strengths),
    )
    folder = builtin_folder("nano") if weights is None else weights_in(weights)
    with make_reporter(quiet) as reporter:
        report = measure(folder, named_models(model or ()), wanted, settings, reporter, out)
    if as_json:
        show_json(report.document())
    else:
        _show(report, out)


def _numbers(text: str) -> tuple[float, ...]:
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError as exc:
        raise typer.BadParameter(f"{text}: say numbers with commas between them", param_hint="--strengths") from exc
    if not all(0 < value <= 1 for value in values):
        raise typer.BadParameter(f"{text}: every strength is above 0 and at most 1", param_hint="--strengths")
    return values


def _show(report: EvalReport, out: Path | None) -> None:
    for claim in report.claims:
        typer.echo(f"\n{claim.title.upper()}")
        for table in claim.tables:
            typer.echo(f"\n{table.title}")
            show_table(tuple(table.header), [tuple(row) for row in table.rows])
        typer.echo()
        for verdict in claim.verdicts:
            typer.echo(f"{verdict.judgement}: {verdict.statement} ({verdict.rule}; found {verdict.found})")
        for note in claim.notes[1:]:
            typer.echo(note)
    if report.not_measured:
        typer.echo("\nNOT MEASURED")
    for missing in report.not_measured:
        typer.echo(f"{missing.claim}, {missing.what}: {missing.reason}")
    if out is not None:
        typer.echo(f"\n{out / 'report.md'}")


app.add_typer(evaluate_split.app, name="split")
app.command("prepare")(evaluate_split.prepare)
app.command("run")(evaluate_run.run)
app.command("compare")(evaluate_run.compare)
app.add_typer(study.app, name="study")
