"""`infinitetalk eval run` and `eval compare`: score methods on a split, and show them side by side."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from infinitetalk_cli.cli.evaluate_split import SplitFile, Videos, check_folder, end_incomplete
from infinitetalk_cli.cli.options import (
    METRICS_VARIABLE,
    CacheDir,
    Device,
    Json,
    Quiet,
    Verbose,
    WeightsDir,
    cache_root,
)
from infinitetalk_cli.cli.render import make_reporter, show_json, show_table

if TYPE_CHECKING:
    from infinitetalk_cli.cli.render import Reporter
    from infinitetalk_cli.errors import InfiniteTalkError
    from infinitetalk_cli.evaluate.run.methods import ChunkLayout, Method
    from infinitetalk_cli.evaluate.tables.results import Report

_METHOD_NAME = re.compile(r"[\w][\w.+-]{0,79}")


def run(
    split: SplitFile,
    videos: Videos,
    method: Annotated[str, typer.Option(help="Name in the tables; 'copy' is the source with the new audio.")],
    profile: Annotated[
        str | None, typer.Option(help="Profile to dub with.", show_default="the best one installed")
    ] = None,
    no_context: Annotated[
        bool, typer.Option("--no-context", help="Every chunk begins anew, without context frames (an ablation).")
    ] = False,
    seed: Annotated[int | None, typer.Option(help="Seed of the noise.", show_default="the profile's")] = None,
    steps: Annotated[int | None, typer.Option(help="Denoising steps per chunk.", show_default="the profile's")] = None,
    outputs: Annotated[
        Path | None,
        typer.Option(help="Score these results (ID.mp4, .mkv, ...) instead of dubbing.", show_default=False),
    ] = None,
    chunk_frames: Annotated[
        int | None,
        typer.Option(min=1, help="With --outputs or copy: chunk length, for seams.", show_default="81"),
    ] = None,
    context_frames: Annotated[
        int | None, typer.Option(min=0, help="With --outputs or copy: overlap of chunks.", show_default="9")
    ] = None,
    lenient: Annotated[
        bool, typer.Option("--lenient", help="Also score results of another length, rate or size.")
    ] = False,
    metrics: Annotated[
        str | None,
        typer.Option(
            help="Names with commas between them: fid, fvd, sync, csim, file, seams, drift, camera, background, lag, "
            "copying, rhythm.",
            show_default="all whose weights are here",
        ),
    ] = None,
    preset: Annotated[
        list[str] | None,
        typer.Option(help="METRIC=PRESET, such as fid=clean (docs/metrics.md); repeatable.", show_default=False),
    ] = None,
    metrics_dir: Annotated[
        Path | None,
        typer.Option(
            "--metrics-dir",
            "--weights",
            envvar=METRICS_VARIABLE,
            help="Folder of the weights of metrics.",
            show_default="metrics/ in the weights folder",
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the evaluation.", show_default="eval/SPLIT")] = None,
    device: Device = "auto",
    ignore_memory: Annotated[bool, typer.Option("--ignore-memory", help="Dub even if memory seems short.")] = False,
    cache_dir: CacheDir = None,
    weights_dir: WeightsDir = None,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Dub every clip of a split, or take results that any method made, and score them.

    Stop it whenever you like: the same command goes on, clip by clip and metric by metric. A clip that is missing or
    fails is listed and does not stop the others (exit code 8).
    """
    from infinitetalk_cli.cli.log import open_log
    from infinitetalk_cli.evaluate.run.protocol import EvalRequest, evaluate, failures
    from infinitetalk_cli.evaluate.splits.split import read_split
    from infinitetalk_cli.evaluate.tables.reporting import write_reports
    from infinitetalk_cli.models.devices import resolve_device

    dubs = {"--profile": profile, "--no-context": no_context or None, "--seed": seed, "--steps": steps}
    _check_method(method, outputs, dubs, {"--chunk-frames": chunk_frames, "--context-frames": context_frames})
    check_folder(videos)
    root = cache_root(cache_dir)
    read = read_split(split)
    open_log(root, "eval", verbose=verbose, quiet=quiet)
    with make_reporter(quiet) as reporter:
        overrides = {"--seed": ("sampling.seed", seed), "--steps": ("sampling.num_steps", steps)}
        given = {option: pair for option, pair in overrides.items() if pair[1] is not None}
        request = EvalRequest(
            split=read,
            split_path=split,
            videos=videos,
            method=_method(
                method, profile, outputs, _layout(chunk_frames, context_frames), given, not no_context, root, reporter,
                device, weights_dir, ignore_memory,
            ),
            out=out or Path("eval") / read.name,
            metrics=_metrics(metrics),
            presets=_presets(preset, metrics),
            weights_folders=_weights_folders(metrics_dir, weights_dir, cache_dir),
            device=str(resolve_device(device)),
            lenient=lenient,
            memo_dir=root / "hashes",
        )  # fmt: skip
        report = evaluate(request, reporter)
        places = write_reports(report, request.folder)
    lost = failures(report)
    _show(report, places, lost, as_json)
    if lost is not None:
        end_incomplete(lost, as_json)


def _check_method(name: str, outputs: Path | None, dubbing: dict[str, object], layout: dict[str, int | None]) -> None:
    """`dubbing`: options that only count where we dub; `layout`: those that only count where we do not."""
    if not _METHOD_NAME.fullmatch(name) or name in ("prepared", "numbers"):
        raise typer.BadParameter(f"--method {name}: wants a plain name of letters, digits, '.', '_', '+', '-'")
    if outputs is not None and name == "copy":
        raise typer.BadParameter("--method copy makes its own results; give those of --outputs another name")
    is_dubbed = outputs is None and name != "copy"
    idle = [option for option, value in (layout if is_dubbed else dubbing).items() if value is not None]
    if idle:
        why = "our own dubs know their chunks" if is_dubbed else "nothing is dubbed here"
        raise typer.BadParameter(f"{idle[0]} has no effect: {why}")
    if outputs is not None and not outputs.is_dir():
        raise typer.BadParameter(f"--outputs {outputs}: no such folder")


def _layout(chunk_frames: int | None, context_frames: int | None) -> ChunkLayout:
    from infinitetalk_cli.evaluate.run.methods import ChunkLayout

    layout = ChunkLayout()
    if chunk_frames is not None:
        layout = replace(layout, chunk_frames=chunk_frames)
    if context_frames is not None:
        layout = replace(layout, context_frames=context_frames)
    if layout.context_frames >= layout.chunk_frames:
        raise typer.BadParameter(
            f"--context-frames {layout.context_frames} must be fewer than --chunk-frames {layout.chunk_frames}"
        )
    return layout


def _method(
    name: str, profile: str | None, outputs: Path | None, layout: ChunkLayout,
    overrides: dict[str, tuple[str, object]], context: bool, root: Path, reporter: Reporter, device: str,
    weights_dir: Path | None, ignore_memory: bool,
) -> Method:  # fmt: skip
    from infinitetalk_cli.evaluate.run.methods import CopyMethod, DubMethod, FolderMethod

    if outputs is not None:
        return FolderMethod(name, outputs, layout)
    if name == "copy":
        return CopyMethod(name, layout)
    return DubMethod(name, profile, root, reporter, overrides, context, device, weights_dir, ignore_memory)


def _metrics(text: str | None) -> tuple[str, ...] | None:
    from infinitetalk_cli.evaluate.tables.columns import METRICS

    if text is None:
        return None
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    unknown = [name for name in names if name not in METRICS]
    if unknown or not names:
        raise typer.BadParameter(f"--metrics {text}: choose among {', '.join(METRICS)}")
    return names


def _presets(pairs: list[str] | None, metrics: str | None) -> dict[str, str]:
    from infinitetalk_cli.evaluate.tables.columns import NETWORK_METRICS

    found = {}
    for text in pairs or []:
        name, _, preset = text.partition("=")
        if name not in NETWORK_METRICS or not preset:
            raise typer.BadParameter(
                f"--preset {text}: wants METRIC=PRESET, METRIC one of {', '.join(NETWORK_METRICS)}"
            )
        if name not in (_metrics(metrics) or NETWORK_METRICS):
            raise typer.BadParameter(f"--preset {text} has no effect: --metrics leaves {name} out")
        found[name] = preset
    return found


def _weights_folders(metrics_dir: Path | None, weights_dir: Path | None, cache_dir: Path | None) -> tuple[Path, ...]:
    from infinitetalk_cli.cli.options import weights_root
    from infinitetalk_cli.evaluate.metrics.metric_weights import search_folders

    return search_folders(metrics_dir, weights_root(weights_dir, cache_dir))


def _show(report: Report, places: dict[str, Path], lost: InfiniteTalkError | None, as_json: bool) -> None:
    from infinitetalk_cli.evaluate.tables.text import coverage, headline, notes

    if as_json:
        show_json({
            "status": "done" if lost is None else "incomplete",
            "exit_code": 0 if lost is None else int(lost.exit_code),
            "error": None if lost is None else str(lost),
            "covered": report.num_scored,
            "clips": report.num_items,
            "files": {kind: str(path) for kind, path in places.items()},
            "summary": {key: value.model_dump(mode="json") for key, value in report.summary.items()},
            "sets": {key: value.model_dump(mode="json") for key, value in report.sets.items()},
            "not_covered": {clip.id: f"{clip.status}: {clip.reason}" for clip in report.uncovered},
            "not_measured": {name: state.missing for name, state in report.metrics.items() if state.missing},
        })  # fmt: skip
        return
    rows = [(column.title, value, interval, clips) for column, value, interval, clips in headline(report)]
    show_table((f"covers {coverage(report)}", "mean", "95 % interval", "clips"), rows)
    for note in notes(report):
        typer.echo(note)
    typer.echo(places["html"])


def compare(
    reports: Annotated[
        list[Path], typer.Argument(help="report.json files of 'eval run', or their folders.", show_default=False)
    ],
    paper: Annotated[bool, typer.Option("--paper", help="Add the paper's printed numbers.")] = False,
    against: Annotated[
        str | None, typer.Option(help="Method that the tests compare with.", show_default="the first")
    ] = None,
    all_figures: Annotated[bool, typer.Option("--all", help="Every figure, not only the main ones.")] = False,
    out: Annotated[Path | None, typer.Option(help="Also write it as .json, .csv, .md or .html.")] = None,
    as_json: Json = False,
) -> None:
    """Put methods side by side as in the paper's Tables 1 and 2: best value marked, intervals, paired tests.

    Only clips that all methods of a dataset have are compared.
    """
    from infinitetalk_cli.evaluate.tables.compare import compare_reports
    from infinitetalk_cli.evaluate.tables.compared import as_csv, as_dict, as_html, as_json_text, as_markdown
    from infinitetalk_cli.evaluate.tables.results import read_report

    comparison = compare_reports([read_report(path) for path in reports], paper, against, all_figures)
    if out is not None:
        writers = {".md": as_markdown, ".csv": as_csv, ".html": as_html, ".json": as_json_text}
        if out.suffix not in writers:
            raise typer.BadParameter(f"--out {out}: must end in {', '.join(writers)}")
        from infinitetalk_cli.cache.files import write_text_atomic

        write_text_atomic(out, writers[out.suffix](comparison))
    if as_json:
        show_json({"status": "done", **as_dict(comparison)})
    else:
        typer.echo(as_markdown(comparison), nl=False)
