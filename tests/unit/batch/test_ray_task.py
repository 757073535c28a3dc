"""A node of a cluster refuses work that would be lost there, or done twice; no Ray is needed to know it."""

from __future__ import annotations

from pathlib import Path

import pytest

from infinitetalk_cli import __version__
from infinitetalk_cli.batch.jobs import BatchJob, State
from infinitetalk_cli.batch.ray_task import Conditions, do_remotely
from infinitetalk_cli.cache.lock import hold_lock
from infinitetalk_cli.errors import ExitCode
from infinitetalk_cli.pipeline.request import DubRequest


def _never() -> None:
    raise AssertionError("the job was begun")


@pytest.fixture
def job(tmp_path: Path) -> BatchJob:
    return BatchJob(2, "row 2", DubRequest(tmp_path / "a.mp4", (tmp_path / "a.wav",), tmp_path))


def test_a_node_with_another_version_is_refused(job: BatchJob, tmp_path: Path):
    end = do_remotely(job, Conditions("0.0.1", tmp_path / "x.lock", _never))
    assert (end.state, end.exit_code) == (State.FAILED, ExitCode.DEPENDENCY)
    assert end.error and "0.0.1" in end.error and __version__ in end.error


def test_a_node_that_does_not_see_the_cache_is_refused(job: BatchJob, tmp_path: Path):
    end = do_remotely(job, Conditions(__version__, tmp_path / "locks" / "x.lock", _never))
    assert end.exit_code == ExitCode.OUTPUT and end.error and "does not see the cache" in end.error


def test_a_node_that_gets_a_lock_which_is_held_is_refused(job: BatchJob, tmp_path: Path):
    probe = tmp_path / "locks" / "x.lock"
    with hold_lock(probe, "a batch"), pytest.raises(AssertionError, match="was begun"):
        do_remotely(job, Conditions(__version__, probe, _never))
    end = do_remotely(job, Conditions(__version__, probe, _never))
    assert end.exit_code == ExitCode.OUTPUT and end.error and "does not respect locks" in end.error
