"""Cleaning removes what is old, ours and unused, and nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from infinitetalk_cli.cache.fingerprint import file_content_hash, fingerprint
from infinitetalk_cli.cache.housekeeping import StageUsage, clean, usage
from infinitetalk_cli.cache.store import DONE_NAME, Store

DAY_S = 24 * 3600
OLD, NEW, HALF = fingerprint("old"), fingerprint("new"), fingerprint("half")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A ten days old entry, a new one, and unfinished work."""
    store = Store(tmp_path / "cache")
    for work in (OLD, NEW):
        (store.begin("demux", work) / "data").write_bytes(b"x" * 1000)
        store.commit("demux", work, settings={}, versions={}, timings_s={})
    (store.begin("generate", HALF) / "data").write_bytes(b"x" * 500)
    long_ago = time.time() - 10 * DAY_S
    os.utime(store.final_path("demux", OLD) / DONE_NAME, (long_ago, long_ago))
    return store


def test_usage_counts_entries_and_unfinished_work(store: Store):
    demux, generate = usage(store)
    assert (demux.stage, demux.num_entries, demux.num_partial) == ("demux", 2, 0)
    assert demux.size_bytes > 2000
    assert generate == StageUsage("generate", num_entries=0, num_partial=1, size_bytes=500)
    assert usage(Store(store.root / "nothing")) == ()


def test_only_what_was_not_used_lately_goes(store: Store):
    report = clean(store, older_than_s=5 * DAY_S)
    assert report.num_removed == 1
    assert report.freed_bytes > 1000
    assert store.lookup("demux", OLD) is None
    assert store.lookup("demux", NEW) is not None


def test_looking_up_counts_as_use(store: Store):
    assert store.lookup("demux", OLD) is not None
    assert clean(store, older_than_s=5 * DAY_S).num_removed == 0


def test_unfinished_work_goes_only_on_demand(store: Store):
    clean(store)
    assert store.partial_path("generate", HALF).exists()
    clean(store, keep_partial=False)
    assert usage(store) == ()


def test_dry_run_removes_nothing(store: Store):
    before = usage(store)
    assert clean(store, dry_run=True).num_removed == 2
    assert usage(store) == before


def test_what_another_run_holds_stays(store: Store):
    with store.lock("demux", OLD):
        report = clean(store)
    assert (report.num_removed, report.num_in_use) == (1, 1)
    assert store.lookup("demux", OLD) is not None


def test_what_a_running_session_has_used_stays(store: Store):
    with store.session():
        store.lookup("demux", OLD)
        assert store.lookup("demux", OLD) is not None
        report = clean(store)
        assert report.num_in_use >= 1
        assert store.lookup("demux", OLD) is not None
    assert clean(store).num_removed == 2


def test_what_a_running_session_has_not_used_goes(store: Store):
    with store.session():
        assert clean(store).num_removed == 1
        assert not store.final_path("demux", OLD).exists()


def test_session_of_a_killed_run_protects_nothing(store: Store):
    code = (
        "import os, sys; from pathlib import Path\n"
        "from infinitetalk_cli.cache.store import Store\n"
        "with Store(Path(sys.argv[1])).session(): os._exit(9)\n"
    )
    assert subprocess.run([sys.executable, "-c", code, str(store.root)]).returncode == 9
    assert list((store.root / "locks").glob("session-*.lock"))
    assert clean(store).num_removed == 2
    assert not list((store.root / "locks").glob("session-*"))


def test_folders_that_are_not_ours_stay(store: Store):
    """Somebody gave us a folder with their own things in it as the cache."""
    foreign = [store.root / name for name in ("photos/2024/a.jpg", "demux/notes/a.txt", "demux/b.txt", "x")]
    for path in foreign:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("precious")
    clean(store, keep_partial=False)
    assert all(path.exists() for path in foreign)


def test_remembered_hashes_go_too(store: Store, tmp_path: Path):
    clip = tmp_path / "clip"
    clip.write_bytes(b"x")
    os.utime(clip, (1, 1))
    file_content_hash(clip, store.hashes_dir)
    assert len(list(store.hashes_dir.iterdir())) == 1
    clean(store, older_than_s=DAY_S)
    assert len(list(store.hashes_dir.iterdir())) == 1
    clean(store)
    assert list(store.hashes_dir.iterdir()) == []
