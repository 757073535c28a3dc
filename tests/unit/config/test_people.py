"""Boxes as people write them."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from infinitetalk_cli.config.people import SpeakerBox, parse_box


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0,0,640,720", "0,0,640,720"),
        (" 10 , 20, 30 ,40", "10,20,30,40"),
        ("50%,0,100%,720", "640,0,1280,720"),
        ("12.5%,10%,25%,99.9%", "160,72,320,719"),
        ("50%,0,700,10", "640,0,700,10"),
        ("1279,719,1280,720", "1279,719,1280,720"),
    ],
)
def test_pixels_and_percent(text: str, expected: str) -> None:
    assert str(parse_box(text).in_pixels(1280, 720)) == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("1,2,3", "3 numbers"),
        ("1,2,3,4,5", "5 numbers"),
        ("a,b,c,d", "four numbers"),
        ("", "four numbers"),
        ("1,2,3,4/0", "four numbers"),
        ("nan,0,1,1", "four numbers"),
        ("-1,0,5,5", "outside"),
        ("30,0,10,5", "x0 must be less than x1"),
        ("0,50%,10,50%", "y0 must be less than y1"),
    ],
)
def test_what_is_no_box(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        parse_box(text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("0,0,1281,720", "reaches out of the picture, which is 1280x720"),
        ("0,0,10,101%", "reaches out"),
        ("60%,0,700,10", "covers nothing"),
        ("0.1,0,0.3,5", "covers nothing"),
    ],
)
def test_boxes_that_do_not_fit_the_picture(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        parse_box(text).in_pixels(1280, 720)


def test_a_box_is_never_empty() -> None:
    with pytest.raises(ValidationError):
        SpeakerBox(x0=5, y0=0, x1=5, y1=9)
