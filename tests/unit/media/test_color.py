"""Known colours come out as they went in, whatever the tags."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
from media_clips import MakeClip, look_at
from synthetic import COLORS, Clip, draw, make_image, read_colors, read_frame_number

from infinitetalk_cli.media.reader import FrameReader
from infinitetalk_cli.media.tonemap import to_sdr


def first_frame(path: Path) -> np.ndarray:
    with FrameReader(path, *look_at(path)) as reader:
        (pixels,) = reader.read([0])
    return pixels


@pytest.mark.parametrize("matrix", ["bt709", "smpte170m", "bt470bg", "bt2020nc"])
@pytest.mark.parametrize("color_range", ["tv", "pc"])
def test_matrix_and_range(clip_file: MakeClip, matrix: str, color_range: str):
    clip = Clip(num_frames=2, tags={"matrix": matrix, "range": color_range})
    # 4:2:0 at crf 12 rounds three times; a wrong matrix is off by 10 or more.
    assert np.abs(read_colors(first_frame(clip_file("a.mp4", clip))) - COLORS).max() < 3


@pytest.mark.parametrize(("size", "matrix"), [((96, 64), "smpte170m"), ((1280, 720), "bt709"), ((720, 1280), "bt709")])
def test_untagged_video_has_the_matrix_usual_for_its_size(clip_file: MakeClip, size: tuple[int, int], matrix: str):
    path = clip_file("a.mkv", Clip(num_frames=2, size=size))
    info, _ = look_at(path)
    assert info.video.color_space is None
    assert info.video.matrix == matrix


def test_grey_video(clip_file: MakeClip):
    pixels = first_frame(clip_file("grey.mkv", Clip(num_frames=2, codec="ffv1", pix_fmt="gray")))
    assert np.abs(np.diff(read_colors(pixels), axis=1)).max() <= 1
    assert read_frame_number(pixels) == 0


def test_transparency_is_shown_over_black(tmp_path: Path):
    alpha = np.full((64, 96), 255, np.uint8)
    alpha[:, 48:] = 0
    colors = read_colors(first_frame(make_image(tmp_path / "a.png", alpha=alpha)))
    np.testing.assert_array_equal(colors[:2], COLORS[:2])
    np.testing.assert_array_equal(colors[2:], 0)


@pytest.mark.parametrize("suffix", [".bmp", ".tiff", ".webp", ".png"])
def test_lossless_pictures_keep_their_bytes(tmp_path: Path, suffix: str):
    from PIL import Image

    path = tmp_path / f"a{suffix}"
    Image.fromarray(draw(9)).save(path, **({"lossless": True} if suffix == ".webp" else {}))
    np.testing.assert_array_equal(first_frame(path), draw(9))


def test_palettes(tmp_path: Path):
    from PIL import Image

    Image.fromarray(draw(9)).convert("P", palette=Image.Palette.ADAPTIVE).save(tmp_path / "a.png")
    np.testing.assert_array_equal(first_frame(tmp_path / "a.png"), draw(9))


@pytest.mark.parametrize("transfer", ["smpte2084", "arib-std-b67"])
def test_high_dynamic_range_is_mapped_and_told(clip_file: MakeClip, transfer: str, caplog: pytest.LogCaptureFixture):
    tags = {"matrix": "bt2020nc", "primaries": "bt2020", "transfer": transfer, "range": "tv"}
    path = clip_file("hdr.mp4", Clip(num_frames=3, codec="libx265", pix_fmt="yuv420p10le", tags=tags))
    with caplog.at_level(logging.WARNING):
        colors = read_colors(first_frame(path))
    assert transfer in caplog.text
    expected = 255 * to_sdr(COLORS / 255, transfer, "bt2020")
    # The table has 33 steps a side, and PQ's slope is steep where these saturated patches lie.
    assert np.abs(colors - expected).max() < 8
