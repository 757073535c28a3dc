"""Files that end before they should."""

from __future__ import annotations

from pathlib import Path

import pytest
from media_clips import MakeClip, look_at
from synthetic import Clip, ClipAudio, tone, truncate

from infinitetalk_cli.errors import InputError

INDEX_FIRST = {"movflags": "faststart"}
SOUND = (ClipAudio(tone(4.0)),)


@pytest.mark.parametrize("share", [0.5, 0.9])
@pytest.mark.parametrize(
    ("name", "clip"),
    [
        ("silent.mp4", Clip(num_frames=100, container_options=INDEX_FIRST)),
        ("sound.mp4", Clip(num_frames=100, container_options=INDEX_FIRST, audio=SOUND)),
        ("fragments.mp4", Clip(num_frames=100, container_options={"movflags": "frag_keyframe+empty_moov"})),
        ("silent.mkv", Clip(num_frames=100)),
        ("sound.mkv", Clip(num_frames=100, audio=SOUND)),
        ("vp9.webm", Clip(num_frames=100)),
    ],
)
def test_a_file_cut_short_tells_how_much_can_be_read(
    clip_file: MakeClip, tmp_path: Path, name: str, clip: Clip, share: float
):
    cut = truncate(clip_file(name, clip), share, tmp_path / name)
    with pytest.raises(InputError, match=r"cut short: it promises \d\.\d+ s and only [1-3]\.\d\d s can be read"):
        look_at(cut)


@pytest.mark.parametrize("name", ["broadcast.ts", "animation.gif"])
def test_formats_that_promise_nothing_are_read_as_far_as_they_go(clip_file: MakeClip, tmp_path: Path, name: str):
    cut = truncate(clip_file(name, Clip(num_frames=60)), 0.5, tmp_path / name)
    _, timeline = look_at(cut)
    assert 20 < timeline.num_frames < 40


def test_subtitles_beyond_the_picture_are_no_broken_promise(clip_file: MakeClip):
    _, timeline = look_at(clip_file("late_text.mkv", Clip(num_frames=25, subtitles=((2, 3, "still here"),))))
    assert timeline.duration_s == 1
