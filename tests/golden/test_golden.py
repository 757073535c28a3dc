"""Every golden case there is; `harness.py` says what a golden is."""

from __future__ import annotations

import pytest

from .harness import Case


def test_golden(golden_case: Case, golden_errors: dict[str, dict[str, float]]) -> None:
    try:
        golden_errors[golden_case.name] = golden_case.check()
    except AssertionError as exc:  # says all there is to say
        raise pytest.fail.Exception(str(exc), pytrace=False) from None
