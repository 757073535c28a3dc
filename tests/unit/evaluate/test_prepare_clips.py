"""Clips as every metric sees them: the right frames, the right part of the picture, the right sound."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from synthetic import Clip, ClipAudio, click, click_time, make_clip, read_frame_number

from infinitetalk_cli.errors import InputError
from infinitetalk_cli.evaluate.run.checks import check_result
from infinitetalk_cli.evaluate.splits.prepare import Frames, prepare_clip, read_speech
from infinitetalk_cli.evaluate.splits.split import Prepare, Split, SplitItem


def _split(**first: object) -> Split:
    items = (
        SplitItem(id="a", video=("a.mp4",), audio_from="b", **first),
        SplitItem(id="b", video=("b.mp4", "c.mkv"), audio_from="a"),
    )
    return Split(schema=1, name="two", dataset="own", seed=1, prepare=Prepare(size=64), items=items)


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    sound = ClipAudio(click(0.5, 1.0), 48_000)
    make_clip(tmp_path / "a.mp4", Clip(60, (96, 64), rate=Fraction(50), audio=(sound,)))
    make_clip(tmp_path / "c.mkv", Clip(20, (64, 64), audio=(ClipAudio(click(0.3, 0.8), 48_000),), first_number=500))
    return tmp_path


def test_frames_are_those_on_screen_and_the_sound_is_the_donors(videos: Path, tmp_path: Path) -> None:
    split = _split(start=0.2, crop=(16, 0, 64, 64), face=(32, 16, 16, 32))
    clip = prepare_clip(split.items[0], split, videos, tmp_path / "out")
    frames = list(Frames(clip.video)())
    assert [frame.shape for frame in frames] == [(64, 64, 3)] * 25
    whole = _split(start=0.2)
    numbers = [read_frame_number(f) for f in Frames(_whole(videos, whole))()]
    assert numbers == list(range(10, 60, 2)), "every second frame of 50, from 0.2 s on"
    assert clip.facts.face == (16, 16, 32, 48)
    voice = read_speech(clip.audio)
    assert len(voice) == clip.num_frames * 640
    assert click_time(voice, 16_000) == pytest.approx(0.3, abs=0.002)
    assert clip.facts.audio_pad_s == pytest.approx(0.2, abs=0.03)
    assert not voice[clip.voiced_samples :].any()


def _whole(videos: Path, split: Split) -> Path:
    """The wide picture prepared without its sides: `draw` still reads from the whole height."""
    make_clip(videos / "a.mp4", Clip(60, (64, 64), rate=Fraction(50), audio=(ClipAudio(click(0.5, 1.0), 48_000),)))
    return prepare_clip(split.items[0], split, videos, videos / "whole").video


def test_a_clip_is_prepared_once_and_again_when_its_file_changes(videos: Path, tmp_path: Path) -> None:
    split = _split()
    first = prepare_clip(split.items[1], split, videos, tmp_path / "out")
    stamp = first.video.stat().st_mtime_ns
    assert prepare_clip(split.items[1], split, videos, tmp_path / "out").video.stat().st_mtime_ns == stamp
    make_clip(videos / "c.mkv", Clip(30, (64, 64), audio=(ClipAudio(click(0.3, 0.8), 48_000),)))
    assert prepare_clip(split.items[1], split, videos, tmp_path / "out").num_frames == 30
    assert not list((tmp_path / "out").glob("tmp-*"))


@pytest.mark.parametrize(
    ("first", "said"),
    [
        ({"crop": (50, 0, 64, 64)}, "the crop 50,0,64,64 reaches out of it"),
        ({"start": 5.0}, "lasts 1.20 s, the clip begins at 5 s"),
        ({"sha256": "0" * 64}, "is not the file that the split means"),
    ],
)
def test_what_cannot_be_prepared_is_said(videos: Path, tmp_path: Path, first: dict, said: str) -> None:
    split = _split(**first)
    with pytest.raises(InputError, match=said):
        prepare_clip(split.items[0], split, videos, tmp_path / "out")


def test_sound_that_begins_before_the_picture_moves_neither(videos: Path, tmp_path: Path) -> None:
    late = Fraction(1, 50)  # half a frame
    clip = Clip(20, (64, 64), start_s=late, audio=(ClipAudio(click(0.4, 0.9), 48_000),))
    path = make_clip(tmp_path / "late.mkv", clip)
    frames = Frames(path)
    assert [read_frame_number(frame) for frame in frames()] == list(range(20))
    assert frames.starts_s == late
    voice = read_speech(path, start_s=frames.starts_s)
    assert click_time(voice, 16_000) == pytest.approx(0.4 - float(late), abs=0.002)


def test_results_that_do_not_fit(videos: Path, tmp_path: Path) -> None:
    split = _split()
    clip = prepare_clip(split.items[1], split, videos, tmp_path / "out")
    sound = (ClipAudio(click(0.3, 0.8), 48_000),)
    good = make_clip(tmp_path / "good.mp4", Clip(20, (64, 64), audio=sound))
    assert check_result(good, clip, 64, lenient=False) == []
    other = make_clip(tmp_path / "other.mp4", Clip(24, (80, 64), rate=Fraction(30), audio=sound))
    with pytest.raises(
        InputError, match="24 frames, the source has 20; 30 frames per second, not 25; 80x64, not 64x64"
    ):
        check_result(other, clip, 64, lenient=False)
    assert len(check_result(other, clip, 64, lenient=True)) == 3
    frames = Frames(other, clip.num_frames, 64)
    assert frames.num_frames == 20
    assert np.stack(list(frames())).shape == (20, 64, 64, 3)
    silent = make_clip(tmp_path / "silent.mp4", Clip(20, (64, 64)))
    with pytest.raises(InputError, match="no audio"):
        check_result(silent, clip, 64, lenient=True)
