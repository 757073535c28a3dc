"""Arrangements of audio channels: what a stream's are, and which of them an encoder takes."""

from __future__ import annotations

import logging

import av

from infinitetalk_cli.media.info import AudioInfo

log = logging.getLogger(__name__)

_USUAL = {1: "mono", 2: "stereo", 3: "2.1", 4: "4.0", 5: "5.0", 6: "5.1", 7: "6.1", 8: "7.1"}
_NAMED = {
    "mono", "stereo", "2.1", "3.0", "3.0(back)", "3.1", "4.0", "quad", "4.1", "5.0", "5.1", "6.0", "6.1", "6.1(back)",
    "7.0", "7.1", "7.1(wide)",
}  # fmt: skip
_SAME_ORDER = {"quad(side)": "quad", "5.0(side)": "5.0", "5.1(side)": "5.1"}
"""Other words for the same loudspeakers; more encoders and players know the second one."""


def layout_of(stream: AudioInfo) -> str:
    """libavutil's name of the stream's layout, the usual one for its number of channels where the file has none.

    "stereo" for more channels than eight: those without a place anywhere cannot be mixed, only the first two kept.
    """
    name = _SAME_ORDER.get(stream.layout, stream.layout)
    return name if name in _NAMED else _USUAL.get(stream.channels, "stereo")


def encoded_layout(encoder: str, rate_hz: int, stream: AudioInfo) -> str:
    """The stream's layout if `encoder` takes it, else the nearest: 5.1 has a place for most, stereo is always taken."""
    layout = layout_of(stream)
    nearest = ("5.1", "stereo") if stream.channels > 2 else ("stereo",)
    chosen = next((name for name in (layout, *nearest) if _is_taken(encoder, rate_hz, name)), layout)
    if chosen != layout or stream.channels > len(_USUAL):
        log.warning("%s does not take %s audio: it is written as %s", encoder, stream.layout, chosen)
    return chosen


def _is_taken(encoder: str, rate_hz: int, layout: str) -> bool:
    """Whether `encoder` opens with `layout`; what it promises beforehand is not complete."""
    context = av.CodecContext.create(encoder, "w")
    context.sample_rate, context.layout = rate_hz, layout
    formats = context.codec.audio_formats
    if formats:
        context.format = formats[0]
    try:
        context.open(strict=False)
    except av.FFmpegError:
        return False
    return True
