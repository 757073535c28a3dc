"""Real recordings, where this machine has them."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from media_clips import look_at

from infinitetalk_cli.media.audio import decode_mono
from infinitetalk_cli.media.reader import FrameReader
from infinitetalk_cli.media.writer import write_output

FOLDER = Path(__file__).parents[4] / "shared" / "media"
PORTRAIT = FOLDER / "portrait-1080x1920-30fps-hevc-20s.mp4"
TALKING_MAN = FOLDER / "talking-man-458p-25fps-15s.mp4"
SPEECH = FOLDER / "speech-44k-10s.wav"

pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason="../shared/media is not on this machine")


def test_portrait_phone_video():
    info, timeline = look_at(PORTRAIT)
    assert (info.video.codec, info.video.upright_size, info.video.rotation) == ("hevc", (1080, 1920), 0)
    assert (timeline.num_frames, timeline.duration_s) == (600, 20)
    with FrameReader(PORTRAIT, info, timeline) as reader:
        (late,) = reader.read([260])
    assert late.shape == (1920, 1080, 3)
    assert 20 < late.mean() < 235


def test_a_seek_gives_the_same_frame_as_reading_on():
    info, timeline = look_at(TALKING_MAN)
    assert (timeline.num_frames, timeline.duration_s) == (375, 15)
    with FrameReader(TALKING_MAN, info, timeline) as reader:
        in_order = {
            index: pixels for index, pixels in zip(range(375), reader.read(range(375)), strict=True) if index % 90 == 77
        }
    with FrameReader(TALKING_MAN, info, timeline) as reader:
        for index in sorted(in_order, reverse=True):
            np.testing.assert_array_equal(next(reader.read([index])), in_order[index])


def test_speech(tmp_path: Path):
    track = decode_mono(SPEECH, tmp_path / "speech")
    assert (track.source_rate_hz, track.duration_s) == (44_100, Fraction(471_056, 44_100))
    assert 0.7 < track.peak < 0.8


def test_a_second_of_dub(tmp_path: Path):
    info, timeline = look_at(TALKING_MAN)
    with FrameReader(TALKING_MAN, info, timeline) as reader:
        write_output(
            tmp_path / "out.mp4", reader.read(range(25)), 25, Fraction(25),
            source=TALKING_MAN, source_info=info, dub_audio=SPEECH, audio_stop_s=Fraction(1),
        )  # fmt: skip
    written, new_timeline = look_at(tmp_path / "out.mp4")
    assert (written.video.upright_size, new_timeline.num_frames) == ((458, 458), 25)
    with (
        FrameReader(TALKING_MAN, info, timeline) as before,
        FrameReader(tmp_path / "out.mp4", written, new_timeline) as after,
    ):
        errors = [
            np.abs(a.astype(int) - b).mean() for a, b in zip(before.read(range(25)), after.read(range(25)), strict=True)
        ]
    assert max(errors) < 2  # crf 16 of an already encoded picture
