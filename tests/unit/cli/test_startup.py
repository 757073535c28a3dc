"""`--help` stays instant: the heavy libraries are imported by the work, not by the command line."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("torch", "av", "diffusers", "transformers", "accelerate", "numpy", "scipy")


@pytest.mark.parametrize(
    "words", [["--help"], ["dub", "--help"], ["bench", "--help"], ["--version"], ["doctor", "--help"]]
)
def test_help_imports_nothing_heavy(words: list[str]) -> None:
    code = (
        "import sys\n"
        f"sys.argv = ['infinitetalk', *{words!r}]\n"
        "from infinitetalk_cli.cli.app import main\n"
        "try:\n    main()\nexcept SystemExit as exc:\n    assert not exc.code, exc.code\n"
        f"loaded = [name for name in {HEAVY!r} if name in sys.modules]\n"
        "sys.exit(f'imported {loaded}' if loaded else 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
