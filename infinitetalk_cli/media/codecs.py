"""Names of the codecs that can be written; nothing else, so that the command line can list them at once."""

from typing import Literal

VideoCodec = Literal["h264", "hevc", "av1", "vp9", "prores", "ffv1"]
AudioCodec = Literal["auto", "copy", "aac", "flac", "alac", "opus"]
