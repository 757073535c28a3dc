"""The small jobs of this folder, each run once without any fault: what every other run must equal."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
from jobs import JOBS, Job, contents, sha256


@dataclass(frozen=True)
class Unbroken:
    """A job and what an undisturbed run of it made; `stages` are in order."""

    job: Job
    cache: Path
    output: Path
    files: dict[str, str]
    result: str
    stages: tuple[str, ...]


def _unbroken(name: str, folder: Path, run_command_in) -> Unbroken:
    job, cache, output = JOBS[name](folder), folder / "whole", folder / "whole.mp4"
    ended = run_command_in(*job.arguments(cache, output))
    assert ended.exit_code == 0, ended.stderr
    stages = tuple(stage["name"] for stage in ended.document["stages"])
    return Unbroken(job, cache, output, contents(cache), sha256(output), stages)


@pytest.fixture(scope="session")
def scenes_job(tmp_path_factory: pytest.TempPathFactory, run_command_in) -> Unbroken:
    """A film of three scenes, six chunks, and its undisturbed run."""
    return _unbroken("scenes", tmp_path_factory.mktemp("scenes"), run_command_in)
