"""From any decoded picture to upright RGB: matrix, range, alpha, high dynamic range, interlacing, orientation."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory

import av
import av.filter
import numpy as np
from av.video.reformatter import Interpolation, VideoReformatter

from infinitetalk_cli.media import tags
from infinitetalk_cli.media.info import VideoInfo
from infinitetalk_cli.media.tonemap import write_cube

log = logging.getLogger(__name__)

_EXACT = Interpolation.BICUBIC | Interpolation.FULL_CHR_H_INT | Interpolation.ACCURATE_RND | Interpolation.BITEXACT
_FULL_RANGE = tags.number_of(tags.RANGES, "pc")


class RgbConverter:
    """Turns decoded pictures of one stream into upright `(h, w, 3)` uint8 RGB, full range."""

    def __init__(self, video: VideoInfo, size: tuple[int, int] | None = None) -> None:
        """`size` (width, height) of the picture before it is turned upright, None as stored."""
        self._video = video
        self._size = size or (video.width, video.height)
        self._reformatter = VideoReformatter()
        self._matrix = tags.number_of(tags.MATRICES, video.matrix)
        self._range = tags.number_of(tags.RANGES, video.color_range or "tv")
        self._tone_map: av.filter.Graph | None = None

    def __call__(self, frame: av.VideoFrame) -> np.ndarray:
        """RGB of `frame`: transparency over black, PQ and HLG tone-mapped to BT.709."""
        if self._video.is_hdr:
            frame = self._to_sdr(frame)
        has_alpha = self._video.has_alpha
        pixels = _over_black(self._convert(frame, "rgba")) if has_alpha else self._convert(frame, "rgb24")
        return upright(pixels, self._video.rotation, self._video.is_mirrored)

    def _convert(self, frame: av.VideoFrame, pix_fmt: str) -> np.ndarray:
        if not frame.format.is_rgb:
            frame.colorspace = self._matrix
            frame.color_range = self._range
        converted = self._reformatter.reformat(
            frame,
            width=self._size[0],
            height=self._size[1],
            format=pix_fmt,
            interpolation=_EXACT,
            dst_color_range=_FULL_RANGE,
            threads=1,
        )
        return converted.to_ndarray()

    def _to_sdr(self, frame: av.VideoFrame) -> av.VideoFrame:
        if self._tone_map is None:
            log.warning("high dynamic range (%s): tone-mapped to BT.709", self._video.color_transfer)
            self._tone_map = _tone_map_graph(frame, self._video)
        self._tone_map.push(frame)
        return self._tone_map.pull()


def _tone_map_graph(frame: av.VideoFrame, video: VideoInfo) -> av.filter.Graph:
    """YUV to full-range RGB of 16 bits, then through the table of `tonemap`."""
    graph = av.filter.Graph()
    source = graph.add(
        "buffer",
        f"video_size={frame.width}x{frame.height}:pix_fmt={frame.format.name}:time_base=1/25"
        f":colorspace={video.matrix}:range={video.color_range or 'tv'}",
    )
    to_rgb = graph.add("scale", "flags=bicubic+accurate_rnd+full_chroma_int+bitexact")
    rgb = graph.add("format", "pix_fmts=gbrp16le")
    with TemporaryDirectory() as folder:  # the filter reads its table when it is made, and only from a file
        table = Path(folder) / "sdr.cube"
        write_cube(table, video.color_transfer, video.color_primaries)
        mapped = graph.add("lut3d", file=str(table), interp="tetrahedral")
        graph.link_nodes(source, to_rgb, rgb, mapped, graph.add("buffersink")).configure()
    return graph


def deinterlaced(frames: Iterable[av.VideoFrame], time_base: Fraction) -> Iterator[av.VideoFrame]:
    """The same number of frames with both fields at one moment; needs each frame's neighbours (bwdif)."""
    graph = None
    for frame in frames:
        if graph is None:
            graph = av.filter.Graph()
            source = graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=time_base)
            graph.link_nodes(
                source, graph.add("bwdif", "mode=send_frame:deint=interlaced"), graph.add("buffersink")
            ).configure()
        graph.push(frame)
        yield from _pulled(graph)
    if graph is not None:
        graph.push(None)
        yield from _pulled(graph)


def _pulled(graph: av.filter.Graph) -> Iterator[av.VideoFrame]:
    while True:
        try:
            yield graph.pull()
        except (av.error.BlockingIOError, av.error.EOFError):
            return


def _over_black(rgba: np.ndarray) -> np.ndarray:
    alpha = rgba[..., 3:].astype(np.uint16)
    return ((rgba[..., :3] * alpha + 127) // 255).astype(np.uint8)


def upright(pixels: np.ndarray, rotation: int, is_mirrored: bool) -> np.ndarray:
    """`(h, w, 3)` mirrored left to right if asked, then turned `rotation` degrees clockwise; contiguous."""
    if is_mirrored:
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(np.rot90(pixels, k=-rotation // 90))
