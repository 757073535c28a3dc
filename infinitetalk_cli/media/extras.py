"""What an output keeps of its source beside picture and sound: subtitles, cover art, attachments, chapters, tags."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from fractions import Fraction
from pathlib import Path

import av
import av.container

from infinitetalk_cli.media import tags
from infinitetalk_cli.media.containers import Container
from infinitetalk_cli.media.edges import open_media
from infinitetalk_cli.media.info import Chapter, MediaInfo, OtherStream
from infinitetalk_cli.media.tracks import Feeder, Timed

log = logging.getLogger(__name__)

_FILE_TAGS = {"major_brand", "minor_version", "compatible_brands", "encoder", "duration"}
"""Tags that describe the old file rather than what it shows."""
_STREAM_TAGS = {"encoder", "vendor_id", "rotate", "creation_time", "bps", "number_of_frames", "number_of_bytes"}

_CHAPTER_UNIT = Fraction(1, 1000)

Rewriter = Callable[[av.Packet], list[av.Packet]]
"""Packets of the output stream for one of the source's; empty if nothing of it is shown."""


def output_metadata(source: Mapping[str, str], added: Mapping[str, str]) -> dict[str, str]:
    """The source's tags without those of its container, then `added`."""
    kept = {key: value for key, value in source.items() if key.lower() not in _FILE_TAGS}
    replaced = {key.lower() for key in added}
    return {key: value for key, value in kept.items() if key.lower() not in replaced} | dict(added)


def stream_metadata(path: Path, index: int, muxer: str) -> dict[str, str]:
    """A stream's tags for `muxer`, without those that the old file's muxer or statistics put there."""
    with open_media(path) as source:
        return _stream_tags(source.streams[index], muxer)


def _stream_tags(stream: av.stream.Stream, muxer: str) -> dict[str, str]:
    def is_kept(key: str) -> bool:
        key = key.lower()
        return key not in _STREAM_TAGS and not key.startswith(("_statistics", "duration", "bps-", "number_of_"))

    kept = {key: value for key, value in stream.metadata.items() if is_kept(key)}
    if "language" in kept:
        kept["language"] = tags.language_for(muxer, kept["language"])
    return kept


def output_chapters(chapters: Sequence[Chapter], start_s: Fraction, stop_s: Fraction) -> list[dict]:
    """PyAV's form of the chapters that reach into `[start_s, stop_s)`, cut to it and counted from its start."""
    kept = [c for c in chapters if c.stop_s > start_s and c.start_s < stop_s]
    return [
        {
            "id": number,
            "start": round((max(chapter.start_s, start_s) - start_s) / _CHAPTER_UNIT),
            "end": round((min(chapter.stop_s, stop_s) - start_s) / _CHAPTER_UNIT),
            "time_base": _CHAPTER_UNIT,
            "metadata": chapter.metadata,
        }
        for number, chapter in enumerate(kept)
    ]


def add_extras(
    out: av.container.OutputContainer,
    target: Container,
    path: Path,
    info: MediaInfo,
    start_s: Fraction,
    stop_s: Fraction,
    keeps_cover: bool,
) -> list[Feeder]:
    """Add the source's other streams to `out`; those that `target` refuses are dropped with a warning."""
    if info.is_image or not info.other:
        return []
    rewriters: dict[int, Rewriter] = {}
    with open_media(path) as source:
        for other in info.other:
            if other.codec == "bin_data" and info.chapters:
                continue  # QuickTime's track of chapter titles, kept as chapters
            if other.kind == "cover" and not keeps_cover:
                log.warning("the source's cover art cannot be kept beside its tags in this container")
                continue
            rewriter = _add_stream(out, target, source.streams[other.index], other)
            if rewriter is not None:
                rewriters[other.index] = rewriter
    return [Feeder(_packets(path, info, rewriters, start_s, stop_s))] if rewriters else []


def _add_stream(
    out: av.container.OutputContainer, target: Container, stream: av.stream.Stream, other: OtherStream
) -> Rewriter | None:
    """Add `stream` to `out`; returns what turns its packets into the output's, `None` if there are none."""
    if other.kind == "attachment" and target.muxer == "matroska":
        out.add_attachment(stream.name or "attachment", stream.mimetype or "application/octet-stream", stream.data)
        return None
    if other.kind == "cover" and target.muxer == "matroska":
        _attach_cover(out, stream)
        return None
    if other.kind in ("cover", "subtitle", "data") and _accepts(target.muxer, stream):
        added = out.add_stream_from_template(stream, opaque=True)
        added.disposition = stream.disposition
        added.metadata.update(_stream_tags(stream, target.muxer))
        return lambda packet: _handed_over(packet, added)
    if other.kind == "subtitle" and stream.codec_context is not None and stream.codec_context.codec.text_sub:
        return _converted_text(out, target, stream)
    log.warning("the source's %s stream %d (%s) cannot be kept in this container", other.kind, other.index, other.codec)
    return None


def _accepts(muxer: str, stream: av.stream.Stream) -> bool:
    """Whether a file with `stream` alone can be begun."""
    try:
        with av.open(io.BytesIO(), "w", format=muxer) as trial:
            trial.add_stream_from_template(stream, opaque=True).disposition = stream.disposition
            trial.start_encoding()
    except (av.FFmpegError, ValueError):
        return False
    return True


def _handed_over(packet: av.Packet, stream: av.stream.Stream) -> list[av.Packet]:
    packet.stream = stream
    return [packet]


def _attach_cover(out: av.container.OutputContainer, stream: av.VideoStream) -> None:
    """Matroska keeps cover art as an attached file."""
    packet = next(stream.container.demux(stream))
    suffix = {"mjpeg": "jpg"}.get(stream.codec_context.name, stream.codec_context.name)
    mimetype = {"jpg": "image/jpeg"}.get(suffix, f"image/{suffix}")
    out.add_attachment(f"cover.{suffix}", mimetype, bytes(packet))


def _converted_text(out: av.container.OutputContainer, target: Container, stream: av.stream.Stream) -> Rewriter:
    """Subtitles in the container's own text codec, styles kept as far as it knows them."""
    decoder = stream.codec_context.codec.create()
    decoder.extradata = stream.codec_context.extradata
    decoder.open()
    added = out.add_stream(target.text_codec)
    added.codec_context.subtitle_header = decoder.subtitle_header
    added.codec_context.time_base = Fraction(1, 1000)
    added.time_base = Fraction(1, 1000)
    added.metadata.update(_stream_tags(stream, target.muxer))
    added.disposition = stream.disposition

    def convert(packet: av.Packet) -> list[av.Packet]:
        subtitles = decoder.decode2(packet)
        if subtitles is None:
            return []
        encoded = added.codec_context.encode_subtitle(subtitles)
        encoded.time_base = packet.time_base
        encoded.pts = encoded.dts = packet.pts
        encoded.duration = packet.duration
        return _handed_over(encoded, added)

    return convert


def _packets(
    path: Path, info: MediaInfo, rewriters: Mapping[int, Rewriter], start_s: Fraction, stop_s: Fraction
) -> Iterator[Timed]:
    """All streams of `rewriters` in one pass, moved so that `start_s` becomes 0; what lies outside is left out."""
    with open_media(path) as source:
        for packet in source.demux([source.streams[index] for index in rewriters]):
            if packet.size == 0 or not _move(packet, info, start_s, stop_s):
                continue
            time_s = packet.pts * packet.time_base
            for rewritten in rewriters[packet.stream_index](packet):
                yield time_s, rewritten


def _move(packet: av.Packet, info: MediaInfo, start_s: Fraction, stop_s: Fraction) -> bool:
    """Count the packet's times from `start_s` and cut them to the stretch; False if it lies outside."""
    if packet.stream.type == "video":  # cover art has no time
        packet.pts = packet.dts = 0
        return True
    if packet.pts is None:
        return False
    shift, length = (round(time_s / packet.time_base) for time_s in (info.start_s + start_s, stop_s - start_s))
    first, last = packet.pts - shift, packet.pts - shift + (packet.duration or 0)
    if first >= length or (first < 0 and last <= 0):
        return False
    packet.pts = packet.dts = max(0, first)
    if packet.duration:
        packet.duration = min(last, length) - packet.pts
    return True
