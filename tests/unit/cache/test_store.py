"""Entries appear whole or not at all, and damage is a warning and a recompute."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from infinitetalk_cli.cache.files import commit_file, committed, sidecar_of, temporary_for
from infinitetalk_cli.cache.fingerprint import fingerprint
from infinitetalk_cli.cache.store import ALWAYS_HASHED_BYTES, DONE_NAME, Entry, Store
from infinitetalk_cli.errors import OutputError

STAGE = "generate"
WORK = fingerprint({"seed": 1})


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "cache")


def commit(store: Store, work: str = WORK) -> Entry:
    return store.commit(STAGE, work, settings={"seed": 1}, versions={"tool": "0"}, timings_s={"total": 1})


def add_chunk(folder: Path, index: int, num_bytes: int = 2 * ALWAYS_HASHED_BYTES) -> Path:
    final = folder / f"chunk-{index:04d}.mkv"
    temporary_for(final).write_bytes(bytes([index]) * num_bytes)
    commit_file(temporary_for(final), final)
    return final


def finished(store: Store) -> Entry:
    """An entry of two large committed chunks, a small table and a file in a folder of its own."""
    folder = store.begin(STAGE, WORK, resumable=True)
    add_chunk(folder, 0)
    add_chunk(folder, 1)
    (folder / "table.json").write_text("[1, 2, 3]")
    (folder / "deep").mkdir()
    (folder / "deep" / "large.bin").write_bytes(os.urandom(2 * ALWAYS_HASHED_BYTES))
    return commit(store)


def flip(path: Path, *, keep_date: bool) -> None:
    stat = path.stat()
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    if keep_date:
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def test_looking_creates_nothing(store: Store):
    assert store.lookup(STAGE, WORK) is None
    assert not store.root.exists()


def test_committed_entry_is_found_with_what_is_known_of_it(store: Store):
    made = finished(store)
    found = store.lookup(STAGE, WORK, always_hash=True)
    assert found == made
    assert sorted(found.done.files) == ["chunk-0000.mkv", "chunk-0001.mkv", "deep/large.bin", "table.json"]
    assert found.done.settings == {"seed": 1}
    assert found.file("table.json").read_text() == "[1, 2, 3]"
    assert found.size_bytes == 6 * ALWAYS_HASHED_BYTES + 9
    assert not store.partial_path(STAGE, WORK).exists()


def test_unfinished_work_is_not_an_entry(store: Store):
    folder = store.begin(STAGE, WORK)
    (folder / "table.json").write_text("[]")
    assert store.lookup(STAGE, WORK) is None


def test_work_folder_starts_empty_unless_resumable(store: Store):
    folder = store.begin(STAGE, WORK)
    (folder / "left").write_text("over")
    assert list(store.begin(STAGE, WORK).iterdir()) == []


def test_resumed_work_keeps_committed_files_and_loses_half_written_ones(store: Store):
    folder = store.begin(STAGE, WORK, resumable=True)
    chunk = add_chunk(folder, 0)
    temporary_for(folder / "chunk-0001.mkv").write_bytes(b"half")
    again = store.begin(STAGE, WORK, resumable=True)
    assert again == folder
    assert committed(chunk)
    assert sorted(path.name for path in again.iterdir()) == sorted([chunk.name, sidecar_of(chunk).name])


def test_temporary_files_never_enter_an_entry(store: Store):
    folder = store.begin(STAGE, WORK)
    temporary_for(folder / "x").write_bytes(b"half")
    assert commit(store).done.files == {}
    assert [path.name for path in store.final_path(STAGE, WORK).iterdir()] == [DONE_NAME]


@pytest.mark.parametrize("name", ["table.json", "deep/large.bin", "chunk-0001.mkv"])
@pytest.mark.parametrize("damage", ["gone", "truncated", "truncated quietly", "grown", "flipped"])
def test_damaged_file_is_a_warning_and_no_entry(store: Store, name: str, damage: str, caplog: pytest.LogCaptureFixture):
    path = finished(store).file(name)
    if damage == "gone":
        path.unlink()
    elif damage == "truncated":
        os.truncate(path, path.stat().st_size - 1)
    elif damage == "grown":
        path.write_bytes(path.read_bytes() + b"x")
    elif damage == "truncated quietly":
        stat = path.stat()
        os.truncate(path, stat.st_size - 1)
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    else:
        flip(path, keep_date=False)
    with caplog.at_level(logging.WARNING):
        assert store.lookup(STAGE, WORK) is None
    assert name in caplog.text


def test_small_files_are_hashed_always_and_large_ones_on_demand(store: Store):
    entry = finished(store)
    flip(entry.file("deep/large.bin"), keep_date=True)
    assert store.lookup(STAGE, WORK) is not None
    assert store.lookup(STAGE, WORK, always_hash=True) is None
    flip(entry.file("deep/large.bin"), keep_date=True)
    flip(entry.file("table.json"), keep_date=True)
    assert store.lookup(STAGE, WORK) is None


@pytest.mark.parametrize("name", ["table.json", "deep/large.bin", "chunk-0001.mkv"])
def test_before_an_entry_is_read_every_bit_of_it_counts(store: Store, name: str, caplog: pytest.LogCaptureFixture):
    entry = finished(store)
    assert store.verify(entry) and store.damaged_files(entry) == ()
    flip(entry.file(name), keep_date=True)
    assert store.damaged_files(entry) == (name,)
    with caplog.at_level(logging.WARNING):
        assert not store.verify(entry)
    assert name in caplog.text


@pytest.mark.parametrize("text", ["", "{", "[]", '{"stage": "generate"}', None])
def test_unreadable_done_file_is_a_warning_and_no_entry(
    store: Store, text: str | None, caplog: pytest.LogCaptureFixture
):
    done = finished(store).path / DONE_NAME
    done.unlink() if text is None else done.write_text(text)
    assert store.lookup(STAGE, WORK) is None
    assert DONE_NAME in caplog.text


def test_entry_copied_under_another_name_is_refused(store: Store):
    other = fingerprint({"seed": 2})
    os.rename(finished(store).path, store.final_path(STAGE, other))
    assert store.lookup(STAGE, other) is None


def test_damaged_resumable_entry_gives_back_its_good_chunks(store: Store):
    entry = finished(store)
    os.truncate(entry.file("chunk-0001.mkv"), 10)
    folder = store.begin(STAGE, WORK, resumable=True)
    assert committed(folder / "chunk-0000.mkv")
    assert not committed(folder / "chunk-0001.mkv")
    add_chunk(folder, 1)
    assert commit(store).done.files == entry.done.files | {
        name: store.lookup(STAGE, WORK).done.files[name] for name in ("chunk-0001.mkv",)
    }


def test_sound_entry_is_replaced_only_by_the_commit(store: Store):
    finished(store)
    folder = store.begin(STAGE, WORK)
    (folder / "new").write_text("x")
    assert store.lookup(STAGE, WORK) is not None
    assert list(commit(store).done.files) == ["new"]
    assert [path.name for path in (store.root / STAGE).iterdir()] == [WORK]


def test_cache_folder_that_cannot_be_made_is_an_output_error(tmp_path: Path):
    in_the_way = tmp_path / "file"
    in_the_way.write_text("")
    store = Store(in_the_way / "cache")
    assert store.lookup(STAGE, WORK) is None
    with pytest.raises(OutputError):
        store.begin(STAGE, WORK)
    with pytest.raises(OutputError), store.lock(STAGE, WORK):
        pass


@pytest.mark.parametrize(("stage", "work"), [("../up", WORK), ("locks", WORK), ("generate", "../../etc"), ("", WORK)])
def test_names_that_would_leave_the_cache_are_our_mistake(store: Store, stage: str, work: str):
    with pytest.raises(AssertionError):
        store.final_path(stage, work)


WORKER = textwrap.dedent(
    """
    import os, signal, sys
    from pathlib import Path
    from infinitetalk_cli.cache import files
    from infinitetalk_cli.cache.store import Store

    WORK, NUM_CHUNKS = sys.argv[2], 3

    def run(root, moment):
        # the whole stage; the process is killed at its moment-th call that touches names or the disk
        calls = made = 0

        def die_at(real):
            def counted(*args, **kwargs):
                nonlocal calls
                calls += 1
                if calls == moment:
                    os.kill(os.getpid(), signal.SIGKILL)
                return real(*args, **kwargs)
            return counted

        os.replace, os.fsync = die_at(os.replace), die_at(os.fsync)
        store = Store(root)
        with store.lock("generate", WORK):
            folder = store.begin("generate", WORK, resumable=True)
            for index in range(NUM_CHUNKS):
                final = folder / f"chunk-{index}"
                if not files.committed(final):
                    files.temporary_for(final).write_bytes(bytes([index]) * 1000)
                    files.commit_file(files.temporary_for(final), final)
                    made += 1
            store.commit("generate", WORK, settings={}, versions={}, timings_s={})
        return calls, made

    def in_child(root, moment):
        # exit status: signal, or the number of chunks that were made
        child = os.fork()
        if child == 0:
            os._exit(run(root, moment)[1])
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    top = Path(sys.argv[1])
    replace, fsync = os.replace, os.fsync
    num_calls, _ = run(top / "unbroken", 0)
    os.replace, os.fsync = replace, fsync
    for moment in range(1, num_calls + 1):
        root = top / f"killed-{moment}"
        assert in_child(root, moment) == -signal.SIGKILL
        store = Store(root)
        if store.lookup("generate", WORK, always_hash=True) is None:
            kept = sum(files.committed(path) for path in store.partial_path("generate", WORK).glob("chunk-?"))
            assert in_child(root, 0) == NUM_CHUNKS - kept
        entry = store.lookup("generate", WORK, always_hash=True)
        for index in range(NUM_CHUNKS):
            assert entry.file(f"chunk-{index}").read_bytes() == bytes([index]) * 1000
    print(num_calls)
    """
)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and SIGKILL")
def test_killed_at_any_moment_the_next_run_keeps_what_was_committed(tmp_path: Path):
    command = [sys.executable, "-c", WORKER, str(tmp_path), WORK]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 15
