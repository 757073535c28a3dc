"""Small commands around dubbing: the sample, the list of profiles, the cache."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Annotated

import typer

from infinitetalk_cli.cli.options import CacheDir, Json, WeightsDir, cache_root, weights_root
from infinitetalk_cli.cli.render import show_json, show_table

_UNITS_S = {"m": 60, "h": 60 * 60, "d": 24 * 60 * 60}


def sample(
    folder: Annotated[Path, typer.Argument(help="Where to write in.mp4 and fr.wav.", show_default=False)],
    force: Annotated[bool, typer.Option("--force", help="Overwrite files of these names.")] = False,
    as_json: Json = False,
) -> None:
    """Write a short talking clip and a French voice to try things on."""
    from infinitetalk_cli.errors import OutputError, writing_to

    shipped = Path(__file__).resolve().parent.parent / "samples"
    sources = sorted(path for path in shipped.iterdir() if path.suffix in (".mp4", ".wav"))
    written = [folder / source.name for source in sources]
    for target in written:
        if target.exists() and not force:
            raise OutputError(f"{target}: already exists; add --force to overwrite it")
    with writing_to(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for source, target in zip(sources, written, strict=True):
            shutil.copyfile(source, target)
    if as_json:
        show_json({"status": "done", "files": [str(path) for path in written]})
    else:
        for target in written:
            typer.echo(target)


def profiles(weights_dir: WeightsDir = None, cache_dir: CacheDir = None, as_json: Json = False) -> None:
    """List the profiles that come with infinitetalk: what they are, how much work, whether their weights are here.

    Work is that of the transformer for a second of video, beside infinitetalk-480p: counted, not measured.
    """
    from infinitetalk_cli.pipeline.profiles import describe_profiles

    rows = describe_profiles(weights_root(weights_dir, cache_dir))
    if as_json:
        show_json({"status": "done", "profiles": [row.as_dict() for row in rows]})
        return
    show_table(
        ("profile", "what it is", "work", "weights"),
        [(row.name, row.description, _work(row.work), "here" if row.weights_are_here else "not here") for row in rows],
    )


def _work(share: float | None) -> str:
    return "tiny" if share is None else f"{share:.2g} x"


def cache(
    clean: Annotated[bool, typer.Option("--clean", help="Remove finished stages.")] = False,
    older_than: Annotated[
        str | None, typer.Option(help="With --clean: only what was last used longer ago than 12h, 7d, ...")
    ] = None,
    unfinished: Annotated[
        bool, typer.Option("--unfinished", help="With --clean: also what interrupted jobs would resume from.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="With --clean: only say what would go.")] = False,
    cache_dir: CacheDir = None,
    as_json: Json = False,
) -> None:
    """Show what the cache holds, or clean it. Delivered results are not part of it."""
    from infinitetalk_cli.cache import housekeeping
    from infinitetalk_cli.cache.store import Store

    if not clean and (older_than or unfinished or dry_run):
        raise typer.BadParameter("--older-than, --unfinished and --dry-run go with --clean")
    store = Store(cache_root(cache_dir))
    if clean:
        report = housekeeping.clean(
            store,
            older_than_s=_age_s(older_than) if older_than else 0.0,
            keep_partial=not unfinished,
            dry_run=dry_run,
        )
        done = {"removed": report.num_removed, "freed_bytes": report.freed_bytes, "in_use": report.num_in_use}
        if as_json:
            show_json({"status": "done", "folder": str(store.root), **done})
        else:
            verb = "would remove" if dry_run else "removed"
            typer.echo(f"{verb} {report.num_removed} entries, {_megabytes(report.freed_bytes)}, in {store.root}")
        return
    rows = housekeeping.usage(store)
    if as_json:
        show_json({"status": "done", "folder": str(store.root), "stages": [vars(row) for row in rows]})
        return
    show_table(
        ("stage", "finished", "unfinished", "size"),
        [(row.stage, str(row.num_entries), str(row.num_partial), _megabytes(row.size_bytes)) for row in rows],
    )
    typer.echo(store.root)


def _age_s(text: str) -> float:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([mhd])", text.strip())
    if match is None:
        raise typer.BadParameter(f"--older-than {text}: write a number and m, h or d, such as 7d")
    return float(match[1]) * _UNITS_S[match[2]]


def _megabytes(size_bytes: int) -> str:
    return f"{size_bytes / 1e6:.1f} MB"
