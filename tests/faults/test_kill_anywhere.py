"""SIGKILL at random moments of every stage, resumed to the same bits (see `killing`)."""

from __future__ import annotations

import os
import random
import sys
from pathlib import Path

import pytest
from conftest import Unbroken
from jobs import JOBS, freeze_program
from killing import DELIVERY, START, Tally, Whole, kill_anywhere, run_whole, try_once

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")

SEED = int(os.environ.get("KILL_SEED", "2"))
"""Of the moments; another one with KILL_SEED=..."""

TRIES = int(os.environ.get("KILL_TRIES", "100"))


@pytest.fixture(scope="module")
def whole(scenes_job: Unbroken) -> Whole:
    """The undisturbed run as the harness knows it; the times of its stages are guesses, they only aim."""
    guesses_s = {"audio_embedding": 1.0, "generate": 0.5, "remux": 0.3}
    stage_s = {stage: guesses_s.get(stage, 0.02) for stage in scenes_job.stages}
    program = Path(__file__).parent.parent.parent
    return Whole(scenes_job.job, program, scenes_job.files, scenes_job.result, 4.0, stage_s, 0.6)


@pytest.mark.parametrize(
    "target", [START, "generate", *(pytest.param(name, marks=pytest.mark.slow) for name in ("scenes", DELIVERY))]
)
def test_killed_at_a_random_moment(target: str, whole: Whole, tmp_path: Path, run_command) -> None:
    attempt = try_once(whole, tmp_path / "try", target, random.Random(f"{SEED} {target}"), run_command)
    assert attempt.kills and not attempt.wrong, f"seed {SEED}: {attempt}"


@pytest.mark.slow
@pytest.mark.timeout(4 * 3600)
def test_killed_a_hundred_times(tmp_path: Path) -> None:
    """`python -m pytest -m slow -s tests/faults/test_kill_anywhere.py`, with KILL_SEED and KILL_TRIES if you like.

    Three jobs (scenes, pauses kept, two people), every stage of each in turn. `python tests/faults/killing.py` does the
    same and shows each try.
    """
    program = freeze_program(tmp_path / "program")
    wholes = [run_whole(make(tmp_path / name), program, tmp_path / name) for name, make in JOBS.items()]
    tally = Tally()
    tally.tries.extend(kill_anywhere(wholes, tmp_path, TRIES, SEED))
    print(f"\nseed {SEED}", *tally.lines(), sep="\n")
    assert not [attempt for attempt in tally.tries if attempt.wrong]
    landed = {kill.landed.split(",")[0] for kill in tally.kills}
    assert landed >= {"generate", "remux", "audio_embedding", "delivery"}
