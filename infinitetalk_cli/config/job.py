"""One dubbing job as plain data: what goes in, what comes out, and with which settings."""

from __future__ import annotations

from enum import StrEnum
from fractions import Fraction
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer, model_validator

from infinitetalk_cli.config.profile import Profile

ExactSeconds = Annotated[Fraction, PlainSerializer(str, return_type=str)]


class Settings(BaseModel):
    """Base of the frozen settings of a job."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, arbitrary_types_allowed=True)


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
    quality: int | None = Field(default=None, ge=0, le=63)
    encoder_preset: str | None = None
    audio_codec: str = "auto"
    frame_rate: FrameRate = FrameRate.MODEL
    keep_original_audio: bool = False
    audio_language: str | None = None


class Job(Settings):
    """A request to dub `video` with `audio` into `output`.

    `speech` is the clean voice that drives the picture; None means that `audio` does both.
    """

    video: Path
    audio: Path
    output: Path
    speech: Path | None = None
    profile: Profile
    clip: ClipSettings = ClipSettings()
    encode: OutputSettings

    @property
    def driving_speech(self) -> Path:
        """The file whose voice moves the face."""
        return self.speech or self.audio
