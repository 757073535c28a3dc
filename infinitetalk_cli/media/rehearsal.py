"""Opening the encoders once before the work, so that an impossible output is told now and not after a night."""

from __future__ import annotations

import io
from fractions import Fraction
from pathlib import Path

import av
import av.container

from infinitetalk_cli.errors import OutputError
from infinitetalk_cli.media.containers import (
    EncodeSettings,
    audio_codec_for,
    check_output,
    container_of,
    video_codec_for,
)
from infinitetalk_cli.media.info import AudioInfo, MediaInfo
from infinitetalk_cli.media.picture import Picture
from infinitetalk_cli.media.probe import require_video
from infinitetalk_cli.media.tracks import encoding_stream


def rehearse_output(
    path: Path,
    settings: EncodeSettings,
    source: MediaInfo,
    dub_audio: AudioInfo,
    rate: Fraction,
    *,
    starts_at_zero: bool,
    size: tuple[int, int] | None = None,
    suffix: str | None = None,
) -> None:
    """`OutputError` if `write_output` could not set up its encoders for these arguments; nothing is written.

    `size` and `suffix` are its `size` and `container`; `starts_at_zero` says that its `audio_start_s` and
    `source_start_s` are 0. Takes some milliseconds, with av1 a second for pictures as large as 4K.
    """
    suffix = suffix or path.suffix
    video = require_video(path, source)
    width, height = size or video.upright_size
    check_output(path, settings, suffix, dub_codec=dub_audio.codec, starts_at_zero=starts_at_zero, size=(width, height))
    target = container_of(suffix, path)
    with av.open(io.BytesIO(), "w", format=target.muxer) as out:
        try:
            Picture(out, target, settings, source, rate, size).stream.codec_context.open(strict=False)
        except av.FFmpegError as exc:
            raise OutputError(
                f"{path}: {video_codec_for(target, settings)} cannot encode pictures of {width}x{height} at "
                f"{float(rate):g} frames per second with these settings ({exc.strerror}); choose another codec"
            ) from exc
        sounds = [(dub_audio, settings.audio_codec)]
        if settings.keep_original_audio:
            sounds += [(stream, "auto") for stream in source.audio]
        for stream, wanted in sounds:
            codec = audio_codec_for(path, wanted, target, stream.codec, starts_at_zero)
            if codec is not None:
                _open_audio(path, out, codec, stream)


def _open_audio(path: Path, out: av.container.OutputContainer, codec: str, stream: AudioInfo) -> None:
    try:
        encoding_stream(out, codec, stream)
    except av.FFmpegError as exc:
        raise OutputError(
            f"{path}: {codec} cannot encode {stream.layout} audio at {stream.rate_hz} Hz ({exc.strerror}); "
            "choose another audio codec"
        ) from exc
