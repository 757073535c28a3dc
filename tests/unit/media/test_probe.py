"""What a file is said to be."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from synthetic import (
    COLORS,
    Clip,
    ClipAudio,
    draw,
    make_audio,
    make_clip,
    make_image,
    read_colors,
    read_frame_number,
    silence,
    tone,
    truncate,
    with_unknown_video,
)

from infinitetalk_cli.errors import InputError
from infinitetalk_cli.media.info import MediaInfo
from infinitetalk_cli.media.probe import probe, probe_audio, require_audio, require_video
from infinitetalk_cli.media.reader import FrameReader
from infinitetalk_cli.media.scan import scan_timeline


def test_everything_about_a_clip(tmp_path: Path):
    sound = ClipAudio(tone(2.0, channels=2), language="deu", title="Ton", start_s=Fraction(1, 2))
    path = make_clip(
        tmp_path / "a.mkv",
        Clip(
            size=(64, 112),
            rotation=0,
            sample_aspect_ratio=Fraction(4, 3),
            tags={"matrix": "bt709", "primaries": "bt709", "transfer": "bt709", "range": "pc"},
            audio=(sound,),
            subtitles=((Fraction(0), Fraction(1), "hallo"),),
            chapters=((Fraction(0), Fraction(1), "one"), (Fraction(1), Fraction(2), "two")),
            metadata={"title": "Ein Versuch"},
        ),
    )
    info = probe(path)
    video, audio = info.video, info.audio[0]
    assert (video.codec, video.width, video.height, video.pix_fmt) == ("h264", 64, 112, "yuvj420p")
    assert (video.sample_aspect_ratio, video.display_size) == (Fraction(4, 3), (85, 112))
    assert (video.color_space, video.color_primaries, video.color_transfer, video.color_range) == (
        "bt709", "bt709", "bt709", "pc",
    )  # fmt: skip
    assert (audio.codec, audio.rate_hz, audio.channels, audio.language) == ("aac", 48_000, 2, "deu")
    assert audio.title == "Ton"
    assert abs(audio.start_s - Fraction(1, 2)) < Fraction(3, 100)  # less the encoder's delay
    assert [(s.kind, s.codec, s.language) for s in info.other] == [("subtitle", "subrip", "deu")]
    assert [(c.start_s, c.stop_s, c.metadata["title"]) for c in info.chapters] == [(0, 1, "one"), (1, 2, "two")]
    assert info.metadata["title"] == "Ein Versuch"
    assert MediaInfo.model_validate_json(info.model_dump_json()) == info


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
@pytest.mark.parametrize("is_mirrored", [False, True])
def test_rotation_flags(tmp_path: Path, rotation: int, is_mirrored: bool):
    path = make_clip(tmp_path / "a.mp4", Clip(num_frames=3, size=(64, 112), rotation=rotation, is_mirrored=is_mirrored))
    video = probe(path).video
    assert (video.rotation, video.is_mirrored, video.upright_size) == (rotation, is_mirrored, (64, 112))


def test_sample_aspect_ratio_turns_with_the_picture(tmp_path: Path):
    path = make_clip(
        tmp_path / "a.mp4", Clip(num_frames=3, size=(64, 112), rotation=90, sample_aspect_ratio=Fraction(4, 3))
    )
    video = probe(path).video
    assert video.upright_sample_aspect_ratio == Fraction(3, 4)
    assert video.display_size == (48, 112)


def test_bits_and_high_dynamic_range(tmp_path: Path):
    tags = {"matrix": "bt2020nc", "primaries": "bt2020", "transfer": "smpte2084", "range": "tv"}
    path = make_clip(tmp_path / "a.mp4", Clip(num_frames=3, codec="libx265", pix_fmt="yuv420p10le", tags=tags))
    video = probe(path).video
    assert (video.bit_depth, video.is_hdr, video.has_alpha, video.is_interlaced) == (10, True, False, False)


def test_interlaced(tmp_path: Path):
    assert probe(make_clip(tmp_path / "a.mp4", Clip(num_frames=3, is_interlaced=True))).video.is_interlaced


def test_only_the_sound_is_looked_at_where_only_that_is_wanted(tmp_path: Path):
    sound = ClipAudio(tone(1.0), start_s=Fraction(1, 2))
    path = make_clip(tmp_path / "a.mp4", Clip(num_frames=25, audio=(sound,)))
    expected = probe(path).model_copy(update={"video": None})
    assert probe_audio(path) == expected
    unknown = with_unknown_video(path, tmp_path / "b.mp4")
    with pytest.raises(InputError, match="codec is not known"):
        probe(unknown)
    info = probe_audio(unknown)
    assert (info.audio, info.start_s, info.duration_s) == (expected.audio, expected.start_s, expected.duration_s)


def test_a_picture_has_no_sound(tmp_path: Path):
    path = make_image(tmp_path / "a.png")
    with pytest.raises(InputError, match="no audio stream"):
        require_audio(path, probe_audio(path))


@pytest.mark.parametrize("name", ["a.mp3", "a.m4a"])
def test_cover_art_is_not_video(tmp_path: Path, name: str):
    info = probe(make_audio(tmp_path / name, tone(1.0), cover=True))
    assert info.video is None
    assert [stream.kind for stream in info.other] == ["cover"]
    with pytest.raises(InputError, match="no video stream"):
        require_video(tmp_path / name, info)


def test_no_audio_is_said(tmp_path: Path):
    path = make_clip(tmp_path / "a.mp4", Clip(num_frames=3))
    with pytest.raises(InputError, match="no audio stream"):
        require_audio(path, probe(path))


def test_the_default_audio_track_is_taken(tmp_path: Path):
    path = make_clip(tmp_path / "a.mkv", Clip(num_frames=3, audio=(ClipAudio(tone(1.0)), ClipAudio(silence(1.0)))))
    info = probe(path)
    assert require_audio(path, info) == info.audio[0]


NAMES = ["-dash.mp4", "co:lon.mkv", "a %03d.mp4", "sp ace 'q' \"d\".mp4", "видео 影片.mp4", "file:x.mkv", "*?[x].mp4"]


@pytest.mark.parametrize("name", NAMES)
def test_any_name_opens(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch):
    make_clip(tmp_path / name, Clip(num_frames=2))
    monkeypatch.chdir(tmp_path)
    assert probe(Path(name)).video.codec == "h264"


@pytest.mark.parametrize("name", ["%03d.png", "*x?.png", "-é 'q'.jpg"])
def test_pictures_with_any_name(tmp_path: Path, name: str):
    path = make_image(tmp_path / name, 97, 65, number=77)
    info = probe(path)
    assert (info.is_image, info.duration_s, info.video.upright_size) == (True, 0, (97, 65))
    with FrameReader(path, info, scan_timeline(path, info)) as reader:
        (pixels,) = reader.read([0])
    assert read_frame_number(pixels) == 77


@pytest.mark.parametrize("orientation", range(1, 9))
def test_photos_are_turned_by_their_exif(tmp_path: Path, orientation: int):
    turn_back = {
        2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_90, 7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }  # fmt: skip
    picture = Image.fromarray(draw(5))
    exif = picture.getexif()
    exif[0x0112] = orientation
    if orientation in turn_back:
        picture = picture.transpose(turn_back[orientation])
    picture.save(tmp_path / "a.jpg", exif=exif, quality=95)
    info = probe(tmp_path / "a.jpg")
    with FrameReader(tmp_path / "a.jpg", info, scan_timeline(tmp_path / "a.jpg", info)) as reader:
        (pixels,) = reader.read([0])
    assert read_frame_number(pixels) == 5
    assert np.abs(read_colors(pixels) - COLORS).max() < 3


def test_one_frame_gif_is_a_picture(tmp_path: Path):
    Image.fromarray(draw(5)).save(tmp_path / "a.gif")
    assert probe(tmp_path / "a.gif").is_image
    assert not probe(make_clip(tmp_path / "b.gif", Clip(num_frames=3))).is_image


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("missing.mp4", None, "no such file"),
        ("empty.mp4", b"", "empty"),
        ("notes.txt", b"just some words\n" * 50, "not a media file"),
        ("notes.mp4", b"just some words\n" * 50, "not a media file"),
        ("noise.mp4", np.random.default_rng(0).bytes(100_000), "not a media file"),
        ("list.m3u8", b"#EXTM3U\n#EXTINF:5,\nhttp://example.com/x.ts\n", "not a media file"),
        ("texts.srt", b"1\n00:00:01,000 --> 00:00:02,000\nhi\n", "neither video nor audio"),
    ],
)
def test_what_is_not_media_is_said_in_one_sentence(tmp_path: Path, name: str, content: bytes | None, message: str):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        probe(tmp_path / name)
    assert str(tmp_path / name) in str(caught.value)


def test_a_folder_is_not_media(tmp_path: Path):
    with pytest.raises(InputError, match="not a file"):
        probe(tmp_path)


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_pictures_cut_short(tmp_path: Path, suffix: str):
    cut = truncate(make_image(tmp_path / f"a{suffix}"), 0.85, tmp_path / f"b{suffix}")
    with pytest.raises(InputError, match=r"cut short|damaged"):
        probe(cut)


def test_mp4_without_its_index_is_said_to_be_cut_short(tmp_path: Path):
    cut = truncate(make_clip(tmp_path / "a.mp4", Clip()), 0.9, tmp_path / "b.mp4")
    with pytest.raises(InputError, match="cut short"):
        probe(cut)
