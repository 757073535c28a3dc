"""Looking at a media file: what it holds, and whether that is what a job needs."""

from __future__ import annotations

import math
import struct
import warnings
from fractions import Fraction
from itertools import islice
from pathlib import Path

import av
import av.container
from PIL import ExifTags, Image

from infinitetalk_cli.errors import InputError
from infinitetalk_cli.media import tags
from infinitetalk_cli.media.edges import MOST_PIXELS, UNDECODABLE, open_media
from infinitetalk_cli.media.info import AudioInfo, Chapter, MediaInfo, OtherStream, VideoInfo

_PACKETS_UNTIL_FIRST_FRAME = 600
"""Packets tried until one gives a picture: more than any group of pictures a broadcast may start inside."""

_RATES_HZ = range(1_000, 6_000_000)
"""Sample rates of recordings, telephones and one-bit ones (DSD) included; a damaged header may claim others."""

_EXIF_ORIENTATIONS = {
    1: (0, False), 2: (0, True), 3: (180, False), 4: (180, True),
    5: (270, True), 6: (90, False), 7: (90, True), 8: (270, False),
}  # fmt: skip


def probe(path: Path) -> MediaInfo:
    """Describe the media file at `path`; `InputError` if there is nothing of the kind.

    Cover art does not count as video. Of several video streams the one with most pixels is taken.
    """
    return _probe(path, needs_picture=True)


def probe_audio(path: Path) -> MediaInfo:
    """The same for a file of which only the sound is wanted: `video` is None, and no picture needs to be decodable."""
    return _probe(path, needs_picture=False)


def _probe(path: Path, needs_picture: bool) -> MediaInfo:
    with open_media(path) as container:
        if not container.streams.video and not container.streams.audio:
            raise InputError(f"{path}: has neither video nor audio; it may be damaged or cut short")
        stream = _main_video(container)
        start_s = _presentation_start(container, stream)
        audio = tuple(_audio_info(s, start_s) for s in container.streams.audio if _is_playable(s))
        chapters = tuple(_chapter(entry, start_s) for entry in container.chapters())
        metadata = dict(container.metadata)
        taken = {info.index for info in audio} | ({stream.index} if stream is not None else set())
        other = tuple(_other_info(s) for s in container.streams if s.index not in taken)
        duration_s = _duration(container, start_s, stream)
        format_name = container.format.name
        video, is_image = None, False
        if stream is not None and needs_picture:
            video, is_image = _video_info(path, container, stream, start_s)
    return MediaInfo(
        format_name=format_name,
        start_s=start_s,
        duration_s=Fraction(0) if is_image else duration_s,
        is_image=is_image,
        video=video,
        audio=audio,
        other=other,
        chapters=chapters,
        metadata=metadata,
    )


def require_video(path: Path, info: MediaInfo) -> VideoInfo:
    """The video stream of `info`, or an `InputError` about `path`."""
    if info.video is None:
        raise InputError(f"{path}: has no video stream; give a video or a picture")
    return info.video


def require_audio(path: Path, info: MediaInfo) -> AudioInfo:
    """The default audio stream of `info` (else its first), or an `InputError` about `path`."""
    if not info.audio:
        raise InputError(f"{path}: has no audio stream that can be decoded; give a file with speech")
    return next((stream for stream in info.audio if stream.is_default), info.audio[0])


def _is_cover(stream: av.stream.Stream) -> bool:
    covers = av.stream.Disposition.attached_pic | av.stream.Disposition.timed_thumbnails
    return bool(stream.disposition & covers)


def _main_video(container: av.container.InputContainer) -> av.VideoStream | None:
    streams = [s for s in container.streams.video if not _is_cover(s)]
    return max(streams, key=lambda s: s.width * s.height if s.codec_context is not None else -1, default=None)


def _presentation_start(container: av.container.InputContainer, video: av.VideoStream | None) -> Fraction:
    """Earliest start of the audio and video streams, where players put zero."""
    streams = [*container.streams.audio, *([video] if video is not None else [])]
    return min((s.start_time * s.time_base for s in streams if s.start_time is not None), default=Fraction(0))


def _start_of(stream: av.stream.Stream, start_s: Fraction) -> Fraction:
    return Fraction(0) if stream.start_time is None else stream.start_time * stream.time_base - start_s


def _duration_of(stream: av.stream.Stream) -> Fraction | None:
    return None if stream.duration is None else stream.duration * stream.time_base


def _duration(
    container: av.container.InputContainer, start_s: Fraction, video: av.VideoStream | None
) -> Fraction | None:
    streams = [*container.streams.audio, *([video] if video is not None else [])]
    stops = [_start_of(s, start_s) + s.duration * s.time_base for s in streams if s.duration is not None]
    if stops and len(stops) == len(streams):
        return max(stops)
    return None if container.duration is None else Fraction(container.duration, av.time_base)


def _is_playable(stream: av.AudioStream) -> bool:
    """Whether there is a decoder, and a header that makes sense."""
    context = stream.codec_context
    return context is not None and context.sample_rate in _RATES_HZ and context.channels > 0


def _audio_info(stream: av.AudioStream, start_s: Fraction) -> AudioInfo:
    context = stream.codec_context
    return AudioInfo(
        index=stream.index,
        codec=context.codec.canonical_name,
        rate_hz=context.sample_rate,
        channels=context.channels,
        layout=context.layout.name,
        language=stream.metadata.get("language"),
        title=stream.metadata.get("title") or stream.metadata.get("name"),
        is_default=bool(stream.disposition & av.stream.Disposition.default),
        start_s=_start_of(stream, start_s),
        duration_s=_duration_of(stream),
    )


def _other_info(stream: av.stream.Stream) -> OtherStream:
    context = stream.codec_context
    return OtherStream(
        index=stream.index,
        kind="cover" if stream.type == "video" and _is_cover(stream) else stream.type,
        codec=context.codec.canonical_name if context is not None else getattr(stream, "name", None),
        language=stream.metadata.get("language"),
    )


def _chapter(entry: dict, start_s: Fraction) -> Chapter:
    time_base = entry["time_base"]
    return Chapter(
        start_s=entry["start"] * time_base - start_s,
        stop_s=entry["end"] * time_base - start_s,
        metadata=entry["metadata"],
    )


def _video_info(
    path: Path, container: av.container.InputContainer, stream: av.VideoStream, start_s: Fraction
) -> tuple[VideoInfo, bool]:
    """The stream's description, and whether it is a still image."""
    context = stream.codec_context
    if context is None:
        raise InputError(f"{path}: the video's codec is not known here; convert it to h264 first")
    is_picture = container.format.name == "image2" or container.format.name.endswith("_pipe")
    _check_size(path, (context.width, context.height), is_picture)
    frame, is_single = _first_frame(path, container, stream, is_picture)
    _check_size(path, (frame.width, frame.height))
    rotation, is_mirrored = _orientation(path, frame)
    aspect = stream.sample_aspect_ratio
    matrix, color_range = _matrix_and_range(frame, stream)
    info = VideoInfo(
        index=stream.index,
        codec=context.codec.canonical_name,
        width=frame.width,
        height=frame.height,
        rotation=rotation,
        is_mirrored=is_mirrored,
        sample_aspect_ratio=aspect if aspect else Fraction(1),
        pix_fmt=frame.format.name,
        bit_depth=max(component.bits for component in frame.format.components),
        has_alpha=frame.format.has_palette or any(c.is_alpha for c in frame.format.components),
        is_interlaced=frame.interlaced_frame or context.field_order > 1,
        color_primaries=tags.PRIMARIES.get(frame.color_primaries) or tags.PRIMARIES.get(stream.color_primaries),
        color_transfer=tags.TRANSFERS.get(frame.color_trc) or tags.TRANSFERS.get(stream.color_trc),
        color_space=matrix,
        color_range=color_range,
        time_base=stream.time_base,
        average_rate=stream.average_rate or None,
        start_s=_start_of(stream, start_s),
        duration_s=_duration_of(stream),
        num_frames=stream.frames or None,
    )
    return info, is_picture or (is_single and not container.streams.audio)


def _check_size(path: Path, size: tuple[int, int], is_picture: bool = False) -> None:
    """`InputError` if a picture of `size` (width, height), perhaps unknown, is more than we decode."""
    is_bomb = is_picture and 0 in size and _is_large_for_pillow(path)  # the decoder has refused to look at it
    if is_bomb or size[0] * size[1] > MOST_PIXELS:
        shape = "" if is_bomb else f" of {size[0]}x{size[1]}"
        raise InputError(
            f"{path}: its picture{shape} has more than {MOST_PIXELS / 1e6:.0f} million pixels; make it smaller first"
        )


def _first_frame(
    path: Path, container: av.container.InputContainer, stream: av.VideoStream, is_picture: bool
) -> tuple[av.VideoFrame, bool]:
    """The first picture that decodes, and whether the stream has no second packet."""
    stream.thread_type = "SLICE"  # frame threads would ask for many packets before the first picture
    num_packets, frame, context = 0, None, stream.codec_context
    for packet in islice(container.demux(stream), _PACKETS_UNTIL_FIRST_FRAME):
        num_packets += packet.size > 0
        if is_picture and packet.size and context.name == "mjpeg" and _is_cut_jpeg(bytes(packet)):
            raise InputError(f"{path}: the picture is cut short; copy or download it again")
        if frame is None:
            frame = next(iter(_decoded(packet)), None)
        if frame is not None and num_packets > 1:
            break
    if frame is None:
        raise InputError(f"{path}: no picture of its {context.name} video can be decoded; is it damaged?")
    return frame, num_packets == 1


def _is_cut_jpeg(data: bytes) -> bool:
    """The marker that ends a picture does not follow the one that starts its samples; decoders paint it grey."""
    return data.rfind(b"\xff\xd9") < data.rfind(b"\xff\xda")


def _decoded(packet: av.Packet) -> list[av.VideoFrame]:
    try:
        return packet.decode()
    except UNDECODABLE:  # recordings may start in the middle of a group of pictures
        return []


def _matrix_and_range(frame: av.VideoFrame, stream: av.VideoStream) -> tuple[str | None, str | None]:
    is_rgb = frame.format.is_rgb or frame.format.has_palette
    matrix = tags.MATRICES.get(frame.colorspace, tags.MATRICES.get(stream.colorspace))
    if is_rgb or matrix == "gbr":
        return "gbr", "pc"
    color_range = tags.RANGES.get(frame.color_range, tags.RANGES.get(stream.color_range))
    if color_range is None and frame.format.name.startswith("yuvj"):
        color_range = "pc"
    return matrix, color_range


def _orientation(path: Path, frame: av.VideoFrame) -> tuple[int, bool]:
    """(degrees clockwise, mirrored first) that show `frame` upright."""
    try:
        matrix = next((bytes(data) for data in frame.side_data if data.type.name == "DISPLAYMATRIX"), None)
    except ValueError:  # PyAV cannot list side data that it has no name for, such as a photo's EXIF
        return _exif_orientation(path) or (-frame.rotation % 360, False)
    if matrix is None:
        return 0, False
    # A point (x, y) goes to (a x + c y, b x + d y), y pointing down, as 16.16 fixed point: a b u c d v x y w.
    a, b, _, c, d, *_ = struct.unpack("=9i", matrix)
    is_mirrored = a * d - b * c < 0
    if is_mirrored:
        a, b = -a, -b
    return round(math.degrees(math.atan2(b, a)) / 90) * 90 % 360, is_mirrored


def _is_large_for_pillow(path: Path) -> bool:
    """Whether the header of a picture claims more than `MOST_PIXELS`; False if it is none that Pillow opens."""
    try:
        with warnings.catch_warnings(action="ignore"), Image.open(path) as picture:
            return math.prod(picture.size) > MOST_PIXELS
    except Image.DecompressionBombError:
        return True
    except (OSError, SyntaxError, ValueError):
        return False


def _exif_orientation(path: Path) -> tuple[int, bool] | None:
    """The same from the EXIF of a picture, `None` if the file is none that Pillow opens."""
    try:
        with Image.open(path) as picture:
            return _EXIF_ORIENTATIONS.get(picture.getexif().get(ExifTags.Base.Orientation, 1))
    except (OSError, SyntaxError, ValueError):
        return None
