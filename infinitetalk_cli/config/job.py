"""The settings of one dubbing job: its profile, the stretch to dub, how the result is written."""

from __future__ import annotations

from enum import StrEnum
from fractions import Fraction
from typing import Annotated

from pydantic import PlainSerializer, model_validator

from infinitetalk_cli.config.base import Settings
from infinitetalk_cli.config.people import PeopleSettings
from infinitetalk_cli.config.profile import Profile

ExactSeconds = Annotated[Fraction, PlainSerializer(str, return_type=str)]


class Length(StrEnum):
    """What decides how long the result is."""

    AUDIO = "audio"
    VIDEO = "video"
    SHORTEST = "shortest"


class FrameRate(StrEnum):
    """Frame rate of the result: the model's 25, or the source's."""

    MODEL = "model"
    SOURCE = "source"


class ClipSettings(Settings):
    """The stretch to dub: `[start_s, end_s)` of video and audio, `end_s` None to the end."""

    start_s: ExactSeconds = Fraction(0)
    end_s: ExactSeconds | None = None
    length: Length = Length.AUDIO

    @model_validator(mode="after")
    def _ordered(self) -> ClipSettings:
        if self.end_s is not None and self.end_s <= self.start_s:
            raise ValueError("--end must lie after --start")
        return self


class OutputSettings(Settings):
    """How the result is written; changing any of these re-runs only the last stage."""

    container: str
    """Suffix such as ".mp4"."""
    video_codec: str | None = None
    quality: int | None = None
    encoder_preset: str | None = None
    audio_codec: str = "auto"
    frame_rate: FrameRate = FrameRate.MODEL
    keep_original_audio: bool = False
    audio_language: str | None = None


class Job(Settings):
    """All settings of one dub; what it reads and writes is named beside it. `people` None: one person speaks.

    `report`: whether a report is written beside the result.
    """

    profile: Profile
    clip: ClipSettings = ClipSettings()
    encode: OutputSettings
    people: PeopleSettings | None = None
    report: bool = True
