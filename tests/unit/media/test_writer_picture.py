"""The picture of a finished file: size, shape, colours, rate, and the same bytes every time."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from media_clips import MakeClip, look_at
from synthetic import COLORS, Clip, draw, make_audio, make_image, read_all_frames, read_colors, read_frame_number, tone

from infinitetalk_cli.errors import InputError, OutputError
from infinitetalk_cli.media.containers import CONTAINERS, ENCODERS, EncodeSettings, check_output
from infinitetalk_cli.media.info import VideoInfo
from infinitetalk_cli.media.picture import Picture
from infinitetalk_cli.media.probe import probe
from infinitetalk_cli.media.reader import FrameReader
from infinitetalk_cli.media.writer import write_output

RATE = Fraction(25)
NUM_FRAMES = 12

Dub = Callable[..., Path]


def drawn(num_frames: int = NUM_FRAMES, width: int = 48, height: int = 32) -> Iterator[np.ndarray]:
    return (draw(number, width, height) for number in range(num_frames))


@pytest.fixture
def dub(tmp_path: Path) -> Dub:
    """Writes `name` with drawn frames over a source; returns its path."""
    sound = make_audio(tmp_path / "dub.wav", tone(0.5))

    def write(source: Path, name: str, settings: EncodeSettings = EncodeSettings(), **options: object) -> Path:
        frames = options.pop("frames", None) or drawn()
        rate = options.pop("rate", RATE)
        write_output(
            tmp_path / name, frames, NUM_FRAMES, rate, source=source, source_info=probe(source),
            dub_audio=sound, settings=settings, **options,
        )  # fmt: skip
        return tmp_path / name

    return write


def check_frames(path: Path, tolerance: float = 4) -> VideoInfo:
    """All frames are there, in order, with the right colours; returns what the file says about its picture."""
    info, timeline = look_at(path)
    with FrameReader(path, info, timeline) as reader:
        frames = list(reader.read(range(timeline.num_frames)))
    assert [read_frame_number(pixels) for pixels in frames] == list(range(NUM_FRAMES))
    assert np.abs(read_colors(frames[3]) - COLORS).max() < tolerance
    return info.video


CODECS = [
    ("a.mp4", "h264", "yuv420p"),
    ("a.m4v", "h264", "yuv420p"),
    ("a.mp4", "hevc", "yuv420p"),
    ("a.mp4", "av1", "yuv420p"),
    ("a.mkv", "vp9", "yuv420p"),
    ("a.mov", "prores", "yuv422p10le"),
    ("a.mkv", "ffv1", "bgr0"),
    ("a.webm", None, "yuv420p"),
]


@pytest.mark.parametrize(("name", "codec", "pix_fmt"), CODECS)
def test_codecs(clip_file: MakeClip, dub: Dub, name: str, codec: str | None, pix_fmt: str, capfd):
    path = dub(clip_file("a.mp4", Clip(num_frames=3)), name, EncodeSettings(video_codec=codec))
    video = check_frames(path)
    assert (video.codec, video.pix_fmt, video.upright_size) == (codec or "vp9", pix_fmt, (96, 64))
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("name", "codec"), [("a.mp4", "h264"), ("a.mp4", "hevc"), ("a.mp4", "av1"), ("a.webm", "vp9"), ("a.mov", "prores")]
)
def test_odd_sizes_are_kept_exactly(clip_file: MakeClip, dub: Dub, name: str, codec: str):
    source = clip_file("odd.mkv", Clip(num_frames=3, size=(97, 65), pix_fmt="yuv444p", tags={"range": "pc"}))
    assert check_frames(dub(source, name, EncodeSettings(video_codec=codec))).upright_size == (97, 65)


@pytest.mark.parametrize(
    ("name", "codec", "bit_depth"),
    [("a.mp4", "hevc", 10), ("a.mp4", "av1", 10), ("a.mov", "prores", 10), ("a.mp4", "h264", 8)],
)
def test_ten_bits_where_players_take_them(clip_file: MakeClip, dub: Dub, name: str, codec: str, bit_depth: int):
    source = clip_file("ten.mkv", Clip(num_frames=3, codec="libx265", pix_fmt="yuv420p10le"))
    assert check_frames(dub(source, name, EncodeSettings(video_codec=codec))).bit_depth == bit_depth


@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_written_upright_with_the_shape_of_the_source(clip_file: MakeClip, dub: Dub, rotation: int):
    clip = Clip(num_frames=3, size=(64, 112), rotation=rotation, sample_aspect_ratio=Fraction(4, 3))
    source = clip_file("phone.mp4", clip)
    before = probe(source).video
    after = check_frames(dub(source, "a.mp4"))
    assert (after.rotation, after.upright_size, after.display_size) == (0, (64, 112), before.display_size)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov", ".webm"])
@pytest.mark.parametrize(
    "tags",
    [
        {"matrix": "bt709", "primaries": "bt709", "transfer": "bt709", "range": "tv"},
        {"matrix": "smpte170m", "primaries": "smpte170m", "transfer": "smpte170m", "range": "pc"},
        {"matrix": "bt2020nc", "primaries": "bt2020", "transfer": "bt709", "range": "tv"},
    ],
)
def test_color_tags_are_kept(clip_file: MakeClip, dub: Dub, suffix: str, tags: dict[str, str]):
    video = check_frames(dub(clip_file("a.mkv", Clip(num_frames=3, tags=tags)), f"out{suffix}"))
    written = (video.color_space, video.color_primaries, video.color_transfer, video.color_range)
    expected = [tags[key] for key in ("matrix", "primaries", "transfer", "range")]
    assert written == tuple(expected)


def test_an_untagged_source_gets_the_matrix_that_was_used(clip_file: MakeClip, dub: Dub):
    assert check_frames(dub(clip_file("a.mkv", Clip(num_frames=3)), "a.mp4")).color_space == "smpte170m"


def test_high_dynamic_range_becomes_bt709(clip_file: MakeClip, dub: Dub):
    tags = {"matrix": "bt2020nc", "primaries": "bt2020", "transfer": "arib-std-b67", "range": "tv"}
    source = clip_file("hdr.mp4", Clip(num_frames=3, codec="libx265", pix_fmt="yuv420p10le", tags=tags))
    video = check_frames(dub(source, "a.mp4", EncodeSettings(video_codec="hevc")))
    assert (video.color_space, video.color_primaries, video.color_transfer) == ("bt709", "bt709", "bt709")
    assert video.bit_depth == 8


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".webm"])
@pytest.mark.parametrize("rate", [Fraction(30_000, 1001), Fraction(24), Fraction(60)])
def test_rates_are_exact_from_the_first_frame(clip_file: MakeClip, dub: Dub, suffix: str, rate: Fraction):
    path = dub(clip_file("a.mp4", Clip(num_frames=3)), f"a{suffix}", rate=rate)
    _, timeline = look_at(path)
    assert timeline.time_of(0) == 0
    slack_s = Fraction(0) if suffix == ".mp4" else Fraction(1, 1000)
    assert all(abs(timeline.time_of(index) - index / rate) <= slack_s for index in range(NUM_FRAMES))


@pytest.mark.parametrize("name", ["a.png", "a.jpg"])
def test_a_still_image_as_source(tmp_path: Path, dub: Dub, name: str):
    assert check_frames(dub(make_image(tmp_path / name), "a.mp4")).color_range == "tv"


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".webm"])
def test_the_same_frames_give_the_same_bytes(clip_file: MakeClip, dub: Dub, suffix: str):
    source = clip_file("a.mp4", Clip(num_frames=3, size=(320, 240)))
    first, second = (dub(source, f"{name}{suffix}").read_bytes() for name in "ab")
    assert first == second


def test_frames_already_at_size_are_nearly_untouched(clip_file: MakeClip, dub: Dub):
    path = dub(
        clip_file("a.mp4", Clip(num_frames=3)),
        "a.mkv",
        EncodeSettings(video_codec="ffv1"),
        frames=drawn(NUM_FRAMES, 96, 64),
    )
    np.testing.assert_array_equal(read_all_frames(path), list(drawn(NUM_FRAMES, 96, 64)))


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("a.mp4", EncodeSettings(quality=-1), r"h264 has no quality -1; choose from 0 \(best\) to 51"),
        ("a.mp4", EncodeSettings(quality=60), "no quality 60"),
        ("a.mp4", EncodeSettings(video_codec="hevc", quality=52), "no quality 52"),
        # 0 means "not given" to libavcodec's av1 encoder.
        ("a.mp4", EncodeSettings(video_codec="av1", quality=0), r"no quality 0; choose from 1 \(best\) to 63"),
        ("a.webm", EncodeSettings(quality=64), "vp9 has no quality 64"),
        ("a.mp4", EncodeSettings(preset="quickly"), "no encoder preset 'quickly'; use ultrafast, .* or placebo"),
        ("a.mp4", EncodeSettings(video_codec="av1", preset="99"), "no encoder preset '99'; use 0, .* or 13"),
        ("a.webm", EncodeSettings(preset="slow"), "no encoder preset 'slow'; use 0, .* or 8"),
        ("a.avi", EncodeSettings(), r"use one of \.mp4"),
        ("a.mp4", EncodeSettings(video_codec="prores"), "use h264, hevc, av1 or vp9"),
        ("a.webm", EncodeSettings(video_codec="h264"), "use vp9 or av1"),
        ("a.webm", EncodeSettings(audio_codec="aac"), "use auto, copy or opus"),
        ("a.mov", EncodeSettings(video_codec="prores", quality=20), "has no quality"),
        ("a.mkv", EncodeSettings(video_codec="ffv1", preset="slow"), "has no encoder preset"),
    ],
)
def test_what_cannot_be_written_is_told_before_any_work(name: str, settings: EncodeSettings, message: str):
    with pytest.raises(OutputError, match=message):
        check_output(Path(name), settings)


def test_a_copy_that_cannot_be_is_told_before_any_work():
    with pytest.raises(OutputError, match="pcm_s16le audio cannot be copied into this container"):
        check_output(Path("a.mp4"), EncodeSettings(audio_codec="copy"), dub_codec="pcm_s16le")
    check_output(Path("a.mkv"), EncodeSettings(audio_codec="copy"), dub_codec="pcm_s16le")


def test_a_bad_preset_is_an_output_error(clip_file: MakeClip, dub: Dub):
    with pytest.raises(OutputError, match=r"a\.mp4"):
        dub(clip_file("a.mp4", Clip(num_frames=3)), "a.mp4", EncodeSettings(preset="quickly"))


def test_every_preset_and_the_ends_of_every_quality_are_taken(clip_file: MakeClip):
    source = probe(clip_file("a.mp4", Clip(num_frames=3)))
    for codec, encoder in ENCODERS.items():
        quality, presets = encoder.quality, encoder.presets
        choices = [{"preset": name} for name in (presets.names if presets else ())]
        choices += [{"quality": value} for value in ((quality.best, quality.worst) if quality else ())]
        for choice in choices:
            settings = EncodeSettings(video_codec=codec, **choice)
            check_output(Path("a.mkv"), settings)
            with av.open(io.BytesIO(), "w", format="matroska") as out:
                Picture(out, CONTAINERS[".mkv"], settings, source, RATE).stream.codec_context.open(strict=False)


def test_the_best_quality_is_better_than_the_usual(clip_file: MakeClip, dub: Dub):
    source = clip_file("a.mp4", Clip(num_frames=3))
    for codec, encoder in ENCODERS.items():
        if encoder.quality is not None:
            best = dub(source, "best.mkv", EncodeSettings(video_codec=codec, quality=encoder.quality.best))
            usual = dub(source, "usual.mkv", EncodeSettings(video_codec=codec))
            assert best.stat().st_size > usual.stat().st_size, codec


def test_hevc_of_a_picture_too_narrow_for_its_encoder_is_refused(clip_file: MakeClip, dub: Dub):
    narrow = clip_file("narrow.mp4", Clip(num_frames=3, size=(48, 200)))
    with pytest.raises(OutputError, match="hevc takes no pictures narrower than 49 pixels, this one has 48"):
        dub(narrow, "a.mp4", EncodeSettings(video_codec="hevc"))
    check_frames(dub(clip_file("low.mp4", Clip(num_frames=3, size=(96, 32))), "b.mp4", EncodeSettings("hevc")), 40)


def test_the_size_written_settles_the_pixel_format(clip_file: MakeClip, dub: Dub):
    source = clip_file("odd.mkv", Clip(num_frames=3, size=(97, 65), pix_fmt="yuv444p"))
    assert check_frames(dub(source, "a.mp4", size=(96, 64))).pix_fmt == "yuv420p"


def test_no_folder_to_write_to(clip_file: MakeClip, dub: Dub):
    with pytest.raises(OutputError, match="No such file or directory"):
        dub(clip_file("a.mp4", Clip(num_frames=3)), "missing/a.mp4")


def test_errors_of_the_frames_are_not_blamed_on_the_output(clip_file: MakeClip, dub: Dub):
    def broken() -> Iterator[np.ndarray]:
        yield draw(0)
        raise InputError("chunk 3 is damaged")

    with pytest.raises(InputError, match="chunk 3"):
        dub(clip_file("a.mp4", Clip(num_frames=3)), "a.mp4", frames=broken())
