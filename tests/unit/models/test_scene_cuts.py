"""The search for cuts on made footage of which every cut is known."""

from __future__ import annotations

from fractions import Fraction

import pytest
from footage import Film, Shot, flash, join, relight, thumbnails

from infinitetalk_cli.models.scene_cuts import THUMBNAIL_SIZE, SceneCut, find_cuts

FILM_RATE, TELEVISION_RATE = Fraction(24000, 1001), Fraction(30000, 1001)


def cuts_of(film: Film) -> list[SceneCut]:
    return find_cuts(thumbnails(film, THUMBNAIL_SIZE))


def moving_shots(count: int, duration_s: float = 1.5) -> list[Shot]:
    """Still and panning cameras, bright and dark rooms."""
    return [
        Shot(10 + k, duration_s, pan=(0.0, 0.3)[k % 2], motion=0.1, brightness=(1.0, 0.5, 0.25)[k % 3])
        for k in range(count)
    ]


@pytest.mark.parametrize("rate", [FILM_RATE, Fraction(25), TELEVISION_RATE, Fraction(60), Fraction(10)])
def test_hard_cuts_are_found_at_the_very_frame(rate: Fraction) -> None:
    film = join(moving_shots(4), rate)
    assert [(cut.index, cut.reference_index, cut.kind) for cut in cuts_of(film)] == [(c, c, "cut") for c in film.cuts]


def test_short_scenes_are_scenes() -> None:
    film = join([Shot(k, 0.32, detail=8) for k in range(6)], Fraction(25))
    assert [cut.index for cut in cuts_of(film)] == film.cuts


def test_of_two_cuts_too_close_together_the_later_counts() -> None:
    film = join([Shot(1, 1.5), Shot(2, 0.12), Shot(3, 1.5)], Fraction(25))
    assert [cut.index for cut in cuts_of(film)] == film.cuts[1:]


@pytest.mark.parametrize(
    ("length", "strength", "decay"), [(1, 1.0, 0), (1, 0.7, 0), (3, 0.9, 0), (1, 0.9, 5), (6, 1.0, 0)]
)
def test_flash_is_no_cut(length: int, strength: float, decay: int) -> None:
    assert cuts_of(flash(join([Shot(5, 3.0)], Fraction(25)), 40, length, strength, decay)) == []


def test_flash_beside_a_cut_leaves_it_one_cut() -> None:
    film = join([Shot(5, 1.6), Shot(6, 1.6)], Fraction(25))
    (found,) = cuts_of(flash(film, film.cuts[0] - 1, 1))
    assert found.index == film.cuts[0]


@pytest.mark.parametrize("factor", [0.5, 1.6])
def test_other_light_is_no_cut(factor: float) -> None:
    assert cuts_of(relight(join([Shot(7, 3.0)], Fraction(25)), 40, factor)) == []


@pytest.mark.parametrize(
    "shot", [Shot(8, 4.0, pan=1.0, detail=12), Shot(9, 4.0, motion=0.3, grain=12.0), Shot(4, 4.0, pan=0.5, detail=4)]
)
def test_motion_is_no_cut(shot: Shot) -> None:
    assert cuts_of(join([shot], Fraction(25))) == []


@pytest.mark.parametrize("rate", [FILM_RATE, Fraction(60)])
def test_fade_through_black_is_one_cut_with_a_clear_reference(rate: Fraction) -> None:
    film = join([Shot(1, 2.0), Shot(2, 2.0)], rate, "fade", 1.0)
    (found,) = cuts_of(film)
    assert found.kind == "fade"
    assert 0 <= (found.index - film.cuts[0]) / rate < 0.15  # where the picture can be made out
    clear = film.cuts[0] + round(0.5 * rate)
    assert film.frames[found.reference_index].std() > 0.85 * film.frames[clear].std()


def test_fade_to_black_and_back_to_the_same_scene_is_no_cut() -> None:
    shot = Shot(3, 1.5, motion=0.02)
    assert cuts_of(join([shot, shot], Fraction(25), "fade", 1.0)) == []


@pytest.mark.parametrize("duration_s", [0.5, 1.0])
def test_dissolve_is_one_cut_at_most_and_its_reference_is_clear(duration_s: float) -> None:
    film = join([Shot(1, 2.5, motion=0.02), Shot(2, 2.5, motion=0.02)], Fraction(25), "dissolve", duration_s)
    (found,) = cuts_of(film)
    assert found.kind == "dissolve"
    assert abs(found.index - film.cuts[0]) <= 0.15 * 25
    assert found.reference_index >= film.cuts[0] + duration_s / 2 * 25 - 2


def test_picture_that_rises_from_black_begins_a_scene() -> None:
    film = join([Shot(1, 1.0, brightness=0.0, grain=0.0), Shot(2, 2.0)], Fraction(25), "fade", 1.0)
    (found,) = cuts_of(film)
    assert found.kind == "fade" and found.index >= film.cuts[0]


@pytest.mark.parametrize("num_frames", [0, 1, 2])
def test_hardly_any_frames(num_frames: int) -> None:
    film = join([Shot(1, 1.0)], Fraction(25))
    assert find_cuts(list(thumbnails(film, THUMBNAIL_SIZE))[:num_frames]) == []
