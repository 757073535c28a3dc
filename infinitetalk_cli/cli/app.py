"""The `infinitetalk` program: its commands, and the one place where errors become exit codes."""

from __future__ import annotations

import io
import os
import signal
import sys
from types import FrameType

import typer

from infinitetalk_cli import __version__
from infinitetalk_cli.cli import batch, bench, cache, doctor, dub, evaluate, housekeeping, models, train
from infinitetalk_cli.cli.render import show_error, show_json
from infinitetalk_cli.errors import ExitCode, InfiniteTalkError, Stopped

app = typer.Typer(
    name="infinitetalk",
    help="Dub a video with a new voice: face, head and body follow the new audio, the rest stays.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("dub")(dub.dub)
app.command("batch")(batch.batch)
app.command("sample")(housekeeping.sample)
app.command("profiles")(housekeeping.profiles)
app.command("doctor")(doctor.doctor)
app.command("bench")(bench.bench)
app.command("train")(train.train)
app.add_typer(cache.app, name="cache")
app.add_typer(evaluate.app, name="eval")
app.add_typer(models.app, name="models")


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"infinitetalk {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: bool = typer.Option(
        False, "--version", callback=_show_version, is_eager=True, help="Show the version and exit."
    ),
) -> None:
    pass


def _log_end(what: str, exc: BaseException) -> None:
    from infinitetalk_cli.cli.log import log_end

    log_end(what, exc)


def _hush_libraries() -> None:
    """What libraries say to programmers is not for our users. They look at this when they are imported."""
    for name in ("DIFFUSERS_VERBOSITY", "TRANSFORMERS_VERBOSITY"):
        os.environ.setdefault(name, "error")


def _share_processors() -> None:
    """Let idle threads of torch sleep: beside another busy program, spinning makes everything many times slower."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # read when torch is imported


def _stop(signum: int, frame: FrameType | None) -> None:
    raise Stopped(signum)


def main() -> None:
    """Run the program; every way out has its exit code (see `docs/exit-codes.md`)."""
    try:
        _run()
    except SystemExit as exc:
        _tell_launcher(exc.code if isinstance(exc.code, int) else int(exc.code is not None))
        raise


def _tell_launcher(exit_code: int) -> None:
    """Of several processes only the first is heard; whoever started them has to know that it said how they ended."""
    from infinitetalk_cli.parallel.launching import tell_launcher

    tell_launcher(exit_code)


def _run() -> None:
    signal.signal(signal.SIGINT, _stop)
    signal.signal(signal.SIGTERM, _stop)
    as_json = "--json" in sys.argv
    _hush_libraries()
    _share_processors()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="surrogateescape")  # file names need not be text
    try:
        app()
    except SystemExit as exc:
        if exc.code == ExitCode.USAGE and as_json:  # typer has said on stderr what is wrong
            show_json({"status": "error", "exit_code": exc.code, "error": "wrong command line, see standard error"})
        raise
    except Stopped as exc:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        again = "run the same command again" + (" without --no-cache" if "--no-cache" in sys.argv else "")
        sys.exit(show_error(f"stopped by {exc}; {again} to go on", exc.exit_code, as_json))
    except InfiniteTalkError as exc:
        _log_end("stopped by", exc)
        sys.exit(show_error(str(exc), exc.exit_code, as_json))
    except MemoryError as exc:
        _log_end("out of memory", exc)
        message = "out of memory; finished chunks are kept, close other programs and run the same command again"
        sys.exit(show_error(message, ExitCode.RESOURCE, as_json))
    except Exception as exc:
        _log_end("a bug", exc)
        message = f"this is a bug in infinitetalk, please report it: {exc!r}"
        sys.exit(show_error(message, ExitCode.BUG, as_json))
