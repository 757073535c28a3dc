"""The right frame, from every kind of file, in any order."""

from __future__ import annotations

import re
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from media_clips import MakeClip, look_at
from synthetic import COLORS, Clip, ClipAudio, comb_strength, read_all_frames, read_colors, read_frame_number, tone

from infinitetalk_cli.errors import InputError
from infinitetalk_cli.media.reader import FrameReader
from infinitetalk_cli.media.timeline import SourceTimeline

SOUND = (ClipAudio(tone(2.5)),)
LATE = Fraction(1, 2)
SLOWER_AND_SLOWER_S = tuple(Fraction(n * n, 500) for n in range(50))

CLIPS = {
    "plain.mp4": Clip(),
    "plain.mov": Clip(audio=SOUND),
    "three_b_frames.mkv": Clip(b_frames=3, gop=10),
    "vp9.webm": Clip(),
    "hidden_frames.webm": Clip(
        codec="libvpx", b_frames=0,
        options={"auto-alt-ref": "1", "lag-in-frames": "16", "deadline": "good", "cpu-used": "4", "b": "300k"},
    ),
    "mpeg4.avi": Clip(),
    "h264_with_b_frames.avi": Clip(codec="libx264"),
    "no_b_frames.avi": Clip(b_frames=0),
    "mjpeg.avi": Clip(codec="mjpeg", pix_fmt="yuvj422p"),
    "broadcast.ts": Clip(),
    "mpeg2.ts": Clip(codec="mpeg2video", audio=SOUND),
    "windows.wmv": Clip(codec="wmv2", b_frames=0),
    "animation.gif": Clip(),
    "open_groups.mkv": Clip(options={"x264-params": "open-gop=1:keyint=10"}),
    "open_groups.ts": Clip(options={"x264-params": "open-gop=1:keyint=10"}),
    "open_groups_hevc.mp4": Clip(codec="libx265", options={"x265-params": "open-gop=1:keyint=10:log-level=none"}),
    "no_keyframes.mp4": Clip(b_frames=0, options={"x264-params": "intra-refresh=1:keyint=20"}),
    "only_keyframes.mp4": Clip(gop=1, b_frames=0),
    "fragments.mp4": Clip(container_options={"movflags": "frag_keyframe+empty_moov"}),
    "film.mp4": Clip(rate=Fraction(24_000, 1001)),
    "ntsc.mkv": Clip(rate=Fraction(30_000, 1001)),
    "fast.mp4": Clip(rate=Fraction(60)),
    "variable.mp4": Clip(times_s=SLOWER_AND_SLOWER_S),
    "variable.webm": Clip(times_s=SLOWER_AND_SLOWER_S),
    "late_video.mp4": Clip(start_s=LATE, audio=SOUND),
    "late_video.ts": Clip(start_s=LATE, audio=SOUND),
    "odd.mkv": Clip(size=(97, 63), pix_fmt="yuv444p"),
    "portrait.mp4": Clip(size=(64, 112)),
    "phone.mp4": Clip(size=(64, 112), rotation=90),
    "upside_down.mov": Clip(rotation=180),
    "mirrored.mp4": Clip(rotation=270, is_mirrored=True),
    "wide_samples.mp4": Clip(sample_aspect_ratio=Fraction(4, 3)),
    "ten_bits.mkv": Clip(codec="libx265", pix_fmt="yuv420p10le"),
    "prores.mov": Clip(codec="prores_ks", pix_fmt="yuv422p10le"),
    "see_through.mov": Clip(codec="prores_ks", pix_fmt="yuva444p10le"),
    "rgb.mkv": Clip(codec="ffv1", pix_fmt="bgr0"),
    "screen.mov": Clip(codec="qtrle", pix_fmt="rgb24"),
    "with_cover.mp4": Clip(cover=True),
}  # fmt: skip


@pytest.mark.parametrize("name", CLIPS)
def test_every_frame_in_order_and_out_of_order(clip_file: MakeClip, name: str):
    clip = CLIPS[name]
    path = clip_file(name, clip)
    info, timeline = look_at(path)
    assert timeline.num_frames == clip.num_frames
    jumps = [40, 3, 20, 20, 49, 48, 0, 25, 26]
    with FrameReader(path, info, timeline) as reader:
        assert [read_frame_number(p) for p in reader.read(range(clip.num_frames))] == list(range(clip.num_frames))
        assert [read_frame_number(p) for p in reader.read(jumps)] == jumps
        (pixels,) = reader.read([7])
    assert pixels.shape == (*clip.size[::-1], 3)
    assert pixels.dtype == np.uint8
    assert np.abs(read_colors(pixels) - COLORS).max() < 3


@pytest.mark.parametrize(
    ("name", "times_s"),
    [
        ("variable.mp4", SLOWER_AND_SLOWER_S),
        ("variable.webm", SLOWER_AND_SLOWER_S),
        ("late_video.mp4", [LATE + Fraction(n, 25) for n in range(50)]),
        ("film.mp4", [n * Fraction(1001, 24_000) for n in range(50)]),
        ("h264_with_b_frames.avi", [Fraction(n, 25) for n in range(50)]),
        ("broadcast.ts", [Fraction(n, 25) for n in range(50)]),
        ("animation.gif", [Fraction(n, 25) for n in range(50)]),
    ],
)
def test_times_are_exact(clip_file: MakeClip, name: str, times_s: list[Fraction]):
    _, timeline = look_at(clip_file(name, CLIPS[name]))
    assert [timeline.time_of(index) for index in range(50)] == list(times_s)


def test_transport_streams_keep_the_distance_of_sound_and_picture(clip_file: MakeClip):
    info, timeline = look_at(clip_file("late_video.ts", CLIPS["late_video.ts"]))
    # The sound begins one AAC frame early, with the encoder's delay, and a transport stream cannot say so.
    assert timeline.time_of(0) == pytest.approx(LATE + Fraction(1024, 48_000), abs=1e-4)
    assert info.audio[0].start_s == 0


def test_reading_on_does_not_seek(clip_file: MakeClip, monkeypatch: pytest.MonkeyPatch):
    path = clip_file("plain.mp4", CLIPS["plain.mp4"])
    with FrameReader(path, *look_at(path)) as reader:
        monkeypatch.setattr(reader, "_seek", lambda *args: pytest.fail("seeks"))
        assert sum(1 for _ in reader.read(range(50))) == 50


def test_far_jumps_seek(clip_file: MakeClip, monkeypatch: pytest.MonkeyPatch):
    path = clip_file("long.mp4", Clip(num_frames=200))
    with FrameReader(path, *look_at(path)) as reader:
        decoded = []
        convert = reader._decoded_frames
        monkeypatch.setattr(reader, "_decoded_frames", lambda wait: (decoded.append(f) or f for f in convert(wait)))
        assert [read_frame_number(p) for p in reader.read([0, 190])] == [0, 190]
    assert len(decoded) < 40


def test_frames_are_read_only_and_repeats_cost_nothing(clip_file: MakeClip):
    path = clip_file("plain.mp4", CLIPS["plain.mp4"])
    with FrameReader(path, *look_at(path)) as reader:
        first, second = reader.read([5, 5])
    assert first is second
    assert not first.flags.writeable


INTERLACED = {
    "interlaced.mp4": Clip(num_frames=30, is_interlaced=True),
    "interlaced.ts": Clip(num_frames=30, is_interlaced=True, codec="mpeg2video"),
}


@pytest.mark.parametrize("name", INTERLACED)
def test_interlaced_video_is_woven_apart_alike_on_every_way_to_a_frame(clip_file: MakeClip, name: str):
    path = clip_file(name, INTERLACED[name])
    info, timeline = look_at(path)
    with FrameReader(path, info, timeline) as reader:
        in_order = list(reader.read(range(30)))
    with FrameReader(path, info, timeline) as reader:
        jumps = [5, 25, 13, 12, 24]
        for index, pixels in zip(jumps, reader.read(jumps), strict=True):
            np.testing.assert_array_equal(pixels, in_order[index])
    assert [read_frame_number(pixels) for pixels in in_order] == list(range(30))
    assert comb_strength(read_all_frames(path)[7]) > 5 > 10 * comb_strength(in_order[7])


@pytest.fixture
def damaged_clip(clip_file: MakeClip, tmp_path: Path) -> Path:
    """100 frames, keyframes every 12, with noise over a few frames near 2.4 s."""
    clip = Clip(num_frames=100, container_options={"movflags": "faststart"})
    data = bytearray(clip_file("whole.mp4", clip).read_bytes())
    place = int(0.6 * len(data))
    data[place : place + 300] = np.random.default_rng(0).bytes(300)
    path = tmp_path / "damaged.mp4"
    path.write_bytes(data)
    return path


def test_damage_inside_is_told_and_bridged(damaged_clip: Path, caplog: pytest.LogCaptureFixture):
    with FrameReader(damaged_clip, *look_at(damaged_clip)) as reader:
        numbers = [read_frame_number(pixels) for pixels in reader.read(range(100))]
    assert re.search(r"damaged\.mp4: damaged at 2\.\d+ s", caplog.text)
    assert numbers[:48] == list(range(48)) and numbers[72:] == list(range(72, 100))


def test_damaged_pictures_do_not_depend_on_the_way_to_them(damaged_clip: Path):
    """A resumed job reads the same pictures as one that was not interrupted."""
    look = look_at(damaged_clip)
    walk = [range(0, 100), [61], [61, 62], [10], range(55, 70), [99], [63]]
    with FrameReader(damaged_clip, *look) as reader:
        at_once = [list(reader.read(part)) for part in walk]
    for part, pixels in zip(walk, at_once, strict=True):
        with FrameReader(damaged_clip, *look) as reader:
            np.testing.assert_array_equal(list(reader.read(part)), pixels)


def test_a_long_stretch_without_pictures_is_refused(clip_file: MakeClip, tmp_path: Path):
    clip = Clip(num_frames=60, rate=Fraction(2), gop=1, b_frames=0, container_options={"movflags": "faststart"})
    data = bytearray(clip_file("slow.mp4", clip).read_bytes())
    data[int(0.3 * len(data)) :] = bytes(len(data) - int(0.3 * len(data)))
    path = tmp_path / "damaged.mp4"
    path.write_bytes(data)
    with (
        FrameReader(path, *look_at(path)) as reader,
        pytest.raises(InputError, match=r"damaged\.mp4: no picture can be decoded around 2\d\.\d+ s"),
    ):
        list(reader.read(range(60)))


def test_a_recording_that_starts_inside_a_group_of_pictures(clip_file: MakeClip, tmp_path: Path):
    data = clip_file("broadcast.ts", CLIPS["broadcast.ts"]).read_bytes()
    path = tmp_path / "tail.ts"
    path.write_bytes(data[188 * (len(data) // 188 * 3 // 10) :])
    with FrameReader(path, *look_at(path)) as reader:
        timeline: SourceTimeline = reader._timeline
        numbers = [read_frame_number(p) for p in reader.read(range(timeline.num_frames))]
    first = numbers[0]
    assert numbers[-10:] == list(range(40, 50))
    assert set(numbers) <= set(range(first, 50))
