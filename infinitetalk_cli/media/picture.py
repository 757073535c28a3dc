"""The video stream of an output: frames scaled to the source's size, converted by its colour tags, encoded."""

from __future__ import annotations

import logging
import os
from fractions import Fraction

import av
import av.container
import numpy as np
from av.video.reformatter import Interpolation, VideoReformatter

from infinitetalk_cli.media import tags
from infinitetalk_cli.media.containers import (
    ENCODERS,
    Container,
    Encoder,
    EncodeSettings,
    pix_fmt_for,
    video_codec_for,
)
from infinitetalk_cli.media.info import MediaInfo, VideoInfo

log = logging.getLogger(__name__)

_SCALING = Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INP | Interpolation.BITEXACT
_BT601 = 5
_BT601_TWINS = {5, 6}  # two tags, one matrix, of which PyAV knows the first by number
_ENCODABLE_MATRICES = {"bt709", "fcc", "bt470bg", "smpte170m", "smpte240m", "bt2020nc"}


class Picture:
    """The video stream of an output: scales RGB frames, converts them by the tagged matrix, encodes them."""

    def __init__(
        self,
        out: av.container.OutputContainer,
        target: Container,
        settings: EncodeSettings,
        info: MediaInfo,
        rate: Fraction,
        size: tuple[int, int] | None = None,
    ) -> None:
        """`size` (width, height) of the output, None for the source's upright one."""
        video = info.video
        codec = video_codec_for(target, settings)
        encoder = ENCODERS[codec]
        if codec == "av1":
            os.environ.setdefault("SVT_LOG", "1")  # SVT-AV1 prints to stderr unless told so, and only so
        self._reformatter = VideoReformatter()
        self._rate = rate
        self.stream = out.add_stream(encoder.name, rate=rate, options=_encoder_options(encoder, settings))
        context = self.stream.codec_context
        context.width, context.height = size or video.upright_size
        context.pix_fmt = pix_fmt_for(encoder, settings, video, (context.width, context.height))
        context.time_base = 1 / rate
        context.sample_aspect_ratio = video.upright_sample_aspect_ratio
        context.thread_count = encoder.threads
        context.thread_type = "FRAME" if encoder.name == "libx264" else "SLICE"
        if codec == "hevc" and target.muxer in ("mp4", "mov"):
            context.codec_tag = "hvc1"  # the tag that Apple's players ask for
        self._matrix, self._range = _set_color_tags(context, video, info.is_image)

    def encode(self, pixels: np.ndarray, index: int) -> list[av.Packet]:
        """Packets that are ready once frame `index` went in."""
        context = self.stream.codec_context
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
        frame = self._reformatter.reformat(
            frame,
            width=context.width,
            height=context.height,
            format=context.pix_fmt,
            interpolation=_SCALING,
            dst_colorspace=_BT601 if self._matrix in _BT601_TWINS else self._matrix,
            dst_color_range=self._range,
            threads=1,
        )
        frame.colorspace, frame.color_range = self._matrix, self._range
        frame.pts, frame.time_base = index, 1 / self._rate
        return self.stream.encode(frame)


def _set_color_tags(context: av.VideoCodecContext, video: VideoInfo, is_image: bool) -> tuple[int, int]:
    """Tag the output as the source is tagged, tone-mapped pictures as BT.709; returns (matrix, range) numbers."""
    is_rgb = context.pix_fmt in ("bgr0", "gbrp")
    matrix = video.matrix if video.matrix in _ENCODABLE_MATRICES else tags.usual_matrix(*video.upright_size)
    is_full = video.is_full_range and video.color_space != "gbr" and not is_image and context.name != "prores_ks"
    primaries, transfer = video.color_primaries, video.color_transfer
    if video.is_hdr:
        log.info("the source's high dynamic range is not kept: the result is BT.709")
        matrix = primaries = transfer = "bt709"
    matrix_number = tags.number_of(tags.MATRICES, "gbr" if is_rgb else matrix)
    range_number = tags.number_of(tags.RANGES, "pc" if is_rgb or is_full else "tv")
    context.colorspace, context.color_range = matrix_number, range_number
    context.color_primaries = tags.number_of(tags.PRIMARIES, primaries)
    context.color_trc = tags.number_of(tags.TRANSFERS, transfer)
    return matrix_number, range_number


def _encoder_options(encoder: Encoder, settings: EncodeSettings) -> dict[str, str]:
    options = dict(encoder.options)
    if encoder.presets is not None:
        options[encoder.presets.option] = settings.preset or encoder.presets.usual
    if encoder.quality is not None:
        options["crf"] = str(encoder.quality.usual if settings.quality is None else settings.quality)
    return options
