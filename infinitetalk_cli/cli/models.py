"""`infinitetalk models`: which weights there are, and getting, checking, finding and converting them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from infinitetalk_cli.cli.options import CacheDir, Json, MetricsDir, Quiet, WeightsDir, weights_root
from infinitetalk_cli.cli.render import make_reporter, show_json, show_table
from infinitetalk_cli.errors import ExitCode

if TYPE_CHECKING:
    from infinitetalk_cli.checkpoints.fetch import Download
    from infinitetalk_cli.checkpoints.inventory import Row
    from infinitetalk_cli.checkpoints.places import Part
    from infinitetalk_cli.pipeline.verification import PartReport

app = typer.Typer(no_args_is_help=True, help="List, get, check and convert the weights of models.")

Names = Annotated[
    list[str],
    typer.Argument(
        metavar="NAME...",
        help="A profile, an entry of `models list`, or `metrics` (`metrics/fid`, …).",
        show_default=False,
    ),
]


@app.callback()
def _models() -> None:
    """List, get, check and convert the weights of models."""


@app.command("list")
def list_(
    profile: Annotated[str | None, typer.Argument(help="Only what this profile needs.", show_default=False)] = None,
    metrics_dir: MetricsDir = None,
    weights_dir: WeightsDir = None,
    cache_dir: CacheDir = None,
    as_json: Json = False,
) -> None:
    """Show the weights that profiles and metrics need: size, licence, and whether they are here."""
    from infinitetalk_cli.checkpoints.inventory import entry_names, inventory
    from infinitetalk_cli.cli import metric_models
    from infinitetalk_cli.evaluate.metrics.metric_weights import search_folders

    root = weights_root(weights_dir, cache_dir)
    sets, others = metric_models.apart([] if profile is None else [profile])
    rows = [] if sets else inventory(root, None if profile is None else entry_names(profile))
    folders = search_folders(metrics_dir, root)
    of_metrics = [] if others else metric_models.rows(folders, sets or None)
    if as_json:
        document = {"models": [row.as_dict() for row in rows], "metrics": [row.as_dict() for row in of_metrics]}
        show_json({"status": "done", "weights_dir": str(root), "metrics_dir": str(folders[0]), **document})
        return
    show_table(
        ("name", "size", "state", "licence"),
        [
            *((row.name, _size_of(row), row.state, row.entry.licence or "not known") for row in rows),
            *(row.cells for row in of_metrics),
        ],
    )
    typer.echo()
    for row in rows:
        typer.echo(f"{row.name}: {row.entry.about}")
    for row in of_metrics:
        typer.echo(f"{row.file.name}: {row.file.about}")
    typer.echo(f"\nweights folder: {root}")
    if of_metrics:
        typer.echo(f"folder of metrics' weights: {folders[0]}")


@app.command()
def pull(
    names: Names,
    layout: Annotated[
        Literal["original", "diffusers"], typer.Option(help="Which form of the base to get, where there are two.")
    ] = "original",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be fetched.")] = False,
    metrics_dir: MetricsDir = None,
    weights_dir: WeightsDir = None,
    cache_dir: CacheDir = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Get weights from the Hugging Face hub: into its cache, or into --weights-dir.

    Only the files of one layout, and only those that are not here. An interrupted pull goes on where it was. The
    weights of metrics come from where their publishers keep them, into --metrics-dir.
    """
    from infinitetalk_cli.checkpoints.catalog import load_catalog
    from infinitetalk_cli.checkpoints.fetch import check_space, fetch, plan_download
    from infinitetalk_cli.checkpoints.inventory import entry_names
    from infinitetalk_cli.cli import metric_models
    from infinitetalk_cli.evaluate.metrics.metric_weights import search_folders

    root, catalog = weights_root(weights_dir, cache_dir), load_catalog()
    sets, others = metric_models.apart(names)
    folders = search_folders(metrics_dir, root)
    wanted = dict.fromkeys(entry for name in others for entry in entry_names(name))
    plans = {
        name: plan_download(catalog[name].publication(layout), root, into_folder=weights_dir is not None)
        for name in wanted
    }
    if not quiet:
        for name, plan in plans.items():
            print(f"{name}: {_plan_sentence(plan)}", file=sys.stderr)
    check_space(list(plans.values()))
    of_metrics = metric_models.plans(sets, folders)
    if sets and not quiet:
        print(metric_models.plan_sentence(sets, of_metrics), file=sys.stderr)
    places = {}
    if not dry_run:
        if quiet or as_json:
            _silence_hub()
        places = {name: fetch(plan, root) for name, plan in plans.items()}
        with make_reporter(quiet or as_json) as reporter:
            metric_models.pull(of_metrics, reporter)
    if as_json:
        done = [_plan_document(name, plan, places.get(name)) for name, plan in plans.items()]
        metrics = metric_models.pulled_document(sets, folders, of_metrics)
        show_json({"status": "planned" if dry_run else "done", "models": done, "metrics": metrics})
    elif not wanted and not sets:
        typer.echo(f"{', '.join(names)}: nothing to get, these weights are built in or paths")
    else:
        for place in dict.fromkeys(places.values()):
            typer.echo(place)
        for row in metric_models.rows(folders, sets):
            if row.place is not None:
                typer.echo(row.place)


@app.command()
def verify(
    names: Names,
    sha256: Annotated[
        bool, typer.Option("--sha256", help="Also read every file whose hash is known, and compare.")
    ] = False,
    metrics_dir: MetricsDir = None,
    weights_dir: WeightsDir = None,
    cache_dir: CacheDir = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Check every file and every tensor's name and shape against the expected layout, without loading them.

    Files of metrics are always read and their SHA-256 compared.
    """
    from infinitetalk_cli.checkpoints.inventory import parts_of
    from infinitetalk_cli.cli import metric_models
    from infinitetalk_cli.evaluate.metrics.metric_weights import search_folders
    from infinitetalk_cli.pipeline.verification import verify_parts

    root = weights_root(weights_dir, cache_dir)
    reports: list[PartReport] = []
    with make_reporter(quiet) as reporter:
        sets, others = metric_models.apart(names)
        for name in others:
            reports += verify_parts(parts_of(name, root), root, reporter, with_hashes=sha256)
        of_metrics = metric_models.verified(sets, search_folders(metrics_dir, root), reporter)
    bad = [report.part.name for report in reports if not report.is_good]
    bad += [metric_models.smallest_set(file["name"]) for file in of_metrics if not file["good"]]
    if as_json:
        status = {"status": "damaged", "exit_code": int(ExitCode.DEPENDENCY)} if bad else {"status": "done"}
        show_json({**status, "models": [report.as_dict() for report in reports], "metrics": of_metrics})
    else:
        for report in reports:
            _show_report(report)
        for file in of_metrics:
            typer.echo(f"{file['name']}: {_judged(file['good'], file['place'])}")
            for problem in file["problems"]:
                typer.echo(f"  {problem}")
    if bad:
        print(f"error: not as it should be: {', '.join(bad)}; {_remedy(bad)}", file=sys.stderr)
        raise typer.Exit(ExitCode.DEPENDENCY)


@app.command()
def path(
    names: Names,
    metrics_dir: MetricsDir = None,
    weights_dir: WeightsDir = None,
    cache_dir: CacheDir = None,
    as_json: Json = False,
) -> None:
    """Print where the files of weights are."""
    from infinitetalk_cli.cli import metric_models
    from infinitetalk_cli.evaluate.metrics.metric_weights import search_folders

    root = weights_root(weights_dir, cache_dir)
    sets, others = metric_models.apart(names)
    parts = _complete_parts(others, root)
    of_metrics = metric_models.places(sets, search_folders(metrics_dir, root))
    if as_json:
        found = [{"name": part.name, "place": str(part.place), "files": _files(part)} for part in parts]
        show_json({"status": "done", "models": found, "metrics": [row.as_dict() for row in of_metrics]})
    else:
        for place in (*(part.place for part in parts), *(row.place for row in of_metrics)):
            typer.echo(place)


@app.command()
def convert(
    names: Names,
    weights_dir: WeightsDir = None,
    cache_dir: CacheDir = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write pickled weights (.pth, .bin) as safetensors beside them, once; they are then preferred."""
    from infinitetalk_cli.checkpoints.layouts import converted
    from infinitetalk_cli.models.conversion import convert as convert_file

    root = weights_root(weights_dir, cache_dir)
    written: list[Path] = []
    with make_reporter(quiet) as reporter:
        for part in _complete_parts(names, root):
            for source in (file for network in part.networks.values() for file in network.weights):
                if source.suffix != ".safetensors":
                    convert_file(source, converted(source), reporter)
                    written.append(converted(source))
    if as_json:
        show_json({"status": "done", "files": [str(file) for file in written]})
        return
    for file in written:
        typer.echo(file)
    if not quiet:
        done = "the pickled files are not needed any more" if written else "nothing to convert, all is safetensors"
        print(done, file=sys.stderr)


def _complete_parts(names: list[str], root: Path) -> list[Part]:
    from infinitetalk_cli.checkpoints.inventory import parts_of
    from infinitetalk_cli.checkpoints.locate import require_parts

    return list(require_parts([part for name in names for part in parts_of(name, root)], root))


def _files(part: Part) -> list[str]:
    return sorted({str(file) for network in part.networks.values() for file in network.all_files})


def _size_of(row: Row) -> str:
    """The size on the disk where it is here, else what is known of the published one."""
    if row.part.is_complete:
        return _readable(row.part.size_bytes)
    publication = row.entry.publication()
    return _readable(publication.known_bytes) if publication.knows_all_sizes else "not known"


def _readable(size_bytes: int) -> str:
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size_bytes >= size:
            return f"{size_bytes / size:.1f} {unit}"
    return f"{size_bytes} B"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _plan_sentence(plan: Download) -> str:
    missing = f"{_readable(plan.missing_bytes)} to get" if plan.missing_bytes else "all here"
    where = plan.folder or "the hub's cache"
    return (
        f"{_count(len(plan.files), 'file')}, {_readable(plan.total_bytes)}, {missing}, "
        f"from {plan.publication.repo} at {plan.commit[:12]} into {where}"
    )


def _plan_document(name: str, plan: Download, place: Path | None) -> dict[str, object]:
    return {
        "name": name,
        "repo": plan.publication.repo,
        "commit": plan.commit,
        "files": [file.path for file in plan.files],
        "size_bytes": plan.total_bytes,
        "missing_bytes": plan.missing_bytes,
        "place": None if place is None else str(place),
    }


def _silence_hub() -> None:
    from huggingface_hub.utils import disable_progress_bars

    disable_progress_bars()


def _show_report(report: PartReport) -> None:
    hashes = "" if report.num_hashes is None else f", {_count(report.num_hashes, 'file')} read and compared"
    typer.echo(f"{report.part.name}: {_judged(report.is_good, report.part.place, hashes)}")
    for problem in report.problems:
        typer.echo(f"  {problem}")
    for network in report.networks:
        typer.echo(
            f"  {network.what}: {_count(network.num_tensors, 'tensor')}, {'good' if network.is_good else 'NOT GOOD'}"
        )
        for sentence in (*network.sentences, *network.notes):
            typer.echo(f"    {sentence}")


def _judged(is_good: bool, place: object, more: str = "") -> str:
    """Whether weights are good, and where they are if they are anywhere."""
    where = "" if place is None else f" ({place}{more})"
    return f"{'good' if is_good else 'NOT GOOD'}{where}"


def _remedy(bad: list[str]) -> str:
    from infinitetalk_cli.checkpoints.catalog import load_catalog
    from infinitetalk_cli.evaluate.metrics.metric_weights import WEIGHT_SETS

    known = list(dict.fromkeys(name for name in bad if name in load_catalog() or name in WEIGHT_SETS))
    if known:
        return f"`infinitetalk models pull {' '.join(known)}` gets what is missing; delete damaged files before"
    return "correct the paths in the profile, or get these files again"
