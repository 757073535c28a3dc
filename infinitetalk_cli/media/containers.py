"""What can be written: containers by suffix, the codecs each takes, and how each codec is set up."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from infinitetalk_cli.errors import OutputError

if TYPE_CHECKING:  # a plan checks its output without loading PyAV
    from infinitetalk_cli.media.info import VideoInfo

VideoCodec = Literal["h264", "hevc", "av1", "vp9", "prores", "ffv1"]
AudioCodec = Literal["auto", "copy", "aac", "flac", "alac", "opus"]


@dataclass(frozen=True)
class EncodeSettings:
    """How the result is written; changing any of it re-runs nothing but the writing.

    `quality` is the codec's constant rate factor, lower is better, `None` its usual near-lossless value.
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
class Encoder:
    """One video encoder. All options, and the number of threads, are fixed: equal frames give equal files."""

    name: str
    quality: int | None
    pix_fmt: str
    pix_fmt_10: str
    pix_fmt_odd: str
    """For widths or heights that chroma at half size cannot hold."""
    presets: tuple[str, str] | None = None
    """Option's name and usual value."""
    options: tuple[tuple[str, str], ...] = ()
    threads: int = 4


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

ENCODERS = {
    "h264": Encoder(
        "libx264", 16, "yuv420p", "yuv420p", "yuv444p", ("preset", "medium"),
        # x264's macroblock tree gives other bytes from run to run on processors with AVX-512 (seen with PyAV 18.1).
        (("x264-params", "mbtree=0"),),
    ),
    "hevc": Encoder(
        "libx265", 18, "yuv420p", "yuv420p10le", "yuv444p", ("preset", "medium"),
        (("x265-params", "log-level=none:pools=4:frame-threads=2"),),
    ),
    "av1": Encoder(
        "libsvtav1", 22, "yuv420p", "yuv420p10le", "yuv420p", ("preset", "8"), (("svtav1-params", "lp=4"),)
    ),
    "vp9": Encoder(
        "libvpx-vp9", 20, "yuv420p", "yuv420p", "yuv420p", ("cpu-used", "4"),
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


def check_output(path: Path, settings: EncodeSettings, suffix: str | None = None, dub_codec: str | None = None) -> None:
    """`OutputError` if the container of `path` cannot hold what `settings` ask for; worth asking before the work.

    `dub_codec` is the codec of the new audio, to learn at once whether it can be copied.
    """
    suffix = suffix or path.suffix
    container = container_of(suffix, path)
    video = video_codec_for(container, settings)
    if video not in container.video_codecs:
        raise OutputError(f"{path}: {suffix} does not hold {video} video; use {_choices(container.video_codecs)}")
    audio = settings.audio_codec
    if audio not in ("auto", "copy", *container.audio_encodes):
        works = _choices(("auto", "copy", *container.audio_encodes))
        raise OutputError(f"{path}: {suffix} does not hold {audio} audio here; use {works}")
    encoder = ENCODERS[video]
    for option, value, allowed in (
        ("quality", settings.quality, encoder.quality is not None),
        ("preset", settings.preset, encoder.presets is not None),
    ):
        if value is not None and not allowed:
            raise OutputError(f"{path}: {video} has no {option}; leave it out or choose another codec")
    if dub_codec is not None:
        audio_codec_for(path, audio, container, dub_codec, is_whole=True)


def audio_codec_for(path: Path, wanted: str, container: Container, codec: str, is_whole: bool) -> str | None:
    """Codec to encode audio of `codec` with, or `None` to copy its packets; `OutputError` if it must be and cannot.

    A stretch from inside a lossy stream cannot be copied: its first packets need those before them.
    """
    is_taken = codec in container.audio_copies
    if wanted in ("auto", "copy") and is_taken:
        if codec.startswith("pcm_") or (codec in LOSSLESS and not is_whole):
            return codec  # decoding and encoding again gives the same samples, cut where we like
        if is_whole:
            return None
    if wanted == "copy":
        reason = "from its middle on" if is_taken else "into this container"
        raise OutputError(
            f"{path}: {codec} audio cannot be copied {reason}; choose {_choices(container.audio_encodes)} instead"
        )
    return container.audio_encodes[0] if wanted == "auto" else wanted


def video_codec_for(container: Container, settings: EncodeSettings) -> str:
    """The codec asked for, or the container's first."""
    return settings.video_codec or container.video_codecs[0]


def pix_fmt_for(encoder: Encoder, settings: EncodeSettings, video: VideoInfo) -> str:
    """Format of encoded pictures: the size is kept exactly, 10 bits where the source has them."""
    if settings.pix_fmt is not None:
        return settings.pix_fmt
    width, height = video.upright_size
    halves_width, halves_height = ("420" in encoder.pix_fmt or "422" in encoder.pix_fmt), "420" in encoder.pix_fmt
    if (width % 2 and halves_width) or (height % 2 and halves_height):
        return encoder.pix_fmt_odd
    return encoder.pix_fmt_10 if video.bit_depth > 8 and not video.is_hdr else encoder.pix_fmt


def _choices(names: tuple[str, ...]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"
