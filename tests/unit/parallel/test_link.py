"""Orders, claims and failures between processes, here as several connections of one."""

from __future__ import annotations

import os
import socket
from fractions import Fraction
from pathlib import Path

import pytest

from infinitetalk_cli.errors import ExitCode, InputError, PeerError
from infinitetalk_cli.parallel import link, peer
from infinitetalk_cli.parallel.link import Failure, Link
from infinitetalk_cli.parallel.main_process import (
    ORDER,
    MainShare,
    Order,
    claimed,
    dismiss,
    shared_folder,
    streams_left,
)
from infinitetalk_cli.parallel.peer import LeaderShare
from infinitetalk_cli.parallel.place import Place
from infinitetalk_cli.parallel.watch import Watch
from infinitetalk_cli.stages.planned_chunk import PlannedChunk


def chunk(index: int, scene: int, index_in_scene: int) -> PlannedChunk:
    return PlannedChunk(
        index=index, scene=scene, index_in_scene=index_in_scene, start_frame=0, num_frames=17, new_start=0,
        new_stop=12, reference_index=0, reference_time_s=Fraction(0),
    )  # fmt: skip


PLAN = [chunk(0, 0, 0), chunk(1, 1, 0), chunk(2, 1, 1), chunk(3, 1, 2), chunk(4, 2, 0), chunk(5, 2, 1)]


@pytest.fixture
def links() -> tuple[Link, Link]:
    """The main process, and one other."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    main, other = (Link(Place(rank, 2, rank, 2, "127.0.0.1", port)) for rank in range(2))
    return main, other


def test_every_stream_is_made_once_and_the_longest_first(links: tuple[Link, Link]) -> None:
    main, other = links
    order = Order(generate="abcdef12", layout={}, left=((0, 1), (1, 3), (5, 1)))
    main.post(ORDER, order.model_dump(mode="json"))
    streams = streams_left(PLAN, Order.model_validate(other.see(ORDER)))
    assert [[chunk.index for chunk in stream] for stream in streams] == [[0], [1, 2, 3], [5]]
    one, two = claimed(main, streams), claimed(other, streams)
    taken = [next(one), next(two), next(one, None), next(two, None)]
    assert [stream and stream[0].index for stream in taken] == [1, 0, 5, None]


def test_the_main_process_hears_what_others_make(links: tuple[Link, Link]) -> None:
    main, other = links
    theirs, ours = LeaderShare(other, []), MainShare(main, PLAN, leaders=[1])
    assert theirs.report(steps=3) == (0, 0)
    assert ours.report(steps=1) == (3, 0)
    theirs.report(steps=-1, frames=12)  # another attempt
    other.post("done/1", True)
    assert [sum(made) for made in zip(*ours.rest(), strict=True)] == [-1, 12]


def test_the_first_failure_counts(links: tuple[Link, Link]) -> None:
    main, other = links
    assert main.failure() is None
    other.fail(Failure(1, ExitCode.DEPENDENCY, "weights are damaged"))
    main.fail(Failure(0, ExitCode.PEER, "somebody is gone"))
    assert main.failure() == other.failure() == Failure(1, 5, "weights are damaged")


def test_a_process_that_is_gone_is_missed(links: tuple[Link, Link]) -> None:
    main, other = links
    watch = Watch(main, None)
    other.post("who/1", {"host": socket.gethostname(), "pid": 1 << 30})
    found = watch.look()
    assert found is not None and found.exit_code == ExitCode.PEER
    assert "process 2 of 2" in found.message and "run the same command again" in found.message
    assert other.failure() == found, "the others are told"


def test_a_process_that_has_left_is_not_missed(links: tuple[Link, Link]) -> None:
    main, other = links
    other.post("who/1", {"host": socket.gethostname(), "pid": 1 << 30})
    other.leave()
    assert Watch(main, None).look() is None
    dismiss(main)
    assert Order.model_validate(other.see(ORDER)).generate is None


def test_silence_from_another_machine(links: tuple[Link, Link], monkeypatch: pytest.MonkeyPatch) -> None:
    main, other = links
    other.post("who/1", {"host": "node-b", "pid": 7})
    watch = Watch(main, None)
    assert watch.look() is None
    monkeypatch.setattr("infinitetalk_cli.parallel.watch.SILENCE_S", 0.0)
    other.count("beats/1", 1)
    assert watch.look() is None, "it said something"
    found = watch.look()
    assert found is not None and "nothing was heard of process 2 of 2 (7 on node-b)" in found.message


def test_another_cache_folder_is_refused(
    links: tuple[Link, Link], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    main, other = links
    monkeypatch.setattr(peer, "VISIBLE_WITHIN_S", 0.0)
    old = tmp_path / "ours" / "locks" / "killed.meeting"
    old.parent.mkdir(parents=True)
    old.touch()
    os.utime(old, (0, 0))
    with shared_folder(main, tmp_path / "ours"):
        peer._require_same_folder(other, tmp_path / "ours")
        with pytest.raises(InputError, match=r"is not the cache folder of process 1 .*--cache-dir"):
            peer._require_same_folder(other, tmp_path / "theirs")
    assert not list((tmp_path / "ours").rglob("*.meeting"))


def test_nobody_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link, "MEETING_S", 0.2)
    with pytest.raises(PeerError, match=r"process 2 of 2 .* cannot reach 127.0.0.1:1, where all meet"):
        Link(Place(1, 2, 1, 2, "127.0.0.1", 1))
