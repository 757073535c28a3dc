"""The snapshot file of a chunk in work: when it is written, and when it is believed."""

from __future__ import annotations

import logging
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from infinitetalk_cli.models.sampler_state import SamplerState
from infinitetalk_cli.stages.snapshots import PATIENCE, Snapshots

KEY = "what the chunk is made from"


def key() -> str:
    return KEY


def a_state(num_done: int = 3, size: int = 8) -> SamplerState:
    generator = torch.Generator().manual_seed(num_done)
    latents = torch.randn(1, 2, 3, 4, size, generator=generator)
    guidance = {"text": latents.mT.mT + 1, "audio": latents.transpose(3, 4)}  # one is not contiguous
    return SamplerState(num_done, latents, guidance, (latents.to(torch.bfloat16), latents[0, 0, 0, 0, 0] * 2))


def assert_same(state: SamplerState | None, expected: SamplerState) -> None:
    assert state is not None and state.num_done == expected.num_done
    found, wanted = state.tensors(), expected.tensors()
    assert sorted(found) == sorted(wanted)
    for name, tensor in wanted.items():
        assert found[name].dtype == tensor.dtype and torch.equal(found[name], tensor), name


class Clock:
    """Shows the time that it is told."""

    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def write(folder: Path, state: SamplerState, chunk: int = 7, attempt: int = 1) -> None:
    """A snapshot of `state`, whether or not it is time for one."""
    clock = Clock()
    snapshots = Snapshots(folder / "snapshot", clock=clock)
    keeper = snapshots.of(chunk, attempt)
    clock.now_s += 1e6
    keeper.offer(key, state)


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """A folder with a snapshot of chunk 7, attempt 1."""
    write(tmp_path, a_state())
    return tmp_path


def test_state_comes_back_as_it_was(kept: Path) -> None:
    assert_same(Snapshots(kept / "snapshot").of(7, 1).kept(key), a_state())


def test_there_is_one_file_with_the_last_state(kept: Path) -> None:
    write(kept, a_state(4))
    assert len(list((kept / "snapshot").iterdir())) == 1
    assert_same(Snapshots(kept / "snapshot").of(7, 1).kept(key), a_state(4))


def test_clear_leaves_nothing(kept: Path) -> None:
    snapshots = Snapshots(kept / "snapshot")
    snapshots.clear()
    snapshots.clear()
    assert list(kept.iterdir()) == []
    assert snapshots.of(7, 1).kept(key) is None


@pytest.mark.parametrize(("chunk", "attempt", "other_key"), [(8, 1, KEY), (7, 0, KEY), (7, 1, "other context frames")])
def test_snapshot_of_something_else_is_not_used(
    chunk: int, attempt: int, other_key: str, kept: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        assert Snapshots(kept / "snapshot").of(chunk, attempt).kept(lambda: other_key) is None
    assert "a snapshot of something else" in caplog.text


@pytest.mark.parametrize("place", [0.02, 0.2, 0.5, 0.9, 0.999])
def test_one_flipped_bit_anywhere_is_noticed(place: float, kept: Path, caplog: pytest.LogCaptureFixture) -> None:
    (file,) = (kept / "snapshot").iterdir()
    content = bytearray(file.read_bytes())
    content[int(place * len(content))] ^= 1
    file.write_bytes(content)
    with caplog.at_level(logging.INFO):
        assert Snapshots(kept / "snapshot").of(7, 1).kept(key) is None
    assert "snapshot" in caplog.text


@pytest.mark.parametrize("size", [0, 5, 300, -1])
def test_truncated_snapshot_is_noticed(size: int, kept: Path, caplog: pytest.LogCaptureFixture) -> None:
    (file,) = (kept / "snapshot").iterdir()
    file.write_bytes(file.read_bytes()[:size])
    assert Snapshots(kept / "snapshot").of(7, 1).kept(key) is None
    assert "damaged snapshot" in caplog.text


def test_safetensors_file_of_another_program_is_noticed(kept: Path, caplog: pytest.LogCaptureFixture) -> None:
    from safetensors.torch import save_file

    (file,) = (kept / "snapshot").iterdir()
    save_file({"latents": torch.zeros(3)}, file)
    assert Snapshots(kept / "snapshot").of(7, 1).kept(key) is None
    assert "damaged snapshot" in caplog.text


@contextmanager
def files_of_at_most(num_bytes: int) -> Iterator[None]:
    """A real refusal of the system: files cannot grow beyond `num_bytes`."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_disk_that_refuses_warns_once_and_keeps_the_older_snapshot(
    kept: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock()
    snapshots = Snapshots(kept / "snapshot", clock=clock)
    keeper = snapshots.of(7, 1)
    with files_of_at_most(64 * 1024):
        for step in (4, 5, 6):
            clock.now_s += 60.0
            keeper.offer(key, a_state(step, size=4096))
    warnings = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == 1 and "the work goes on" in warnings[0].getMessage()
    assert [path.name for path in (kept / "snapshot").iterdir()] == ["chunk.safetensors"]
    assert_same(Snapshots(kept / "snapshot").of(7, 1).kept(key), a_state())
    clock.now_s += 60.0
    keeper.offer(key, a_state(7))
    assert_same(Snapshots(kept / "snapshot").of(7, 1).kept(key), a_state(7))


def test_folder_that_cannot_be_made_does_not_stop_the_work(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "snapshot").write_text("in the way")
    write(tmp_path, a_state())
    assert "no snapshot could be written" in caplog.text
    Snapshots(tmp_path / "snapshot").clear()
    assert (tmp_path / "snapshot").is_file()


def test_chunks_shorter_than_the_interval_cost_nothing(tmp_path: Path) -> None:
    clock = Clock()
    snapshots = Snapshots(tmp_path / "snapshot", clock=clock)

    def never() -> str:
        raise AssertionError("hashing what a chunk is made from takes time")

    for chunk in range(100):
        keeper = snapshots.of(chunk, 0)
        assert keeper.kept(never) is None
        for step in range(1, 5):
            clock.now_s += 7.0  # 28 s per chunk
            keeper.offer(never, a_state(step))
    assert list(tmp_path.iterdir()) == []


def test_work_of_30_seconds_is_saved_and_not_more_often(tmp_path: Path) -> None:
    clock, saved = Clock(), []
    snapshots = Snapshots(tmp_path / "snapshot", clock=clock)
    keeper = snapshots.of(0, 0)
    for step in range(1, 201):
        clock.now_s += 1.0
        keeper.offer(key, a_state(step))
        state = Snapshots(tmp_path / "snapshot").of(0, 0).kept(key)
        if state is not None and state.num_done not in saved:
            saved.append(state.num_done)
    assert saved == [30, 60, 90, 120, 150, 180]


@pytest.mark.parametrize("cost_s", [0.7, 15.0])
def test_slow_snapshots_take_less_than_one_percent_of_the_time(cost_s: float, tmp_path: Path) -> None:
    clock = Clock()

    def slow_key() -> str:
        clock.now_s += cost_s
        return KEY

    begun_s, spent_s = clock.now_s, 0.0
    keeper = Snapshots(tmp_path / "snapshot", clock=clock).of(0, 0)
    for step in range(1, 200):
        clock.now_s += 60.0
        before_s = clock.now_s
        keeper.offer(slow_key, a_state(step))
        spent_s += clock.now_s - before_s
    assert 5 * cost_s < spent_s <= (clock.now_s - begun_s) / PATIENCE + cost_s  # nobody could know the first one's cost


def test_first_snapshot_of_a_large_state_waits_for_what_it_will_cost(tmp_path: Path) -> None:
    clock = Clock()
    snapshots = Snapshots(tmp_path / "snapshot", clock=clock)
    snapshots.of(0, 0)
    clock.now_s += 31.0
    assert snapshots.is_due(26_000_000)  # latents and guidance at 480p
    assert not snapshots.is_due(1_000_000_000)  # with the step cache's residuals
    clock.now_s += 1000.0
    assert snapshots.is_due(1_000_000_000)
