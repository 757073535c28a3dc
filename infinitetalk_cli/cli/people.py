"""The options of `dub` for two people: which of them go together."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from infinitetalk_cli.config.people import BoxText

MAX_PEOPLE = 2


def check_people(
    audio: list[Path], speech: list[Path], boxes: list[str], turns: str | None, diarize: bool, diarizer: Path | None
) -> tuple[BoxText, ...]:
    """The boxes that were written, once it is clear that the options make sense together.

    Raises:
        typer.BadParameter: too many voices, an option that would have no effect, or a box that is none.
    """
    from infinitetalk_cli.config.people import parse_box

    if len(audio) > MAX_PEOPLE:
        raise typer.BadParameter(f"{len(audio)} times --audio: two people can speak at most; give one voice or two")
    if diarize and len(audio) == MAX_PEOPLE:
        raise typer.BadParameter("--diarize splits one track; give --audio once, or leave --diarize out")
    if speech and len(speech) != len(audio):
        raise typer.BadParameter(f"--speech stands for --audio: give it {len(audio)} times, or not at all")
    num_people = MAX_PEOPLE if diarize else len(audio)
    _check_effect(turns, boxes, diarize, diarizer, num_voices=len(audio), num_people=num_people)
    if boxes and len(boxes) != num_people:
        raise typer.BadParameter(f"--speaker-box: give one for each of the {num_people} people, or none")
    try:
        return tuple(parse_box(text) for text in boxes)
    except ValueError as exc:
        raise typer.BadParameter(f"--speaker-box {exc}") from exc


def _check_effect(
    turns: str | None, boxes: list[str], diarize: bool, diarizer: Path | None, num_voices: int, num_people: int
) -> None:
    if turns is not None and num_voices < MAX_PEOPLE:
        raise typer.BadParameter("--turns has no effect without two voices; give --audio twice")
    if diarizer is not None and not diarize:
        raise typer.BadParameter("--diarizer has no effect without --diarize")
    if boxes and num_people < MAX_PEOPLE:
        raise typer.BadParameter("--speaker-box has no effect with one voice; give --audio twice, or --diarize")
