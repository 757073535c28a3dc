"""Pruning removes what is old, ours and unused, the least recently used first, and nothing else."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from infinitetalk_cli.cache.fingerprint import fingerprint
from infinitetalk_cli.cache.holdings import HoldingState, holdings, size_of_folder
from infinitetalk_cli.cache.housekeeping import PruneRules, prune
from infinitetalk_cli.cache.store import DONE_NAME, Store

DAY_S = 24 * 3600
OLD, NEW, HALF = fingerprint("old"), fingerprint("new"), fingerprint("half")
ALL = PruneRules(unfinished=True)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A ten days old entry, a new one, and unfinished work that is a month old."""
    store = Store(tmp_path / "cache")
    for work in (OLD, NEW):
        (store.begin("demux", work) / "data").write_bytes(b"x" * 1000)
        store.commit("demux", work, settings={}, versions={}, timings_s={})
    half = store.begin("generate", HALF)
    (half / "data").write_bytes(b"x" * 500)
    age(store.final_path("demux", OLD) / DONE_NAME, 10 * DAY_S)
    for path in (half / "data", half):
        age(path, 30 * DAY_S)
    return store


def age(path: Path, seconds: float) -> None:
    long_ago = time.time() - seconds
    os.utime(path, (long_ago, long_ago))


def names(found) -> set[str]:
    return {holding.fingerprint for holding in found}


def test_everything_is_counted_with_its_size_and_age(store: Store):
    new, old, half = (next(item for item in holdings(store) if item.fingerprint == work) for work in (NEW, OLD, HALF))
    assert new.state is old.state is HoldingState.FINISHED and half.state is HoldingState.BEGUN
    assert half.size_bytes == 500 and new.size_bytes > 1000
    assert time.time() - new.last_used_s < 60 and time.time() - old.last_used_s > 9 * DAY_S
    assert holdings(Store(store.root / "nothing")) == ()


def test_only_what_was_not_used_lately_goes(store: Store):
    report = prune(store, PruneRules(older_than_s=5 * DAY_S))
    assert names(report.removed) == {OLD} and report.freed_bytes > 1000
    assert store.lookup("demux", OLD) is None
    assert store.lookup("demux", NEW) is not None


def test_the_least_recently_used_go_until_the_rest_is_small_enough(store: Store):
    sizes = {item.fingerprint: item.size_bytes for item in holdings(store)}
    report = prune(store, PruneRules(max_bytes=sizes[NEW], unfinished=True))
    assert [holding.fingerprint for holding in report.removed] == [HALF, OLD]
    assert names(holdings(store)) == {NEW}
    assert report.left_bytes == sizes[NEW]


def test_no_more_goes_than_has_to(store: Store):
    total = sum(item.size_bytes for item in holdings(store))
    assert prune(store, PruneRules(max_bytes=total, unfinished=True)).removed == ()
    assert names(prune(store, PruneRules(max_bytes=total - 1, unfinished=True)).removed) == {HALF}


def test_looking_up_counts_as_use(store: Store):
    assert store.lookup("demux", OLD) is not None
    assert prune(store, PruneRules(older_than_s=5 * DAY_S)).removed == ()


def test_unfinished_work_goes_only_on_demand_and_is_told_of(store: Store):
    report = prune(store, PruneRules())
    assert store.partial_path("generate", HALF).exists()
    assert report.resumable_bytes == report.left_bytes == 500
    prune(store, ALL)
    assert holdings(store) == ()


def test_what_unfinished_work_is_resumed_with_stays_too(store: Store):
    report = prune(store, PruneRules(max_bytes=0), resumable={("demux", OLD)})
    assert names(report.removed) == {NEW}
    assert store.lookup("demux", OLD) is not None


def test_dry_run_removes_nothing(store: Store):
    before = holdings(store)
    assert len(prune(store, PruneRules(), dry_run=True).removed) == 2
    assert holdings(store) == before


def test_what_another_run_holds_stays(store: Store):
    with store.lock("demux", OLD):
        report = prune(store, PruneRules())
    assert (names(report.removed), names(report.in_use)) == ({NEW}, {OLD})
    assert store.lookup("demux", OLD) is not None


def test_what_a_running_session_has_used_stays_also_after_the_clock_was_set_back(store: Store):
    with store.session():
        assert store.lookup("demux", OLD) is not None
        store.claim("generate", HALF)
        age(store.final_path("demux", OLD) / DONE_NAME, 400 * DAY_S)
        report = prune(store, ALL)
        assert names(report.in_use) >= {OLD, HALF}
        assert store.lookup("demux", OLD) is not None
    assert names(prune(store, ALL).removed) >= {OLD, HALF}


def test_what_a_run_needs_that_began_during_the_removal_stays(store: Store, monkeypatch: pytest.MonkeyPatch):
    """Removing the entries before it may take minutes."""
    running, remove, beginner = ExitStack(), shutil.rmtree, Store(store.root)

    def slowly(folder: Path, *args: object, **options: object) -> None:
        monkeypatch.setattr(shutil, "rmtree", remove)
        running.enter_context(beginner.session())
        beginner.claim("demux", NEW)
        remove(folder, *args, **options)

    monkeypatch.setattr(shutil, "rmtree", slowly)
    with running:
        report = prune(store, PruneRules())
    assert (names(report.removed), names(report.in_use)) == ({OLD}, {NEW})


def test_size_of_a_folder_that_vanishes_is_what_was_seen(store: Store, monkeypatch: pytest.MonkeyPatch):
    """Failed attempts come and go while somebody lists the cache."""
    gone = store.partial_path("generate", HALF) / "attempts"
    gone.mkdir()
    listed = os.scandir

    def scandir(place: object):
        if os.fspath(place) == str(gone):
            gone.rmdir()
        return listed(place)

    monkeypatch.setattr(os, "scandir", scandir)
    assert size_of_folder(store.partial_path("generate", HALF)) == 500
    assert not gone.exists()


def test_what_a_running_session_has_not_used_goes(store: Store):
    with store.session():
        assert OLD in names(prune(store, PruneRules()).removed)
        assert not store.final_path("demux", OLD).exists()


def test_session_of_a_killed_run_protects_nothing(store: Store):
    code = (
        "import os, sys; from pathlib import Path\n"
        "from infinitetalk_cli.cache.store import Store\n"
        "store = Store(Path(sys.argv[1]))\n"
        f"with store.session(): store.lookup('demux', '{OLD}'); os._exit(9)\n"
    )
    assert subprocess.run([sys.executable, "-c", code, str(store.root)]).returncode == 9
    assert len(list((store.root / "locks").glob("session-*"))) >= 2  # the lock, and what it used
    assert len(prune(store, PruneRules()).removed) == 2
    assert not list((store.root / "locks").glob("session-*"))


def test_folders_that_are_not_ours_stay(store: Store):
    """Somebody gave us a folder with their own things in it as the cache."""
    foreign = [store.root / name for name in ("photos/2024/a.jpg", "demux/notes/a.txt", "demux/b.txt", "x")]
    for path in foreign:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("precious")
    prune(store, ALL)
    assert all(path.exists() for path in foreign)


def test_what_a_killed_removal_left_goes_whatever_its_age(store: Store):
    final = store.final_path("demux", NEW)
    os.rename(final, final.with_name(f"{NEW}.replaced"))
    assert names(prune(store, PruneRules(older_than_s=1000 * DAY_S)).removed) == {NEW}
