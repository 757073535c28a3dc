"""Clips and sounds made by the tests: every frame carries its number as blocks, and patches of known colours."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
import av.filter
import numpy as np
from av.video.reformatter import Interpolation, VideoReformatter

NUMBER_BITS = 12
_COLUMNS, _ROWS = 4, 3
_NUMBER_SHARE = 0.6  # of the height; the colour patches stand below

COLORS = np.array([(200, 50, 50), (50, 160, 70), (60, 70, 190), (128, 128, 128)], np.uint8)
"""RGB of the four patches along the lower edge, left to right."""

_VIDEO_CODECS = {
    ".mp4": "libx264", ".mov": "libx264", ".mkv": "libx264", ".webm": "libvpx-vp9", ".avi": "mpeg4",
    ".ts": "libx264", ".wmv": "wmv2", ".gif": "gif", ".png": "png", ".jpg": "mjpeg",
}  # fmt: skip
_AUDIO_CODECS = {
    ".mp4": "aac", ".mov": "aac", ".mkv": "aac", ".webm": "libopus", ".avi": "libmp3lame", ".ts": "aac",
    ".wav": "pcm_s16le", ".flac": "flac", ".mp3": "libmp3lame", ".m4a": "aac", ".ogg": "vorbis", ".opus": "libopus",
}  # fmt: skip
_LAYOUTS = {1: "mono", 2: "stereo", 3: "2.1", 4: "4.0", 5: "5.0", 6: "5.1", 7: "6.1", 8: "7.1"}
_FORMATS = {".wmv": "asf", ".ts": "mpegts", ".m4a": "mp4", ".opus": "ogg", ".png": "image2", ".jpg": "image2"}
_FAST = {
    "libx264": {"preset": "ultrafast", "crf": "12"},
    "libx265": {"preset": "ultrafast", "crf": "10", "x265-params": "log-level=none:pools=1"},
    "libvpx-vp9": {"deadline": "realtime", "cpu-used": "8", "crf": "10"},
}
_FLAGS = Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INP | Interpolation.BITEXACT
_TAGS = {
    "matrix": {"gbr": 0, "bt709": 1, "bt470bg": 5, "smpte170m": 6, "bt2020nc": 9},
    "primaries": {"bt709": 1, "smpte170m": 6, "bt2020": 9, "smpte432": 12},
    "transfer": {"bt709": 1, "smpte170m": 6, "smpte2084": 16, "arib-std-b67": 18},
    "range": {"tv": 1, "pc": 2},
}


# Pictures


def draw(number: int, width: int = 96, height: int = 64) -> np.ndarray:
    """`(h, w, 3)` uint8 RGB that shows `number` as bright and dark blocks above four `COLORS`."""
    pixels = np.full((height, width, 3), 90, np.uint8)
    for bit in range(NUMBER_BITS):
        rows, columns = _cell(bit, width, height)
        pixels[rows, columns] = 225 if number >> bit & 1 else 25
    for place, color in enumerate(COLORS):
        rows, columns = _patch(place, width, height)
        pixels[rows, columns] = color
    return pixels


def read_frame_number(pixels: np.ndarray) -> int:
    """The number `draw` put into an upright picture, whatever its size."""
    height, width = pixels.shape[:2]
    cells = (_inner(*_cell(bit, width, height)) for bit in range(NUMBER_BITS))
    return sum(int(pixels[rows, columns].mean() > 125) << bit for bit, (rows, columns) in enumerate(cells))


def read_colors(pixels: np.ndarray) -> np.ndarray:
    """`(4, 3)` float mean RGB inside the patches, to be compared with `COLORS`."""
    height, width = pixels.shape[:2]
    patches = (_inner(*_patch(place, width, height)) for place in range(len(COLORS)))
    return np.array([pixels[rows, columns].mean(axis=(0, 1)) for rows, columns in patches])


def _cell(bit: int, width: int, height: int) -> tuple[slice, slice]:
    row, column = divmod(bit, _COLUMNS)
    step = height * _NUMBER_SHARE / _ROWS
    return slice(round(row * step), round((row + 1) * step)), _slice(column, _COLUMNS, width)


def _patch(place: int, width: int, height: int) -> tuple[slice, slice]:
    return slice(round(height * _NUMBER_SHARE), height), _slice(place, len(COLORS), width)


def _slice(place: int, count: int, length: int) -> slice:
    return slice(round(place * length / count), round((place + 1) * length / count))


def _inner(rows: slice, columns: slice) -> tuple[slice, slice]:
    """The middle half of a block, away from its blurred edges."""
    return tuple(slice(s.start + (s.stop - s.start) // 4, s.stop - (s.stop - s.start) // 4) for s in (rows, columns))


# Sounds: float32 (n, channels) in [-1, 1]


def silence(duration_s: float = 1.0, rate_hz: int = 48_000, channels: int = 1) -> np.ndarray:
    return np.zeros((round(duration_s * rate_hz), channels), np.float32)


def tone(duration_s: float = 1.0, rate_hz: int = 48_000, channels: int = 1, hz: float = 440.0) -> np.ndarray:
    times = np.arange(round(duration_s * rate_hz)) / rate_hz
    return np.repeat(0.5 * np.sin(2 * math.pi * hz * times)[:, None], channels, axis=1).astype(np.float32)


def click(at_s: float, duration_s: float = 1.0, rate_hz: int = 48_000, channels: int = 1) -> np.ndarray:
    """Silence with one short 3 kHz pulse whose peak stands at `at_s`: sharp, yet no codec loses it."""
    times = np.arange(round(duration_s * rate_hz)) / rate_hz - at_s
    pulse = 0.9 * np.exp(-((times / 0.0006) ** 2)) * np.cos(2 * math.pi * 3000 * times)
    return np.repeat(pulse[:, None], channels, axis=1).astype(np.float32)


def click_time(samples: np.ndarray, rate_hz: int) -> float:
    """Seconds at which the pulse of `click` stands: centre of its energy around the peak."""
    power = np.square(samples.reshape(len(samples), -1).mean(axis=1, dtype=np.float64))
    peak = int(power.argmax())
    first = max(0, peak - rate_hz // 200)
    near = power[first : peak + rate_hz // 200]
    return float((np.arange(len(near)) * near).sum() / near.sum() + first) / rate_hz


def speech(duration_s: float = 2.0, rate_hz: int = 48_000, channels: int = 1, seed: int = 0) -> np.ndarray:
    """Speech-like sound: voiced syllables of harmonics under moving formants, with pauses and hissing onsets."""
    random = np.random.default_rng(seed)
    num_samples = round(duration_s * rate_hz)
    times = np.arange(num_samples) / rate_hz
    loudness, hiss = np.zeros(num_samples), np.zeros(num_samples)
    start_s = 0.1
    while start_s < duration_s:
        length_s = random.uniform(0.12, 0.28)
        loudness += random.uniform(0.5, 1.0) * np.exp(-(((times - start_s - length_s / 2) / (length_s / 3)) ** 2))
        hiss += np.exp(-(((times - start_s) / 0.02) ** 2))
        start_s += length_s + random.uniform(0.02, 0.15)
    pitch_hz = 130 + 25 * np.sin(2 * math.pi * 0.7 * times)
    phase = 2 * math.pi * np.cumsum(pitch_hz) / rate_hz
    formant_hz = 650 + 350 * np.sin(2 * math.pi * 2.3 * times)
    voice = sum(np.exp(-(((k * pitch_hz - formant_hz) / 500) ** 2)) * np.sin(k * phase) for k in range(1, 12))
    mixed = 0.25 * loudness * voice + 0.04 * hiss * random.standard_normal(num_samples)
    return np.repeat(np.clip(mixed, -1, 1)[:, None], channels, axis=1).astype(np.float32)


# Files


@dataclass(frozen=True)
class ClipAudio:
    """Sound for `make_clip`: `(n, channels)` float32 at `rate_hz`, beginning at `start_s`."""

    samples: np.ndarray
    rate_hz: int = 48_000
    codec: str | None = None
    language: str | None = None
    title: str | None = None
    start_s: Fraction = Fraction(0)
    layout: str | None = None


@dataclass(frozen=True)
class Clip:
    """What `make_clip` writes. `times_s` replaces the even spacing; sizes are upright; `tags` name colours."""

    num_frames: int = 50
    size: tuple[int, int] = (96, 64)
    rate: Fraction = Fraction(25)
    times_s: Sequence[Fraction] | None = None
    start_s: Fraction = Fraction(0)
    codec: str | None = None
    pix_fmt: str | None = None
    gop: int = 12
    b_frames: int = 2
    rotation: int = 0
    is_mirrored: bool = False
    sample_aspect_ratio: Fraction | None = None
    tags: dict[str, str] = field(default_factory=dict)
    is_interlaced: bool = False
    audio: tuple[ClipAudio, ...] = ()
    subtitles: tuple[tuple[Fraction, Fraction, str], ...] = ()
    chapters: tuple[tuple[Fraction, Fraction, str], ...] = ()
    metadata: dict[str, str] = field(default_factory=dict)
    cover: bool = False
    attachment: bool = False
    options: dict[str, str] = field(default_factory=dict)
    container_options: dict[str, str] = field(default_factory=dict)
    first_number: int = 0


def make_clip(path: Path, clip: Clip = Clip()) -> Path:
    """Write `clip` to `path`, in the container its suffix names; returns `path`."""
    suffix = path.suffix.lower()
    with av.open(
        f"file:{path}", "w", format=_FORMATS.get(suffix), container_options={**clip.container_options}
    ) as container:
        container.flags |= av.container.Flags.bitexact.value
        container.metadata.update(clip.metadata)
        video = _add_video(container, clip, suffix)
        sounds = [(_add_sound(container, sound, suffix), sound) for sound in clip.audio]
        texts = _add_subtitles(container, suffix) if clip.subtitles else None
        cover = _add_cover(container) if clip.cover and suffix != ".mkv" else None
        if clip.cover and suffix == ".mkv":
            container.add_attachment("cover.jpg", "image/jpeg", _cover_jpeg())
        if clip.attachment:
            container.add_attachment("font.ttf", "application/x-truetype-font", b"not really a font")
        container.set_chapters([
            {"id": i, "start": round(a * 1000), "end": round(b * 1000), "time_base": Fraction(1, 1000),
             "metadata": {"title": title}} for i, (a, b, title) in enumerate(clip.chapters)
        ])  # fmt: skip
        if cover is not None:
            _mux_cover(container, cover)
        for stream, sound in sounds:
            _mux_sound(container, stream, sound)
        if texts is not None:
            _mux_subtitles(container, texts, clip.subtitles, suffix)
        _mux_video(container, video, clip)
    return path


def make_audio(
    path: Path,
    samples: np.ndarray,
    rate_hz: int = 48_000,
    codec: str | None = None,
    cover: bool = False,
    layout: str | None = None,
) -> Path:
    """Write `(n, channels)` float32 `samples` to `path` in the format its suffix names; returns `path`."""
    suffix = path.suffix.lower()
    sound = ClipAudio(samples, rate_hz, codec, layout=layout)
    with av.open(f"file:{path}", "w", format=_FORMATS.get(suffix)) as container:
        container.flags |= av.container.Flags.bitexact.value
        stream = _add_sound(container, sound, suffix)
        picture = _add_cover(container) if cover else None
        if picture is not None:
            _mux_cover(container, picture)
        _mux_sound(container, stream, sound)
    return path


def make_image(path: Path, width: int = 96, height: int = 64, number: int = 1, alpha: np.ndarray | None = None) -> Path:
    """Write one drawn picture as .png or .jpg; `alpha (h, w)` uint8 makes it transparent; returns `path`."""
    from PIL import Image

    pixels = draw(number, width, height)
    if alpha is not None:
        pixels = np.dstack([pixels, alpha])
    Image.fromarray(pixels).save(path)
    return path


def truncate(path: Path, share: float, out: Path) -> Path:
    """The first `share` of a file's bytes, written to `out`."""
    data = path.read_bytes()
    out.write_bytes(data[: int(len(data) * share)])
    return out


def comb_strength(pixels: np.ndarray) -> float:
    """How much neighbouring rows of the lower part differ: large where two moments are woven into one picture."""
    lower = pixels[round(pixels.shape[0] * _NUMBER_SHARE) + 2 : -2].mean(axis=2)
    return float(np.abs(np.diff(lower, axis=0)).mean())


def read_all_frames(path: Path) -> list[np.ndarray]:
    """All frames of a file's first video stream as RGB, decoded plainly, for checking what was written."""
    with av.open(f"file:{path}") as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def read_all_samples(path: Path, track: int = 0) -> tuple[np.ndarray, int, float]:
    """(`(n, channels)` float32, rate, time of the first sample in the file) of one audio track, decoded plainly."""
    resampler, blocks, start_s = av.AudioResampler(format="flt"), [], None
    with av.open(f"file:{path}") as container:
        stream = container.streams.audio[track]
        for frame in container.decode(stream):
            start_s = float(frame.pts * frame.time_base) if start_s is None else start_s
            channels = frame.layout.nb_channels
            blocks += [piece.to_ndarray().reshape(-1, channels) for piece in resampler.resample(frame)]
        return np.concatenate(blocks), stream.codec_context.sample_rate, start_s or 0.0


def _add_video(container: av.container.OutputContainer, clip: Clip, suffix: str) -> av.VideoStream:
    codec = clip.codec or _VIDEO_CODECS[suffix]
    turned = clip.rotation in (90, 270)
    stream = container.add_stream(codec, rate=clip.rate)
    stream.width, stream.height = clip.size[::-1] if turned else clip.size
    stream.pix_fmt = clip.pix_fmt or {"gif": "rgb8", "png": "rgb24", "mjpeg": "yuvj420p"}.get(codec, "yuv420p")
    # Times on a fine grid, so that uneven and offset ones are kept.
    is_coarse = suffix in (".avi", ".wmv") or codec in ("mpeg2video", "mpeg4")
    stream.codec_context.time_base = 1 / clip.rate if is_coarse else Fraction(1, clip.rate.numerator * 1000)
    if clip.sample_aspect_ratio is not None:
        stream.codec_context.sample_aspect_ratio = clip.sample_aspect_ratio
    if clip.rotation or clip.is_mirrored:
        # A clip is mirrored before it is turned, PyAV's flag afterwards: the turn changes its sense.
        stream.set_display_rotation(clip.rotation if clip.is_mirrored else -clip.rotation, hflip=clip.is_mirrored)
    if codec not in ("gif", "png", "mjpeg"):
        stream.gop_size, stream.max_b_frames = clip.gop, clip.b_frames
    for attribute, kind in (("colorspace", "matrix"), ("color_primaries", "primaries"),
                            ("color_trc", "transfer"), ("color_range", "range")):  # fmt: skip
        if kind in clip.tags:
            setattr(stream, attribute, _TAGS[kind][clip.tags[kind]])
    if codec in ("mpeg4", "mpeg2video"):
        stream.bit_rate = 4_000_000
    options = {**_FAST.get(codec, {}), **clip.options}
    if clip.is_interlaced:
        options["flags"] = "+ildct+ilme"
    stream.options.update(options)
    stream.thread_count = 1
    return stream


def _mux_video(container: av.container.OutputContainer, stream: av.VideoStream, clip: Clip) -> None:
    fields = _interlacer(stream) if clip.is_interlaced else None
    reformatter = VideoReformatter()
    matrix = _TAGS["matrix"].get(clip.tags.get("matrix", "smpte170m"), 6)
    color_range = _TAGS["range"][clip.tags.get("range", "pc" if "yuvj" in stream.pix_fmt else "tv")]
    for index in range(clip.num_frames):
        pixels = draw(clip.first_number + index, *clip.size)
        if clip.is_interlaced:
            _draw_bar(pixels[::2], 2 * index)
            _draw_bar(pixels[1::2], 2 * index + 1)
        pixels = np.rot90(pixels, k=clip.rotation // 90)
        if clip.is_mirrored:
            pixels = pixels[:, ::-1]
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
        frame = reformatter.reformat(
            frame, format=stream.pix_fmt, interpolation=_FLAGS, dst_colorspace=matrix, dst_color_range=color_range
        )
        time_s = index / clip.rate if clip.times_s is None else clip.times_s[index]
        frame.time_base = stream.codec_context.time_base
        frame.pts = round((time_s + clip.start_s) / frame.time_base)
        if fields is not None:
            fields.push(frame)
            frame = fields.pull()
        container.mux(stream.encode(frame))
    container.mux(stream.encode())


def _draw_bar(field: np.ndarray, moment: int) -> None:
    """A bright bar across the patches that moves on with every field, so that weaving two of them shows a comb."""
    first = 4 * moment % (field.shape[1] - 16)
    field[round(_NUMBER_SHARE * len(field)) :, first : first + 16] = 250


def _interlacer(stream: av.VideoStream) -> av.filter.Graph:
    graph = av.filter.Graph()
    source = graph.add_buffer(
        width=stream.width, height=stream.height, format=stream.format, time_base=stream.codec_context.time_base
    )
    graph.link_nodes(source, graph.add("setfield", "tff"), graph.add("buffersink")).configure()
    return graph


def _add_sound(container: av.container.OutputContainer, sound: ClipAudio, suffix: str) -> av.AudioStream:
    codec = sound.codec or _AUDIO_CODECS[suffix]
    stream = container.add_stream(codec, rate=sound.rate_hz)
    stream.layout = sound.layout or _LAYOUTS[sound.samples.shape[1]]
    if codec in ("aac", "libmp3lame", "libopus"):
        stream.bit_rate = 96_000 * sound.samples.shape[1]
    if codec == "vorbis":
        stream.options["strict"] = "-2"
    for key, value in (("language", sound.language), ("title", sound.title)):
        if value is not None:
            stream.metadata[key] = value
    return stream


def _mux_sound(container: av.container.OutputContainer, stream: av.AudioStream, sound: ClipAudio) -> None:
    stream.codec_context.open(strict=False)
    resampler = av.AudioResampler(
        format=stream.format, layout=stream.layout, rate=sound.rate_hz, frame_size=stream.frame_size or 1024
    )
    layout = stream.layout.name
    offset = round(sound.start_s * sound.rate_hz)
    for start in range(0, len(sound.samples), 4096):
        block = np.ascontiguousarray(sound.samples[start : start + 4096]).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(block, format="flt", layout=layout)
        frame.sample_rate, frame.pts, frame.time_base = sound.rate_hz, start + offset, Fraction(1, sound.rate_hz)
        for piece in resampler.resample(frame):
            container.mux(stream.encode(piece))
    for piece in resampler.resample(None):
        container.mux(stream.encode(piece))
    container.mux(stream.encode(None))


def _add_subtitles(container: av.container.OutputContainer, suffix: str) -> av.stream.Stream:
    stream = container.add_mux_stream("mov_text" if suffix in (".mp4", ".mov") else "subrip")
    stream.time_base = Fraction(1, 1000)
    stream.metadata["language"] = "deu"
    return stream


def _mux_subtitles(
    container: av.container.OutputContainer, stream: av.stream.Stream,
    subtitles: Sequence[tuple[Fraction, Fraction, str]], suffix: str,
) -> None:  # fmt: skip
    for start_s, stop_s, text in subtitles:
        data = text.encode()
        packet = av.Packet(len(data).to_bytes(2, "big") + data if suffix in (".mp4", ".mov") else data)
        packet.stream, packet.time_base = stream, Fraction(1, 1000)
        packet.pts = packet.dts = round(start_s * 1000)
        packet.duration = round((stop_s - start_s) * 1000)
        container.mux(packet)


def _add_cover(container: av.container.OutputContainer) -> av.VideoStream:
    stream = container.add_stream("mjpeg", rate=1)
    stream.width, stream.height, stream.pix_fmt = 64, 64, "yuvj420p"
    stream.disposition = av.stream.Disposition.attached_pic
    return stream


def _cover_jpeg() -> bytes:
    from PIL import Image

    data = io.BytesIO()
    Image.fromarray(draw(4095, 64, 64)).save(data, "JPEG")
    return data.getvalue()


def _mux_cover(container: av.container.OutputContainer, stream: av.VideoStream) -> None:
    frame = av.VideoFrame.from_ndarray(draw(4095, 64, 64), format="rgb24").reformat(format="yuvj420p")
    frame.pts = 0
    for packet in [*stream.encode(frame), *stream.encode(None)]:
        container.mux(packet)


def with_unknown_video(path: Path, out: Path) -> Path:
    """An H.264 .mp4 whose video claims a codec that nobody knows; its sound is as before."""
    data = path.read_bytes()
    assert data.count(b"avc1") >= 1
    out.write_bytes(data.replace(b"avc1", b"zzzz"))
    return out
