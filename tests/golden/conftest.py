"""`pytest tests/golden --golden-dir DIR`: compare with the goldens in DIR instead of the public ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from .harness import PUBLIC_GOLDENS, find_cases
from .kinds import KINDS

ERRORS = pytest.StashKey[dict[str, dict[str, float]]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--golden-dir", type=Path, help="folder of golden files; default: the public ones")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "golden_case" not in metafunc.fixturenames:
        return
    folder = metafunc.config.getoption("golden_dir", None)
    if folder is not None and not folder.is_dir():
        raise pytest.UsageError(f"--golden-dir {folder}: no such folder")
    cases = find_cases(folder or PUBLIC_GOLDENS, KINDS)
    metafunc.parametrize("golden_case", cases, ids=[case.name for case in cases])


@pytest.fixture
def golden_errors(request: pytest.FixtureRequest) -> dict[str, dict[str, float]]:
    """Largest errors by case, printed at the end of a run with `--golden-dir` or `-v`."""
    return request.config.stash.setdefault(ERRORS, {})


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    measured = config.stash.get(ERRORS, {})
    if not measured or not (config.getoption("golden_dir", None) or config.get_verbosity() > 0):
        return
    terminalreporter.section("largest errors")
    for case, errors in measured.items():
        worst = max(errors, key=errors.__getitem__)
        terminalreporter.write_line(f"{case}: {errors[worst]:.2g} ({worst}; {len(errors)} compared)")
