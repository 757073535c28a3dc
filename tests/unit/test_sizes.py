"""Sizes and ages as people write and read them."""

from __future__ import annotations

import pytest

from infinitetalk_cli.sizes import parse_age, parse_bytes, shown_age, shown_bytes


@pytest.mark.parametrize(
    ("text", "value"),
    [("0", 0), ("50GB", 50 * 10**9), ("1.5 t", 1.5e12), ("300 MiB", 300 * 2**20), ("20kb", 20_000), ("7B", 7)],
)
def test_sizes(text: str, value: float):
    assert parse_bytes(text) == value


@pytest.mark.parametrize("text", ["", "GB", "-1GB", "5 iB", "1e9", "5GBit", "ten", "50", "1000000"])
def test_what_is_no_size(text: str):
    with pytest.raises(ValueError, match="is not a size"):
        parse_bytes(text)


@pytest.mark.parametrize(("text", "value"), [("90m", 5400), ("12h", 43_200), ("7d", 604_800), ("2 w", 1_209_600)])
def test_ages(text: str, value: float):
    assert parse_age(text) == value


@pytest.mark.parametrize("text", ["", "7", "d", "-7d", "7 days", "7y"])
def test_what_is_no_age(text: str):
    with pytest.raises(ValueError, match="is not an age"):
        parse_age(text)


def test_shown_sizes_and_ages():
    assert [shown_bytes(n) for n in (0, 999, 1000, 999_960, 51_300, 2.5e9, 22e12)] == [
        "0 B", "999 B", "1.0 kB", "1.0 MB", "51.3 kB", "2.5 GB", "22.0 TB",
    ]  # fmt: skip
    assert [shown_age(s) for s in (-5, 59, 60, 7199, 90_000, 172_800)] == ["now", "now", "1 min", "1 h", "25 h", "2 d"]
