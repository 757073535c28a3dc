"""The exact timeline of a source, read from its packets without decoding them where possible."""

from __future__ import annotations

import logging
from array import array
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
import av.container
import numpy as np

from infinitetalk_cli.errors import InputError
from infinitetalk_cli.media.edges import UNDECODABLE, open_media
from infinitetalk_cli.media.info import MediaInfo, VideoInfo
from infinitetalk_cli.media.probe import require_video
from infinitetalk_cli.media.timeline import SourceTimeline, common_time_base
from infinitetalk_cli.progress import Progress, SilentProgress

log = logging.getLogger(__name__)

_PROMISE_SLACK_S = Fraction(1, 5)
"""Headers round, and count a last frame's duration differently; a cut file lacks more than this."""

_KEEPS_PROMISES = {"mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm", "avi"}
"""Formats whose header holds the true duration; that of others is measured or guessed.

Their packets are corrupt only where the file ends early; in transport streams any lost packet makes them so.
"""

_STORES_NO_TIMES = {"avi"}
"""Formats whose time stamps are the order of decoding, which differs from that of showing with B-frames."""


@dataclass
class _Scan:
    """What the packets of the video stream say, in units of the stream's time base."""

    pts: array = field(default_factory=lambda: array("q"))
    keys: array = field(default_factory=lambda: array("b"))
    stop: int = 0
    last_duration: int = 0
    is_reordered: bool = False
    num_untimed: int = 0
    num_partial: int = 0
    """Packets of any stream whose bytes end early."""
    file_stop_s: Fraction = Fraction(0)
    """End of the last readable packet of any stream, on the container's clock."""

    def add(self, pts: int, duration: int, is_key: bool) -> None:
        self.pts.append(pts)
        self.keys.append(is_key)
        if pts + duration >= self.stop:
            self.stop, self.last_duration = pts + duration, duration


def scan_timeline(path: Path, info: MediaInfo, progress: Progress | None = None) -> SourceTimeline:
    """Exact times of all frames of the video in `path`, which `info` describes.

    Raises `InputError` if the file ends earlier than it promises, naming how many seconds are readable.
    """
    video = require_video(path, info)
    if info.is_image:
        return SourceTimeline.still()
    progress = progress or SilentProgress()
    progress.start("reading time stamps", video.num_frames)
    scan = _scan_packets(path, info, video, progress)
    is_seekable = scan.num_untimed == 0 and not (scan.is_reordered and info.format_name in _STORES_NO_TIMES)
    if not is_seekable:
        log.info("%s: no usable time stamps; counting its frames", path)
        scan = _scan_frames(path, info, video, scan, progress)
    if not scan.pts:
        raise InputError(f"{path}: its video stream holds no frames; the file may be cut short")
    _check_promise(path, info, video, scan)
    return _timeline(path, info, video, scan, is_seekable)


def _scan_packets(path: Path, info: MediaInfo, video: VideoInfo, progress: Progress) -> _Scan:
    scan = _Scan()
    with open_media(path) as container:
        scan.is_reordered = container.streams[video.index].codec_context.has_b_frames
        for packet in container.demux():
            if packet.size == 0:
                continue
            if packet.is_corrupt and info.format_name in _KEEPS_PROMISES:
                scan.num_partial += 1
                continue
            when = packet.pts if packet.pts is not None else packet.dts
            if when is not None:
                scan.file_stop_s = max(scan.file_stop_s, (when + (packet.duration or 0)) * packet.time_base)
            if packet.stream_index != video.index or packet.is_discard:
                continue
            progress.advance()
            if packet.pts is None:
                scan.num_untimed += 1
            else:
                scan.add(packet.pts, packet.duration or 0, packet.is_keyframe)
    return scan


def _scan_frames(path: Path, info: MediaInfo, video: VideoInfo, packets: _Scan, progress: Progress) -> _Scan:
    """Count frames as they are decoded, at the stream's own rate, from where the stream says it starts."""
    rate = video.average_rate
    if rate is None:
        raise InputError(f"{path}: its video has neither time stamps nor a frame rate; convert it to mp4 first")
    scan = _Scan(file_stop_s=packets.file_stop_s, num_partial=packets.num_partial)
    step = 1 / rate / video.time_base
    first = round((video.start_s + info.start_s) / video.time_base)
    with open_media(path) as container:
        stream = container.streams[video.index]
        stream.thread_type = "AUTO"
        for index, _ in enumerate(_decoded(container, stream)):
            progress.advance()
            scan.add(first + round(index * step), round(step), index == 0)
    return scan


def _decoded(container: av.container.InputContainer, stream: av.VideoStream) -> Iterator[av.VideoFrame]:
    for packet in container.demux(stream):
        with suppress(*UNDECODABLE):
            yield from packet.decode()


def _check_promise(path: Path, info: MediaInfo, video: VideoInfo, scan: _Scan) -> None:
    """`InputError` if the container announced more than could be read."""
    if info.format_name not in _KEEPS_PROMISES:
        return
    read_s = scan.stop * video.time_base - info.start_s - video.start_s
    promised_s = video.duration_s
    if promised_s is None and info.duration_s is not None:
        read_s, promised_s = scan.file_stop_s - info.start_s, info.duration_s
    if scan.num_partial or (promised_s is not None and promised_s - read_s > _PROMISE_SLACK_S):
        promise = f"it promises {float(promised_s):.2f} s and " if promised_s is not None else ""
        raise InputError(
            f"{path}: the file is cut short: {promise}only {float(max(read_s, Fraction(0))):.2f} s can be read; "
            "copy or download it again"
        )


def _timeline(path: Path, info: MediaInfo, video: VideoInfo, scan: _Scan, is_seekable: bool) -> SourceTimeline:
    pts, firsts = np.unique(np.frombuffer(scan.pts, np.int64), return_index=True)
    keyframes = np.frombuffer(scan.keys, np.int8).astype(bool)[firsts]
    stop = scan.stop
    if scan.last_duration == 0:
        stop += int(np.median(np.diff(pts))) if len(pts) > 1 else 0
    # The start may lie between two ticks of the video's clock when audio begins first.
    unit = common_time_base(video.time_base, info.start_s) if info.start_s else video.time_base
    scale, shift = int(video.time_base / unit), int(info.start_s / unit)
    edges = [tick * scale - shift for tick in (int(pts[0]), int(pts[-1]), stop)]
    if max(map(abs, (*edges, *unit.as_integer_ratio()))) >= 2**62:
        raise InputError(f"{path}: its time stamps are damaged; convert it to mp4 first")
    return SourceTimeline(pts * scale - shift, stop * scale - shift, unit, keyframes, is_seekable)
