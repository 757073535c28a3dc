"""Files that several runs may write at once: each writes its own, and the last one takes the place, whole."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from infinitetalk_cli.errors import writing_to


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Where to write what will be `path` when the block ends well; `OutputError` or `ResourceError` if it cannot be."""
    scratch = path.with_name(f"tmp-{os.getpid()}-{path.name}")
    try:
        with writing_to(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            yield scratch
            scratch.replace(path)
    finally:
        scratch.unlink(missing_ok=True)
