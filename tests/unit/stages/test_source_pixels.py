"""Source frames for chunk after chunk: those of a fresh look at the film, for one pass through it."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from synthetic import Clip, make_clip

from infinitetalk_cli.config.profile import GeometryProfile
from infinitetalk_cli.media.probe import probe
from infinitetalk_cli.media.reader import FrameReader
from infinitetalk_cli.media.scan import scan_timeline
from infinitetalk_cli.stages.source_pixels import SourcePixels

NUM_FRAMES, CHUNK, CONTEXT = 120, 17, 5
GEOMETRY = GeometryProfile(fit="keep", area_px=2304, multiple_px=16)


def looking_at(path: Path, monkeypatch: pytest.MonkeyPatch | None = None) -> tuple[SourcePixels, list[int]]:
    """A source, and a list that grows by one for every frame that is decoded."""
    info, decoded = probe(path), []
    timeline = scan_timeline(path, info)
    reader = FrameReader(path, info, timeline)
    reader.__enter__()
    real = reader._decoded_frames
    reader._decoded_frames = lambda wait: (decoded.append(1) or frame for frame in real(wait))
    reader._rewind()
    return SourcePixels(reader, timeline, (32, 48), GEOMETRY, Fraction(0)), decoded


def walks(num_attempts: int = 1) -> Iterator[list[int]]:
    """What chunks with a camera lock ask for: reference, source, and the frame whose colours are matched."""
    for start in range(0, NUM_FRAMES - CHUNK, CHUNK - CONTEXT):
        for _ in range(num_attempts):
            yield [start]
            yield [*range(start, start + CHUNK - 2), start + CHUNK - 3, start + CHUNK - 3]
            yield [0]


def test_a_film_with_one_keyframe_is_decoded_once(tmp_path: Path) -> None:
    source, decoded = looking_at(make_clip(tmp_path / "one.mp4", Clip(num_frames=NUM_FRAMES, gop=NUM_FRAMES)))
    for walk in walks(num_attempts=2):
        source.pixels(walk)
    assert NUM_FRAMES - CHUNK < len(decoded) <= NUM_FRAMES


@pytest.mark.parametrize("gop", [12, 40, NUM_FRAMES])
@pytest.mark.parametrize("is_damaged", [False, True])
def test_frames_are_those_of_a_fresh_look(tmp_path: Path, gop: int, is_damaged: bool) -> None:
    """As after a resumed run, which begins with any chunk; damage must not come out otherwise either."""
    path = make_clip(
        tmp_path / "film.mp4", Clip(num_frames=NUM_FRAMES, gop=gop, container_options={"movflags": "faststart"})
    )
    if is_damaged:
        data = bytearray(path.read_bytes())
        for share in (0.4, 0.6, 0.75):
            place = int(share * len(data))
            data[place : place + 300] = np.random.default_rng(0).bytes(300)
        path.write_bytes(data)
    source, _ = looking_at(path)
    for walk in walks():
        fresh, _ = looking_at(path)
        assert torch.equal(source.pixels(walk), fresh.pixels(walk)), walk
