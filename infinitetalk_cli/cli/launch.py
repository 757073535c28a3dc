"""`python -m infinitetalk_cli.cli.launch N CACHE WORDS...`: what `--gpus N` becomes, see `parallel.launching`."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from types import FrameType

from infinitetalk_cli.cli.log import open_log
from infinitetalk_cli.cli.render import show_error
from infinitetalk_cli.errors import ExitCode
from infinitetalk_cli.parallel.launching import launch


def main() -> None:
    """Start the processes; ends with the exit code of the run."""
    count, cache, words = sys.argv[1], sys.argv[2], sys.argv[3:]

    def stop(signum: int, frame: FrameType | None) -> None:
        """Before there are processes; then the launcher passes signals on."""
        text = f"stopped by {signal.Signals(signum).name}; run the same command again to go on"
        sys.exit(show_error(text, ExitCode(128 + signum), "--json" in words))

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    open_log(Path(cache), "launch", verbose=False, to_file_only=True)
    ended = launch(words, int(count))
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    if ended.message is not None:
        show_error(ended.message, ExitCode(ended.exit_code), "--json" in words)
    sys.exit(ended.exit_code)


if __name__ == "__main__":
    main()
