"""The finished file: generated frames at the source's shape, the new audio, and all else the source had."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from fractions import Fraction
from pathlib import Path

import av
import av.container
import numpy as np

from infinitetalk_cli.media import tags
from infinitetalk_cli.media.audio import is_copyable
from infinitetalk_cli.media.containers import (
    Container,
    EncodeSettings,
    audio_codec_for,
    check_output,
    container_of,
)
from infinitetalk_cli.media.edges import url_of, writing
from infinitetalk_cli.media.extras import add_extras, output_chapters, output_metadata, stream_metadata
from infinitetalk_cli.media.info import MediaInfo
from infinitetalk_cli.media.picture import Picture
from infinitetalk_cli.media.probe import probe_audio, require_audio, require_video
from infinitetalk_cli.media.tracks import AudioCut, Feeder, add_audio
from infinitetalk_cli.progress import Progress, SilentProgress

log = logging.getLogger(__name__)

# What the iTunes atoms of an mp4 can hold; other keys need QuickTime's free-form ones, which fewer programs show.
_ITUNES_KEYS = {
    "title", "artist", "album_artist", "composer", "album", "date", "encoder", "comment", "genre", "copyright",
    "grouping", "lyrics", "description", "synopsis", "show", "episode_id", "network", "keywords", "track", "disc",
    "creation_time", "compilation", "gapless_playback", "hd_video", "media_type",
}  # fmt: skip


def write_output(
    path: Path,
    frames: Iterable[np.ndarray],
    num_frames: int,
    rate: Fraction,
    *,
    source: Path,
    source_info: MediaInfo,
    dub_audio: Path,
    audio_start_s: Fraction = Fraction(0),
    audio_stop_s: Fraction | None = None,
    source_start_s: Fraction = Fraction(0),
    settings: EncodeSettings = EncodeSettings(),
    metadata: Mapping[str, str] | None = None,
    dub_language: str | None = None,
    container: str | None = None,
    size: tuple[int, int] | None = None,
    progress: Progress | None = None,
) -> None:
    """Write `num_frames` frames `(h, w, 3)` uint8 RGB at `rate` and `[audio_start_s, audio_stop_s)` of `dub_audio`.

    Frames of any size are scaled to `size` (width, height), None for the source's upright one. The source's
    subtitles, attachments, chapters and tags come along from `source_start_s` on, its audio too if the settings
    say so. `container` is a suffix such as ".mp4" for paths that end otherwise. The same arguments give the same
    bytes.
    Raises `OutputError` if the file cannot be written as asked, `ResourceError` if the disk is full.
    """
    suffix = container or path.suffix
    video = require_video(source, source_info)
    check_output(path, settings, suffix, size=size or video.upright_size)
    target = container_of(suffix, path)
    stop_s = source_start_s + num_frames / rate
    dub_info = probe_audio(dub_audio)
    dub = AudioCut(dub_audio, dub_info, require_audio(dub_audio, dub_info), audio_start_s, audio_stop_s)
    originals = [
        AudioCut(source, source_info, stream, source_start_s, stop_s)
        for stream in source_info.audio
        if settings.keep_original_audio
    ]
    tagging = output_metadata(source_info.metadata, metadata or {})
    muxer_options, keeps_cover = _muxer_options(target, tagging)
    progress = progress or SilentProgress()
    progress.start("writing the video", num_frames)
    with writing(path), av.open(url_of(path), "w", format=target.muxer, container_options=muxer_options) as out:
        out.flags |= av.container.Flags.bitexact.value
        out.metadata.update(tagging)
        picture = Picture(out, target, settings, source_info, rate, size)
        picture.stream.metadata.update(stream_metadata(source, video.index, target.muxer))
        feeders = [_add_dub(path, out, target, settings, dub, dub_language)]
        feeders += [_add_original(path, out, target, cut) for cut in originals]
        feeders += add_extras(out, target, source, source_info, source_start_s, stop_s, keeps_cover)
        out.set_chapters(output_chapters(source_info.chapters, source_start_s, stop_s))
        _mux(out, picture, frames, num_frames, rate, feeders, progress)


def _mux(
    out: av.container.OutputContainer,
    picture: Picture,
    frames: Iterable[np.ndarray],
    num_frames: int,
    rate: Fraction,
    feeders: list[Feeder],
    progress: Progress,
) -> None:
    count = 0
    for pixels in frames:
        for feeder in feeders:
            out.mux(feeder.until(count / rate))
        out.mux(picture.encode(pixels, count))
        count += 1
        progress.advance()
    assert count == num_frames, f"{count} frames came, {num_frames} were announced"
    out.mux(picture.stream.encode(None))
    for feeder in feeders:
        out.mux(feeder.until(None))


def _muxer_options(target: Container, metadata: Mapping[str, str]) -> tuple[dict[str, str], bool]:
    """Options that keep all of `metadata`, and whether cover art can be kept with them."""
    if target.muxer not in ("mp4", "mov"):
        return {}, target.muxer == "matroska"
    is_free_form = target.muxer == "mov" or not _ITUNES_KEYS.issuperset(key.lower() for key in metadata)
    return {"movflags": "+faststart+use_metadata_tags" if is_free_form else "+faststart"}, not is_free_form


def _add_dub(
    path: Path,
    out: av.container.OutputContainer,
    target: Container,
    settings: EncodeSettings,
    audio: AudioCut,
    language: str | None,
) -> Feeder:
    codec = _audio_codec(path, settings.audio_codec, target, audio)
    log.info("new audio: %s", f"{audio.stream.codec} copied" if codec is None else f"encoded as {codec}")
    feeder = add_audio(out, codec, audio)
    stream = out.streams[-1]
    stream.disposition = av.stream.Disposition.default
    if language is not None:
        stream.metadata["language"] = tags.language_for(target.muxer, language)
    return feeder


def _audio_codec(path: Path, wanted: str, target: Container, audio: AudioCut) -> str | None:
    """See `audio_codec_for`; where that is left to us, damaged sound is not copied: some players stumble over it."""
    codec = audio_codec_for(path, wanted, target, audio.stream.codec, audio.start_s == 0)
    if codec is None and wanted == "auto" and not is_copyable(audio.path, audio.stream):
        codec = audio_codec_for(path, wanted, target, audio.stream.codec, starts_at_zero=False)
        log.warning("%s: its sound is damaged, so it is not copied but encoded as %s", audio.path, codec)
    return codec


def _add_original(path: Path, out: av.container.OutputContainer, target: Container, audio: AudioCut) -> Feeder:
    codec = _audio_codec(path, "auto", target, audio)
    feeder = add_audio(out, codec, audio)
    stream = out.streams[-1]
    stream.disposition = av.stream.Disposition.original
    title = "original" if not audio.stream.title else f"original: {audio.stream.title}"
    stream.metadata.update({"title": title, "handler_name": title})
    if audio.stream.language is not None:
        stream.metadata["language"] = tags.language_for(target.muxer, audio.stream.language)
    return feeder
