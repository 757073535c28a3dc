"""What can be written: containers by suffix, the codecs each takes, and how each codec is set up."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from infinitetalk_cli.errors import OutputError
from infinitetalk_cli.media.codecs import AudioCodec, VideoCodec

if TYPE_CHECKING:  # a plan checks its output without loading PyAV
    from infinitetalk_cli.media.info import VideoInfo


@dataclass(frozen=True)
class EncodeSettings:
    """How the result is written; changing any of it re-runs nothing but the writing.

    `quality` is the codec's constant rate factor, lower is better, `None` its usual near-lossless value; `preset`
    the encoder preset, `None` the usual one. What each codec takes is in `ENCODERS`.
    """

    video_codec: VideoCodec | None = None
    """`None`: h264, or vp9 in WebM."""
    quality: int | None = None
    preset: str | None = None
    pix_fmt: str | None = None
    audio_codec: AudioCodec = "auto"
    """`auto` copies what the container takes and else encodes."""
    keep_original_audio: bool = False


@dataclass(frozen=True)
class Container:
    """One file format: `audio_copies` are codecs that its players understand, a subset of what it could hold."""

    muxer: str
    video_codecs: tuple[str, ...]
    audio_copies: tuple[str, ...]
    audio_encodes: tuple[str, ...]
    """The first is the default."""
    text_codec: str
    """Codec of plain subtitles."""


@dataclass(frozen=True)
class Quality:
    """Constant rate factors of an encoder: the usual one, and the range `[best, worst]`."""

    usual: int
    best: int
    worst: int


@dataclass(frozen=True)
class Presets:
    """Names that an encoder's `option` takes, from quick to thorough or the other way round, and the usual one."""

    option: str
    usual: str
    names: tuple[str, ...]


@dataclass(frozen=True)
class Encoder:
    """One video encoder. All options, and the number of threads, are fixed: equal frames give equal files."""

    name: str
    quality: Quality | None
    pix_fmt: str
    pix_fmt_10: str
    pix_fmt_odd: str
    """For widths or heights that chroma at half size cannot hold."""
    presets: Presets | None = None
    options: tuple[tuple[str, str], ...] = ()
    threads: int = 4
    min_width: int = 1


LOSSLESS = {"flac", "alac"}
_PCM = ("pcm_s16le", "pcm_s24le", "pcm_s32le", "pcm_f32le", "pcm_s16be", "pcm_s24be", "pcm_u8")
_MP4 = Container(
    "mp4",
    ("h264", "hevc", "av1", "vp9"),
    ("aac", "mp3", "ac3", "eac3", "alac", "flac", "opus"),
    ("aac", "flac", "alac", "opus"),
    "mov_text",
)
CONTAINERS = {
    ".mp4": _MP4,
    ".m4v": _MP4,
    ".mov": Container(
        "mov", ("h264", "hevc", "prores"), ("aac", "mp3", "ac3", "alac", *_PCM), ("aac", "alac"), "mov_text"
    ),
    ".mkv": Container(
        "matroska",
        ("h264", "hevc", "av1", "vp9", "prores", "ffv1"),
        ("aac", "mp3", "mp2", "ac3", "eac3", "alac", "flac", "opus", "vorbis", *_PCM),
        ("aac", "flac", "alac", "opus"),
        "subrip",
    ),
    ".webm": Container("webm", ("vp9", "av1"), ("opus", "vorbis"), ("opus",), "webvtt"),
}

_X26X_PRESETS = (
    "ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow", "placebo",
)  # fmt: skip
ENCODERS = {
    "h264": Encoder(
        "libx264", Quality(16, 0, 51), "yuv420p", "yuv420p", "yuv444p",
        # On generated frames veryfast takes half the time of medium for a file of equal size, 0.9 dB worse at 44 dB.
        Presets("preset", "veryfast", _X26X_PRESETS),
        # x264's macroblock tree gives other bytes from run to run on processors with AVX-512 (seen with PyAV 18.1).
        (("x264-params", "mbtree=0"),),
    ),
    "hevc": Encoder(
        "libx265", Quality(18, 0, 51), "yuv420p", "yuv420p10le", "yuv444p",
        Presets("preset", "medium", _X26X_PRESETS),
        (("x265-params", "log-level=none:pools=4:frame-threads=2"),),
        # x265 4.2 writes outside its memory for anything narrower, whatever the height (seen with malloc's checks).
        min_width=49,
    ),
    "av1": Encoder(
        # A factor of 0 means "not given" to libavcodec: it gives 35.
        "libsvtav1", Quality(22, 1, 63), "yuv420p", "yuv420p10le", "yuv420p",
        Presets("preset", "8", tuple(str(number) for number in range(14))), (("svtav1-params", "lp=4"),)
    ),
    "vp9": Encoder(
        "libvpx-vp9", Quality(20, 0, 63), "yuv420p", "yuv420p", "yuv420p",
        Presets("cpu-used", "4", tuple(str(number) for number in range(9))),
        (("deadline", "good"), ("row-mt", "1")),
    ),
    "prores": Encoder("prores_ks", None, "yuv422p10le", "yuv422p10le", "yuv444p10le", None, (("profile", "3"),)),
    "ffv1": Encoder(
        "ffv1", None, "bgr0", "bgr0", "bgr0", None,
        (("level", "3"), ("slices", "4"), ("g", "1")),
    ),
}  # fmt: skip
"""H.264 stays at 8 bits whatever the source has: few players decode its 10-bit profile, and frames here have 8."""


def container_of(suffix: str, path: Path) -> Container:
    """The container that `suffix` names; `OutputError` listing those that work."""
    if suffix.lower() not in CONTAINERS:
        raise OutputError(f"{path}: no container is known by '{suffix}'; use one of {', '.join(CONTAINERS)}")
    return CONTAINERS[suffix.lower()]


def check_output(
    path: Path,
    settings: EncodeSettings,
    suffix: str | None = None,
    *,
    dub_codec: str | None = None,
    starts_at_zero: bool = True,
    size: tuple[int, int] | None = None,
) -> None:
    """`OutputError` if the container of `path` cannot hold what `settings` ask for; worth asking before the work.

    What else is known is checked too: whether new audio of `dub_codec` can be copied, from its first sample on or
    not, and whether pictures of `size` (width, height) can be encoded. `rehearse_output` asks the encoders as well.
    """
    suffix = suffix or path.suffix
    container = container_of(suffix, path)
    video = video_codec_for(container, settings)
    if video not in container.video_codecs:
        raise OutputError(f"{path}: {suffix} does not hold {video} video; use {_choices(container.video_codecs)}")
    audio = settings.audio_codec
    if audio not in ("auto", "copy", *container.audio_encodes):
        works = _choices(("auto", "copy", *container.audio_encodes))
        raise OutputError(f"{path}: {suffix} does not hold {audio} audio here; use {works} as audio codec")
    _check_encoder(path, video, settings, size)
    if dub_codec is not None:
        audio_codec_for(path, audio, container, dub_codec, starts_at_zero)


def _check_encoder(path: Path, video: str, settings: EncodeSettings, size: tuple[int, int] | None) -> None:
    encoder, quality, preset = ENCODERS[video], settings.quality, settings.preset
    for option, value, allowed in (("quality", quality, encoder.quality), ("encoder preset", preset, encoder.presets)):
        if value is not None and allowed is None:
            raise OutputError(f"{path}: {video} has no {option}; leave it out or choose another codec")
    if quality is not None and not encoder.quality.best <= quality <= encoder.quality.worst:
        raise OutputError(
            f"{path}: {video} has no quality {quality}; choose from {encoder.quality.best} (best) "
            f"to {encoder.quality.worst}"
        )
    if preset is not None and preset not in encoder.presets.names:
        raise OutputError(f"{path}: {video} has no encoder preset '{preset}'; use {_choices(encoder.presets.names)}")
    if size is not None and size[0] < encoder.min_width:
        raise OutputError(
            f"{path}: {video} takes no pictures narrower than {encoder.min_width} pixels, this one has {size[0]}; "
            "choose another codec"
        )


def audio_codec_for(path: Path, wanted: str, container: Container, codec: str, starts_at_zero: bool) -> str | None:
    """Codec to encode audio of `codec` with, or `None` to copy its packets; `OutputError` if it must be and cannot.

    A lossy stream cannot be copied from its middle on: its first packets need those before them. Where it stops
    does not matter.
    """
    is_taken = codec in container.audio_copies
    if wanted in ("auto", "copy") and is_taken:
        if codec.startswith("pcm_") or (codec in LOSSLESS and not starts_at_zero):
            return codec  # decoding and encoding again gives the same samples, cut where we like
        if starts_at_zero:
            return None
    if wanted == "copy":
        reason = "from its middle on" if is_taken else "into this container"
        raise OutputError(
            f"{path}: {codec} audio cannot be copied {reason}; choose "
            f"{_choices(('auto', *container.audio_encodes))} as audio codec instead"
        )
    return container.audio_encodes[0] if wanted == "auto" else wanted


def video_codec_for(container: Container, settings: EncodeSettings) -> str:
    """The codec asked for, or the container's first."""
    return settings.video_codec or container.video_codecs[0]


def pix_fmt_for(encoder: Encoder, settings: EncodeSettings, video: VideoInfo, size: tuple[int, int]) -> str:
    """Format of pictures encoded at `size` (width, height), which is kept exactly; 10 bits where `video` has them."""
    if settings.pix_fmt is not None:
        return settings.pix_fmt
    width, height = size
    halves_width, halves_height = ("420" in encoder.pix_fmt or "422" in encoder.pix_fmt), "420" in encoder.pix_fmt
    if (width % 2 and halves_width) or (height % 2 and halves_height):
        return encoder.pix_fmt_odd
    return encoder.pix_fmt_10 if video.bit_depth > 8 and not video.is_hdr else encoder.pix_fmt


def _choices(names: tuple[str, ...]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"
