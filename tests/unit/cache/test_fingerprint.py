"""Equal data give equal names, different data different ones; files are named by content."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from enum import Enum, IntEnum
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infinitetalk_cli.cache import fingerprint as module
from infinitetalk_cli.cache.fingerprint import file_content_hash, fingerprint
from infinitetalk_cli.errors import InputError

LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
    | st.fractions()
)
PLAIN = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=12,
)


class Mode(Enum):
    FAST = "fast"


class Level(IntEnum):
    ONE = 1


def reordered(data: object) -> object:
    """The same data with dict keys in reverse order, and tuples for lists."""
    if isinstance(data, dict):
        return {key: reordered(data[key]) for key in reversed(list(data))}
    if isinstance(data, list):
        return tuple(reordered(item) for item in data)
    return data


@settings(max_examples=50, deadline=None)
@given(PLAIN)
def test_order_of_keys_and_kind_of_sequence_do_not_count(data: object):
    assert fingerprint(reordered(data)) == fingerprint(data)


@settings(max_examples=50, deadline=None)
@given(PLAIN, PLAIN)
def test_different_data_have_different_names(one: object, other: object):
    if one != other:
        assert fingerprint(one) != fingerprint(other)


@given(st.floats(allow_nan=False, allow_infinity=False, min_value=1e-300, max_value=1e300))
def test_floats_count_to_the_last_bit(value: float):
    assert fingerprint(math.nextafter(value, math.inf)) != fingerprint(value)


@given(st.integers(1, 1000), st.integers(1, 1000), st.integers(1, 50))
def test_equal_fractions_are_equal(numerator: int, denominator: int, factor: int):
    unreduced = Fraction(numerator * factor, denominator * factor)
    assert fingerprint(unreduced) == fingerprint(Fraction(numerator, denominator))


def test_types_that_look_alike_differ():
    alike = [1, 1.0, True, "1", Fraction(1), Level.ONE, [1], {"1": 1}, None, "None", ["float", (1.0).hex()]]
    assert len({fingerprint(item) for item in alike}) == len(alike)


def test_enum_counts_by_value():
    assert fingerprint(Mode.FAST) != fingerprint("fast")
    assert fingerprint(Mode.FAST) == fingerprint(Mode("fast"))


def test_name_is_the_same_in_another_process_and_for_ever():
    data = "{'a': [1, 2.5, None], 'b': {'c': 'ü', 'd': True}}"
    code = f"from infinitetalk_cli.cache.fingerprint import fingerprint; print(fingerprint({data}))"
    command, environment = [sys.executable, "-c", code], {**os.environ, "PYTHONHASHSEED": "7"}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    # if this number changes, everything that users have cached is computed again
    assert done.stdout.strip() == fingerprint(eval(data)) == "19dc37a00f0a93b4803db9b8"


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(math.nan, id="nan"),
        pytest.param(math.inf, id="inf"),
        pytest.param(Path("a"), id="path"),
        pytest.param(b"bytes", id="bytes"),
        pytest.param({1, 2}, id="set"),
        pytest.param({1: "a"}, id="key that is no text"),
        pytest.param(object(), id="object"),
        pytest.param([{"a": {"b": object()}}], id="object deep inside"),
        pytest.param(1j, id="complex"),
    ],
)
def test_anything_else_is_refused(data: object):
    with pytest.raises(TypeError):
        fingerprint(data)


# content of files


@pytest.fixture
def old_file(tmp_path: Path) -> Path:
    """A file that was last written a minute ago."""
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"frames" * 500_000)
    os.utime(path, (path.stat().st_atime - 60, path.stat().st_mtime - 60))
    return path


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Which files were really read."""
    seen: list[Path] = []
    real: Callable[..., str] = module.sha256_of

    def watched(path: Path, advance: Callable[[int], None] | None = None) -> str:
        seen.append(path)
        return real(path, advance)

    monkeypatch.setattr(module, "sha256_of", watched)
    return seen


def test_content_counts_and_not_name_or_date(tmp_path: Path):
    one, same, other = tmp_path / "a", tmp_path / "b", tmp_path / "c"
    one.write_bytes(b"x" * 3_000_000)
    same.write_bytes(b"x" * 3_000_000)
    other.write_bytes(b"x" * 2_999_999 + b"y")
    os.utime(same, (0, 0))
    assert file_content_hash(one) == file_content_hash(same) != file_content_hash(other)


def test_hash_of_an_unchanged_file_is_remembered(old_file: Path, tmp_path: Path, reads: list[Path]):
    memo = tmp_path / "memo"
    first = file_content_hash(old_file, memo)
    assert file_content_hash(old_file, memo) == first
    assert len(reads) == 1


@pytest.mark.parametrize("keep_date", [False, True])
def test_changed_content_of_the_same_size_is_noticed(old_file: Path, tmp_path: Path, keep_date: bool):
    memo = tmp_path / "memo"
    stat = old_file.stat()
    first = file_content_hash(old_file, memo)
    old_file.write_bytes(b"FRAMES" * 500_000)
    if keep_date:
        os.utime(old_file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert file_content_hash(old_file, memo) != first


def test_file_written_just_now_is_not_remembered(tmp_path: Path, reads: list[Path]):
    path = tmp_path / "fresh"
    path.write_bytes(b"x")
    for _ in range(2):
        file_content_hash(path, tmp_path / "memo")
    assert len(reads) == 2


def test_damaged_or_unwritable_memory_costs_a_read_and_nothing_else(old_file: Path, tmp_path: Path, reads: list[Path]):
    memo = tmp_path / "memo"
    first = file_content_hash(old_file, memo)
    for remembered in memo.iterdir():
        remembered.write_text('{"path": ')
    assert file_content_hash(old_file, memo) == first
    in_the_way = tmp_path / "a file"
    in_the_way.write_text("")
    assert file_content_hash(old_file, in_the_way / "memo") == first
    assert len(reads) == 3


def test_names_that_are_not_unicode_are_fine(tmp_path: Path):
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff-'\"\n.mp4"))
    path.write_bytes(b"x")
    os.utime(path, (1, 1))
    assert file_content_hash(path, tmp_path / "memo") == file_content_hash(path, tmp_path / "memo")


def test_file_that_grows_while_it_is_read_is_refused(old_file: Path, monkeypatch: pytest.MonkeyPatch):
    real = module.sha256_of

    def growing(path: Path, advance: Callable[[int], None] | None = None) -> str:
        with path.open("ab") as file:
            file.write(b"more")
        return real(path, advance)

    monkeypatch.setattr(module, "sha256_of", growing)
    with pytest.raises(InputError, match="changed while it was read"):
        file_content_hash(old_file)


def test_unreadable_files_are_input_errors(tmp_path: Path):
    with pytest.raises(InputError, match="no such file"):
        file_content_hash(tmp_path / "gone.mp4")
    with pytest.raises(InputError, match="is a folder"):
        file_content_hash(tmp_path)
    with pytest.raises(InputError, match="cannot be read"):
        file_content_hash(tmp_path / "zero\0byte")
    with pytest.raises(InputError, match="cannot be read"):
        file_content_hash(tmp_path / ("n" * 400))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_pipe_is_refused_at_once(tmp_path: Path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    caught: list[BaseException] = []

    def read() -> None:
        try:
            file_content_hash(pipe)
        except InputError as exc:
            caught.append(exc)

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    reader.join(5)
    assert caught and "not a regular file" in str(caught[0])


def test_progress_hears_every_byte(old_file: Path):
    class Counter:
        total: int | None = None
        done = 0

        def start(self, what: str, total: int | None = None) -> None:
            self.total = total

        def advance(self, steps: int = 1) -> None:
            self.done += steps

        def note(self, text: str) -> None:
            raise AssertionError(text)

    counter = Counter()
    file_content_hash(old_file, progress=counter)
    assert counter.done == counter.total == 3_000_000
