"""What a launcher says of a process, and what cannot be."""

from __future__ import annotations

import pytest

from infinitetalk_cli.errors import DependencyError
from infinitetalk_cli.parallel.place import Place

GIVEN = {"RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "4", "MASTER_ADDR": "node-a"}
GIVEN |= {"MASTER_PORT": "29500", "TORCHELASTIC_USE_AGENT_STORE": "True"}


def test_place_of_one_among_several() -> None:
    place = Place.of_environment(GIVEN)
    assert place == Place(5, 8, 1, 4, "node-a", 29500, launcher_serves=True)
    assert not place.is_main and place.name == "process 6 of 8"
    assert [place.device(asked) for asked in ("auto", "cuda", "cpu")] == ["cuda:1", "cuda:1", "cpu"]


@pytest.mark.parametrize("without", ["RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"])
def test_a_process_alone_has_no_place(without: str) -> None:
    assert Place.of_environment({name: value for name, value in GIVEN.items() if name != without}) is None


def test_one_of_one_is_alone() -> None:
    assert Place.of_environment({**GIVEN, "RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0"}) is None


@pytest.mark.parametrize("wrong", [{"RANK": "8"}, {"RANK": "one"}, {"LOCAL_RANK": "4"}])
def test_a_place_that_cannot_be(wrong: dict[str, str]) -> None:
    with pytest.raises(DependencyError, match="RANK"):
        Place.of_environment(GIVEN | wrong)
