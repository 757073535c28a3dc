"""Two runs of the same work: one works, the other waits or says who does."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from infinitetalk_cli.cache.fingerprint import fingerprint
from infinitetalk_cli.cache.lock import describe_holder
from infinitetalk_cli.cache.store import Store
from infinitetalk_cli.errors import ExitCode, LockedError

WORK = fingerprint("work")
HOLDER = textwrap.dedent(
    """
    import sys
    from pathlib import Path
    from infinitetalk_cli.cache.store import Store
    with Store(Path(sys.argv[1])).lock("generate", sys.argv[2]):
        print("held", flush=True)
        sys.stdin.readline()
    """
)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


@pytest.fixture
def holder(store: Store) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lock until its stdin ends."""
    command = [sys.executable, "-c", HOLDER, str(store.root), WORK, "dub", "clip.mp4"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_second_run_is_told_who_holds_the_work(store: Store, holder: subprocess.Popen[str]):
    with pytest.raises(LockedError) as caught, store.lock("generate", WORK, what="clip.dubbed.mp4"):
        pytest.fail("both hold it")
    assert caught.value.exit_code == ExitCode.LOCKED
    text = str(caught.value)
    assert text.startswith(f"clip.dubbed.mp4 is being made by process {holder.pid} ")
    assert "dub clip.mp4" in text


def test_second_run_waits_and_says_so_once(store: Store, holder: subprocess.Popen[str]):
    heard: list[str] = []

    def listen(text: str) -> None:
        heard.append(text)
        assert holder.stdin is not None
        holder.stdin.write("\n")
        holder.stdin.flush()

    with store.lock("generate", WORK, wait_s=None, on_wait=listen):
        assert holder.wait(10) == 0
    assert len(heard) == 1
    assert str(holder.pid) in heard[0]


def test_waiting_ends_after_the_given_time(store: Store, holder: subprocess.Popen[str]):
    began = time.monotonic()
    with pytest.raises(LockedError, match=r"after 0\.2 s"), store.lock("generate", WORK, wait_s=0.2):
        pytest.fail("both hold it")
    assert time.monotonic() - began < 5


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL here")
def test_killed_holder_blocks_nobody(store: Store, holder: subprocess.Popen[str]):
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait(10)
    with store.lock("generate", WORK):
        assert f"process {os.getpid()} " in describe_holder(store.lock_path("generate", WORK))


def test_other_work_is_free(store: Store, holder: subprocess.Popen[str]):
    with store.lock("generate", fingerprint("other")), store.lock("demux", WORK):
        pass


def test_lock_is_released_when_the_work_fails(store: Store):
    with pytest.raises(ZeroDivisionError), store.lock("generate", WORK):
        raise ZeroDivisionError
    with store.lock("generate", WORK):
        pass


def test_same_process_cannot_hold_it_twice(store: Store):
    with store.lock("generate", WORK), pytest.raises(LockedError), store.lock("generate", WORK):
        pytest.fail("held twice")


def test_unreadable_holder_file_is_another_run(store: Store):
    path = store.lock_path("generate", WORK)
    path.parent.mkdir(parents=True)
    for text in ("", "[]", '{"pid": 1}'):
        path.with_suffix(".holder.json").write_text(text)
        assert describe_holder(path) == "another run"
