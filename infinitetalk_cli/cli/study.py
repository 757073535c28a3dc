"""`infinitetalk eval study`: make a ranking study, and score what people answered."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from infinitetalk_cli.cli.options import Json, Quiet
from infinitetalk_cli.cli.render import make_reporter, show_json, show_table

if TYPE_CHECKING:
    from infinitetalk_cli.evaluate.study.score import StudyResult

app = typer.Typer(no_args_is_help=True, help="Let people rank results blindly (the paper's Table 4).")


@app.callback()
def _study() -> None:
    """Let people rank results blindly (the paper's Table 4)."""


@app.command("make")
def make(
    out: Annotated[Path, typer.Argument(help="Folder of the study; its key is written beside it.", show_default=False)],
    method: Annotated[
        list[str], typer.Option(help="NAME=FOLDER of results (ID.mp4); once per method.", show_default=False)
    ],
    videos: Annotated[int | None, typer.Option(min=1, help="At most so many.", show_default="all in common")] = None,
    ties: Annotated[bool, typer.Option("--ties", help="Allow equal ranks.")] = False,
    catch: Annotated[bool, typer.Option("--catch/--no-catch", help="Two pages whose answer is known.")] = True,
    copies: Annotated[
        Path | None, typer.Option(help="Results of method copy, for one of these pages.", show_default=False)
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write a page that works without a network: hand out the folder, keep the key, collect the files people save."""
    from infinitetalk_cli.evaluate.study.make import make_study

    methods = {}
    for text in method:
        name, _, folder = text.partition("=")
        if not name or not folder:
            raise typer.BadParameter(f"--method {text}: wants NAME=FOLDER")
        if name in methods:
            raise typer.BadParameter(f"--method {text}: '{name}' is given twice; every method wants its own name")
        methods[name] = Path(folder)
    if copies is not None and not catch:
        raise typer.BadParameter("--copies has no effect with --no-catch")
    with make_reporter(quiet) as reporter:
        place = make_study(methods, out, reporter, videos=videos, ties=ties, catch=catch, copies=copies)
    if as_json:
        show_json({
            "status": "done", "page": str(place.page), "key": str(place.key), "study": place.study,
            "trials": place.num_trials,
        })  # fmt: skip
    else:
        typer.echo(f"{place.page}: {place.num_trials} pages to rank\n{place.key}: the key, do not hand it out")


@app.command("score")
def score(
    files: Annotated[list[Path], typer.Argument(help="Files that people saved.", show_default=False)],
    key: Annotated[Path, typer.Option(help="The study's key.", show_default=False)],
    drop_caught: Annotated[
        bool, typer.Option("--drop-caught", help="Leave out people who failed a page whose answer is known.")
    ] = False,
    csv: Annotated[Path | None, typer.Option(help="Also write every rank to this file.")] = None,
    as_json: Json = False,
) -> None:
    """Average ranks with 95 % intervals (people and videos drawn anew), and whether methods differ."""
    from infinitetalk_cli.evaluate.study.score import read_key, score_study

    result = score_study(read_key(key), files, drop_caught=drop_caught)
    if csv is not None:
        from infinitetalk_cli.cache.files import write_text_atomic

        write_text_atomic(csv, _csv(result))
    if as_json:
        show_json({"status": "done", **_as_dict(result)})
        return
    for name, aspect in result.aspects.items():
        rows = [
            (method, f"{r.mean:.2f}", f"{r.low:.2f} to {r.high:.2f}", str(r.n)) for method, r in aspect.ranks.items()
        ]
        show_table((f"{name}: {aspect.num_raters} people, {aspect.num_videos} videos", "rank", "95 %", "ranks"), rows)
        typer.echo(_tests(aspect))
    for rater, why in result.caught.items():
        typer.echo(f"{rater} {why}{', left out' if drop_caught else ''}")


def _tests(aspect: Any) -> str:
    parts = []
    if aspect.friedman_p is not None:
        parts.append(f"Friedman p {aspect.friedman_p:.3g}, Kendall W {aspect.kendall_w:.2f}")
    for (one, other), p in aspect.pairs.items():
        parts.append(f"{one} / {other} " + ("too few videos to test" if p is None else f"p {p:.3g}"))
    return "  " + "; ".join(parts) + "\n"


def _csv(result: StudyResult) -> str:
    import csv
    import io

    out = io.StringIO()
    rows = csv.writer(out, lineterminator="\n")
    rows.writerow(["rater", "video", "aspect", "method", "rank", "tie_group", "seconds", "order_shown"])
    rows.writerows(tuple(vars(row).values()) for row in result.rows)
    return out.getvalue()


def _as_dict(result: StudyResult) -> dict[str, Any]:
    return {
        "study": result.study,
        "caught": dict(result.caught),
        "aspects": {
            name: {
                "raters": aspect.num_raters,
                "videos": aspect.num_videos,
                "ranks": {method: vars(rank) for method, rank in aspect.ranks.items()},
                "friedman_p": aspect.friedman_p,
                "kendall_w": aspect.kendall_w,
                "pairs": [{"one": one, "other": other, "p_holm": p} for (one, other), p in aspect.pairs.items()],
            }
            for name, aspect in result.aspects.items()
        },
    }
