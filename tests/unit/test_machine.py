"""How much memory programs may have: also in a container, whose files in memory do not count as used."""

from __future__ import annotations

from pathlib import Path

import pytest

from infinitetalk_cli import machine


@pytest.fixture
def container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(machine, "_CGROUPS", tmp_path)
    return tmp_path


def write(folder: Path, limit: str, used: int, statistics: str, prefix: str = "memory.") -> None:
    names = {"memory.": ("max", "current", "stat"), "memory/memory.": ("limit_in_bytes", "usage_in_bytes", "stat")}
    for name, text in zip(names[prefix], (limit, str(used), statistics), strict=True):
        path = folder / f"{prefix}{name}"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"{text}\n")


def test_without_a_container_it_is_what_the_system_says(container: Path):
    memory = machine.host_memory()
    assert 0 < memory.available_bytes <= memory.total_bytes


@pytest.mark.parametrize(
    ("prefix", "statistics"),
    [("memory.", "anon 5\ninactive_file 30000"), ("memory/memory.", "cache 5\ntotal_inactive_file 30000")],
)
def test_a_containers_limit_counts(container: Path, prefix: str, statistics: str):
    write(container, "100000", 80_000, statistics, prefix)
    assert machine.host_memory() == machine.HostMemory(100_000, 50_000)


@pytest.mark.parametrize("limit", ["max", "9223372036854771712", "nonsense"])
def test_no_limit_changes_nothing(container: Path, limit: str):
    total_bytes = machine.host_memory().total_bytes
    write(container, limit, 80_000, "inactive_file 0")
    assert machine.host_memory().total_bytes == total_bytes


def test_a_full_container_has_nothing_left(container: Path):
    write(container, "100000", 120_000, "inactive_file 0")
    assert machine.host_memory().available_bytes == 0


def test_processor():
    assert machine.processor_name()
    assert machine.num_processors() >= 1
