"""How many processes share a plan: whole scenes, or one transformer among several."""

from __future__ import annotations

import pytest

from infinitetalk_cli.errors import ProfileError
from infinitetalk_cli.pipeline.layout import Layout, Work, choose_layout, in_order, wanted_layout
from infinitetalk_cli.pipeline.split import Split

GUIDED = 3
"""Forwards of a step with text and audio guidance."""


def work(*streams: int, num_forwards: int = GUIDED, num_heads: int = 40) -> Work:
    return Work(streams, num_forwards, num_heads)


def test_many_scenes_need_no_exchange() -> None:
    layout = choose_layout(8, work(*[81] * 30))
    assert (layout.scenes, layout.team_size, layout.num_idle) == (8, 1, 0)
    assert layout.teams == [(rank,) for rank in range(8)]
    assert "8 teams, each making whole scenes" in layout.text and "30 scenes are left" in layout.text


def test_one_scene_is_shared_by_all() -> None:
    layout = choose_layout(4, work(810))
    assert layout.scenes == 1 and layout.team_size == 4 and layout.teams == [(0, 1, 2, 3)]
    assert "1 scene is left" in layout.text


def test_one_long_scene_among_short_ones_is_not_left_to_one_process() -> None:
    assert choose_layout(8, work(4000, 81, 81)).scenes == 1


def test_two_scenes_of_four_processes_have_two_each() -> None:
    layout = choose_layout(4, work(810, 800))
    assert layout.teams == [(0, 1), (2, 3)]
    assert layout.leader_of(3) == 2 and layout.leader_of(0) == 0


def test_team_stays_on_its_machine() -> None:
    """Three machines of two: four processes would be one team on two of them, but two fit in each."""
    assert all(
        rank // 2 == team[0] // 2 for team in choose_layout(6, work(*[81] * 3), num_local=2).teams for rank in team
    )


@pytest.mark.parametrize("num_processes", range(1, 17))
@pytest.mark.parametrize("streams", [(81,), (81, 300), (81,) * 5, (9, 81, 700, 81), (81,) * 40])
def test_every_process_is_in_one_team_or_idle(num_processes: int, streams: tuple[int, ...]) -> None:
    layout = choose_layout(num_processes, work(*streams))
    ranks = [rank for team in layout.teams for rank in team]
    assert len(set(ranks)) == len(ranks) == num_processes - layout.num_idle and max(ranks) < num_processes
    assert layout.scenes <= max(1, len(streams))
    assert Layout(**layout.as_dict()) == layout


def test_the_longest_scene_is_begun_first() -> None:
    assert in_order([9, 81, 30, 81]) == [1, 3, 2, 0]


@pytest.mark.parametrize(
    ("words", "split"),
    [
        ("scenes=2", Split(2, 1, 1)),
        ("sequence=4, guidance=3", Split(1, 3, 4)),
        ("scenes=2,guidance=3,sequence=4", Split(2, 3, 4)),
    ],
)
def test_split_is_read(words: str, split: Split) -> None:
    assert Split.parse(words) == split


@pytest.mark.parametrize("words", ["", "2", "scenes=0", "scenes=2,scenes=2", "heads=2", "scenes=-1", "scenes=two"])
def test_split_that_cannot_be_read(words: str) -> None:
    with pytest.raises(ValueError, match="is none of scenes=N, guidance=N, sequence=N"):
        Split.parse(words)


@pytest.mark.parametrize(
    ("split", "message"), [(Split(guidance=4), "at most 3, the number of forwards"), (Split(sequence=41), "at most 40")]
)
def test_split_that_does_not_suit(split: Split, message: str) -> None:
    with pytest.raises(ProfileError, match=message):
        wanted_layout(split.num_processes, split, work(81))


def test_asked_for_teams_without_a_scene_are_idle() -> None:
    layout = wanted_layout(4, Split(scenes=4), work(81, 81))
    assert layout.teams == [(0,), (1,)] and layout.num_idle == 2 and layout.leader_of(3) is None
