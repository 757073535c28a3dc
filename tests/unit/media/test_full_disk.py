"""A disk that fills up gives one clean error; a limit on file sizes plays the disk."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from media_clips import MakeClip
from synthetic import Clip, make_audio

from infinitetalk_cli.errors import ResourceError
from infinitetalk_cli.media.audio import decode_mono
from infinitetalk_cli.media.lossless import write_frames
from infinitetalk_cli.media.probe import probe
from infinitetalk_cli.media.writer import write_output

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="file size limits are POSIX")
LIMIT_BYTES = 100_000


@pytest.fixture
def limited() -> Iterator[Callable[[], None]]:
    """Call it to let no file grow beyond `LIMIT_BYTES` until the test ends."""
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    yield lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT_BYTES, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, handler)


def noise(num_frames: int) -> Iterator[np.ndarray]:
    random = np.random.default_rng(0)
    return (random.integers(0, 256, (128, 192, 3), dtype=np.uint8) for _ in range(num_frames))


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".webm"])
def test_finished_file(tmp_path: Path, clip_file: MakeClip, limited: Callable[[], None], suffix: str):
    source = clip_file("a.mp4", Clip(num_frames=3, size=(192, 128)))
    sound = make_audio(tmp_path / "dub.wav", np.random.default_rng(0).normal(0, 0.1, (48_000, 1)).astype(np.float32))
    info = probe(source)
    limited()
    with pytest.raises(ResourceError, match="no space left"):
        write_output(
            tmp_path / f"a{suffix}", noise(30), 30, Fraction(25), source=source, source_info=info, dub_audio=sound
        )


def test_chunk_file(tmp_path: Path, limited: Callable[[], None]):
    limited()
    with pytest.raises(ResourceError, match="no space left"):
        write_frames(tmp_path / "c.mkv", noise(10), Fraction(25))


def test_decoded_audio(tmp_path: Path, limited: Callable[[], None]):
    path = make_audio(tmp_path / "a.wav", np.zeros((48_000 * 4, 1), np.float32))
    limited()
    with pytest.raises(ResourceError, match="no space left"):
        decode_mono(path, tmp_path / "out")
