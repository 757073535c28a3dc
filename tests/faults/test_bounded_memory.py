"""What a job keeps in memory does not grow with its length: a few bytes per frame, never a picture or a packet.

Whole jobs of 1 and 30 minutes (see `tests/bench/memory_by_length.py`; about five minutes on a quiet machine):

    OMP_NUM_THREADS=1 python -m pytest -m slow tests/faults/test_bounded_memory.py
"""

from __future__ import annotations

import sys
import tracemalloc
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import synthetic

from infinitetalk_cli.media.audio import decode_mono
from infinitetalk_cli.media.containers import EncodeSettings
from infinitetalk_cli.media.probe import probe
from infinitetalk_cli.media.reader import FrameReader
from infinitetalk_cli.media.scan import scan_timeline
from infinitetalk_cli.media.writer import write_output

SHORT, LONG = 300, 2500
"""Frames."""

BYTES_PER_FRAME = 64
"""A time stamp, a mark of keyframes, and what sorting them takes; a Python object per frame takes more."""


def long_clip(path: Path, num_frames: int) -> Path:
    """A clip of `num_frames` at 25 frames per second, the same picture and a little sound over and over."""
    picture = av.VideoFrame.from_ndarray(synthetic.draw(1, 32, 32), format="rgb24").reformat(format="yuvj420p")
    with av.open(f"file:{path}", "w") as container:
        stream = container.add_stream("mjpeg", rate=25)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuvj420p"
        sound = container.add_stream("pcm_s16le", rate=16_000, layout="mono")
        (data,) = (bytes(packet) for packet in [*stream.encode(picture), *stream.encode(None)])
        for number in range(num_frames):
            for target, content in ((stream, data), (sound, b"\x10\x08" * 640)):
                packet = av.Packet(content)
                packet.stream, packet.time_base, packet.duration = target, Fraction(1, 25), 1
                packet.pts = packet.dts = number
                packet.is_keyframe = True
                container.mux_one(packet)
    return path


def _scan(path: Path, folder: Path) -> None:
    scan_timeline(path, probe(path)).save(folder / "timeline.npz")


def _read(path: Path, folder: Path) -> None:
    info = probe(path)
    timeline = scan_timeline(path, info)
    with FrameReader(path, info, timeline, (32, 18)) as reader:
        assert sum(1 for _ in reader.read(range(timeline.num_frames))) == timeline.num_frames


def _listen(path: Path, folder: Path) -> None:
    decode_mono(path, folder / "speech.f32")


def _write(path: Path, folder: Path) -> None:
    info = probe(path)
    num_frames = int(info.duration_s * 25)
    frames = (np.zeros((32, 32, 3), np.uint8) for _ in range(num_frames))
    settings = EncodeSettings(preset="ultrafast", keep_original_audio=True)
    write_output(
        folder / "out.mkv",
        frames,
        num_frames,
        Fraction(25),
        source=path,
        source_info=info,
        dub_audio=path,
        settings=settings,
    )


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("clips")
    return [long_clip(folder / f"{number}.mkv", number) for number in (SHORT, LONG)]


@pytest.mark.parametrize("work", [_scan, _read, _listen, _write])
def test_memory_by_length(work: Callable[[Path, Path], None], clips: list[Path], tmp_path: Path) -> None:
    peaks = []
    work(clips[0], tmp_path)  # what is imported and remembered once
    for clip in clips:
        tracemalloc.start()
        try:
            work(clip, tmp_path)
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
    assert peaks[1] - peaks[0] < BYTES_PER_FRAME * (LONG - SHORT), peaks


@pytest.mark.slow
@pytest.mark.timeout(0)
@pytest.mark.parametrize("way", ["plain", "only-speech"])
def test_half_an_hour_takes_no_more_memory_than_a_minute(way: str) -> None:
    sys.path.insert(0, str(Path(__file__).parents[1] / "bench"))
    from memory_by_length import measure

    short, long = (measure(minutes, way) for minutes in (1, 30))
    assert long["peak"] - short["peak"] < 0.05 * (short["peak"] - short["weights"]), (short, long)
