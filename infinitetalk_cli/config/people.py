"""Two people in one picture: where each one is, and when each one speaks."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction

from pydantic import Field, model_validator

from infinitetalk_cli.config.base import Settings


class Turns(StrEnum):
    """When the voices of two files are heard: both from the beginning, or the second after the first."""

    PARALLEL = "parallel"
    SEQUENCE = "sequence"


class SpeakerBox(Settings):
    """Where a person is, in pixels of the source as displayed: columns `[x0, x1)`, rows `[y0, y1)`."""

    x0: int = Field(ge=0)
    y0: int = Field(ge=0)
    x1: int
    y1: int

    @model_validator(mode="after")
    def _covers_something(self) -> SpeakerBox:
        if self.x0 >= self.x1 or self.y0 >= self.y1:
            raise ValueError("x1 must lie right of x0, and y1 below y0")
        return self

    def __str__(self) -> str:
        return f"{self.x0},{self.y0},{self.x1},{self.y1}"


class PeopleSettings(Settings):
    """The two people of a job. `boxes` None: one in the left half, one in the right.

    `turns` None: one track holds both voices, and who speaks when is found by listening (diarization).
    """

    turns: Turns | None
    boxes: tuple[SpeakerBox, SpeakerBox] | None = None


@dataclass(frozen=True)
class BoxText:
    """A box as the user wrote it, before the size of the picture is known: x0, y0, x1, y1."""

    sides: tuple[Fraction, Fraction, Fraction, Fraction]
    are_percent: tuple[bool, bool, bool, bool]

    def in_pixels(self, width: int, height: int) -> SpeakerBox:
        """The box in a picture of that size; `ValueError` if it reaches out of it or covers not even a pixel."""
        lengths = (width, height, width, height)
        x0, y0, x1, y1 = (
            round(side * length / 100) if is_percent else round(side)
            for side, length, is_percent in zip(self.sides, lengths, self.are_percent, strict=True)
        )
        if x1 > width or y1 > height:
            raise ValueError(f"reaches out of the picture, which is {width}x{height}")
        if x0 >= x1 or y0 >= y1:
            raise ValueError(f"covers nothing of the picture, which is {width}x{height}")
        return SpeakerBox(x0=x0, y0=y0, x1=x1, y1=y1)


def parse_box(text: str) -> BoxText:
    """The box written as `x0,y0,x1,y1`, each in pixels or, with a `%`, in hundredths of the width or height.

    `ValueError` for anything else, and for a box that is empty or turned round by its own numbers.
    """
    words = [word.strip() for word in text.split(",")]
    try:
        sides = tuple(Fraction(word.removesuffix("%").rstrip()) for word in words)
    except (ValueError, ZeroDivisionError) as exc:
        raise ValueError(f"{text}: write four numbers x0,y0,x1,y1, in pixels or with % each") from exc
    if len(sides) != 4:
        raise ValueError(f"{text}: these are {len(sides)} numbers; write four, x0,y0,x1,y1")
    if min(sides) < 0:
        raise ValueError(f"{text}: begins outside of the picture; numbers count from its upper left corner")
    box = BoxText(sides, tuple(word.endswith("%") for word in words))
    for axis, first, last in (("x", 0, 2), ("y", 1, 3)):
        if box.are_percent[first] == box.are_percent[last] and sides[first] >= sides[last]:
            raise ValueError(f"{text}: is empty or turned round; {axis}0 must be less than {axis}1")
    return box
