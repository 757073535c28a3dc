"""A picture from one file and a sound from another in a third, without encoding either anew."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import av

from infinitetalk_cli.media.edges import open_media, url_of, writing


def join(picture: Path, sound: Path, out: Path) -> None:
    """Write the first video stream of `picture` and the first audio stream of `sound` to the Matroska file `out`.

    Raises:
        InputError, OutputError, ResourceError: a file cannot be read, or `out` cannot be written.
    """
    with ExitStack() as stack:
        inputs = [stack.enter_context(open_media(path)) for path in (picture, sound)]
        streams = [inputs[0].streams.video[0], inputs[1].streams.audio[0]]
        stack.enter_context(writing(out))
        target = stack.enter_context(av.open(url_of(out), "w", format="matroska"))
        target.flags |= av.container.Flags.bitexact.value
        copies = [target.add_stream_from_template(stream) for stream in streams]
        for container, stream, copy in zip(inputs, streams, copies, strict=True):
            for packet in container.demux(stream):
                if packet.dts is not None:
                    packet.stream = copy
                    target.mux(packet)
