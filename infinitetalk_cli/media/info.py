"""Values that describe a media file: its streams, exact times, shape and colour of the picture, tags."""

from __future__ import annotations

from fractions import Fraction

from pydantic import BaseModel, ConfigDict

from infinitetalk_cli.media import tags


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class VideoInfo(_Value):
    """One video stream; times in seconds from the file's presentation start."""

    index: int
    codec: str
    width: int
    height: int
    rotation: int
    """Degrees clockwise that make the stored picture upright: 0, 90, 180 or 270."""
    is_mirrored: bool
    """The stored picture is to be mirrored left to right before it is rotated."""
    sample_aspect_ratio: Fraction
    """Width of a stored sample over its height, before rotation."""
    pix_fmt: str
    bit_depth: int
    has_alpha: bool
    is_interlaced: bool
    color_primaries: str | None
    color_transfer: str | None
    color_space: str | None
    color_range: str | None
    time_base: Fraction
    average_rate: Fraction | None
    start_s: Fraction
    duration_s: Fraction | None
    num_frames: int | None
    """What the container claims, unchecked."""

    @property
    def upright_size(self) -> tuple[int, int]:
        """(width, height) of the stored samples after rotation: the size of decoded frames."""
        return (self.height, self.width) if self.rotation in (90, 270) else (self.width, self.height)

    @property
    def upright_sample_aspect_ratio(self) -> Fraction:
        """Width of a sample over its height, after rotation."""
        return 1 / self.sample_aspect_ratio if self.rotation in (90, 270) else self.sample_aspect_ratio

    @property
    def display_size(self) -> tuple[int, int]:
        """(width, height) as shown: upright and with square samples, rounded, perhaps odd."""
        width, height = self.upright_size
        return max(1, round(width * self.upright_sample_aspect_ratio)), height

    @property
    def is_hdr(self) -> bool:
        """The transfer is PQ or HLG."""
        return self.color_transfer in tags.HDR_TRANSFERS

    @property
    def is_full_range(self) -> bool:
        """Luma runs over all codes."""
        return self.color_range == "pc"

    @property
    def matrix(self) -> str:
        """The tagged matrix, or the one that players assume for this size."""
        if self.color_space in (None, "gbr"):
            return tags.usual_matrix(self.width, self.height)
        return self.color_space


class AudioInfo(_Value):
    """One audio stream; times in seconds from the file's presentation start."""

    index: int
    codec: str
    rate_hz: int
    channels: int
    layout: str
    language: str | None
    title: str | None
    is_default: bool
    start_s: Fraction
    duration_s: Fraction | None


class OtherStream(_Value):
    """A stream that is neither the video nor audio: subtitles, data, attachments, cover art."""

    index: int
    kind: str
    codec: str | None
    language: str | None


class Chapter(_Value):
    """A named stretch; times in seconds from the file's presentation start."""

    start_s: Fraction
    stop_s: Fraction
    metadata: dict[str, str]


class MediaInfo(_Value):
    """A media file. `start_s` is its presentation start on the container's own clock; all else counts from it."""

    format_name: str
    start_s: Fraction
    duration_s: Fraction | None
    is_image: bool
    video: VideoInfo | None
    audio: tuple[AudioInfo, ...]
    other: tuple[OtherStream, ...]
    chapters: tuple[Chapter, ...]
    metadata: dict[str, str]
