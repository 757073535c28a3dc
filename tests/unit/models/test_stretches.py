"""What is generated in one stream: plain numbers."""

from __future__ import annotations

import pytest

from infinitetalk_cli.models.stretches import (
    BLEND_FRAMES,
    Stretch,
    scene_spans,
    spoken_stretches,
    whole_scenes,
)


@pytest.mark.parametrize(
    ("starts", "expected"),
    [
        ([], [(0, 100)]),
        ([40], [(0, 40), (40, 100)]),
        ([0, 40, 40, 99, 100, 120, -3], [(0, 40), (40, 99), (99, 100)]),
    ],
)
def test_scenes_cover_everything_once(starts: list[int], expected: list[tuple[int, int]]) -> None:
    assert scene_spans(starts, 100) == expected


def test_whole_scenes_blend_nowhere() -> None:
    assert whole_scenes([(0, 40), (40, 100)]) == [Stretch(0, 0, 40), Stretch(1, 40, 100)]


def spoken(speech: list[tuple[int, int]], scenes: tuple[tuple[int, int], ...] = ((0, 1000),)) -> list[Stretch]:
    return spoken_stretches(scenes, speech, margin=10, min_gap=50)


def test_speech_is_widened_and_blends_at_both_ends() -> None:
    assert spoken([(200, 300)]) == [Stretch(0, 190, 310, True, True)]


def test_short_pauses_are_generated_long_ones_kept() -> None:
    assert spoken([(200, 300), (369, 400)]) == [Stretch(0, 190, 410, True, True)]
    assert spoken([(200, 300), (370, 400)]) == [Stretch(0, 190, 310, True, True), Stretch(0, 360, 410, True, True)]


def test_short_pauses_at_the_edge_of_a_scene_are_generated() -> None:
    assert spoken([(59, 941)]) == [Stretch(0, 0, 1000)]
    assert spoken([(60, 940)]) == [Stretch(0, 50, 950, True, True)]


def test_speech_over_a_cut_is_a_stream_on_either_side() -> None:
    scenes = ((0, 500), (500, 1000))
    assert spoken([(400, 600)], scenes) == [Stretch(0, 390, 500, True, False), Stretch(1, 500, 610, False, True)]


def test_margin_does_not_reach_into_the_next_scene() -> None:
    assert spoken([(400, 495)], ((0, 500), (500, 1000))) == [Stretch(0, 390, 500, True, False)]


def test_scene_without_speech_is_kept() -> None:
    assert spoken([(10, 60)], ((0, 100), (100, 130), (130, 900))) == [Stretch(0, 0, 100)]
    assert spoken([]) == []


def test_no_two_streams_touch_inside_a_scene() -> None:
    stretches = spoken_stretches([(0, 300)], [(100, 120), (140, 160)], margin=10, min_gap=0)
    assert stretches == [Stretch(0, 90, 170, True, True)]


def test_share_rises_and_falls_over_the_blend() -> None:
    stretch = Stretch(0, 100, 150, True, True)
    shares = [stretch.share(frame) for frame in range(100, 150)]
    assert 0 < shares[0] < 0.05 and shares == shares[::-1]
    assert shares[:BLEND_FRAMES] == sorted(shares[:BLEND_FRAMES])
    assert set(shares[BLEND_FRAMES:-BLEND_FRAMES]) == {1.0}


def test_nothing_is_mixed_where_a_scene_begins_and_ends() -> None:
    assert {Stretch(0, 0, 20).share(frame) for frame in range(20)} == {1.0}
