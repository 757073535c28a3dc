"""A person's region lies where the person is in the generated picture, whatever was done to the frame on its way."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from synthetic import Clip, make_clip

from infinitetalk_cli.config.people import SpeakerBox
from infinitetalk_cli.config.profile import GeometryProfile
from infinitetalk_cli.errors import InputError
from infinitetalk_cli.media.info import VideoInfo
from infinitetalk_cli.media.probe import probe
from infinitetalk_cli.models.conditioning import latent_masks, person_masks
from infinitetalk_cli.models.geometry import cover_and_crop, resize_frame
from infinitetalk_cli.stages.regions import check_regions, person_regions
from infinitetalk_cli.stages.source_pixels import model_size

KEEP = GeometryProfile(area_px=256 * 128, multiple_px=16)
BUCKET = GeometryProfile(fit="bucket-480")
BOXES = (SpeakerBox(x0=24, y0=16, x1=88, y1=112), SpeakerBox(x0=140, y0=30, x1=220, y1=120))


def video_of(tmp_path: Path, **clip: object) -> VideoInfo:
    return probe(make_clip(tmp_path / "clip.mp4", Clip(num_frames=2, **clip))).video


def seen_in_frames(video: VideoInfo, box: SpeakerBox, geometry: GeometryProfile) -> np.ndarray:
    """How bright a white box, painted into an upright frame as shown, is in the generated picture, in [0, 1]."""
    shown_width, height = video.display_size
    shown = np.zeros((height, shown_width, 3), np.uint8)
    shown[box.y0 : box.y1, box.x0 : box.x1] = 255
    frame = resize_frame(shown, (height, video.upright_size[0]))  # samples need not be square
    size = model_size(video, geometry)
    fitted = resize_frame(frame, size) if geometry.fit == "keep" else cover_and_crop(frame, size)
    return fitted[..., 0] / 255


@pytest.mark.parametrize("geometry", [KEEP, BUCKET], ids=["keep", "bucket"])
@pytest.mark.parametrize(
    "clip",
    [
        {"size": (240, 128)},
        {"size": (240, 128), "rotation": 90},
        {"size": (120, 128), "sample_aspect_ratio": Fraction(2)},
        {"size": (321, 241), "pix_fmt": "yuv444p"},
    ],
    ids=["plain", "rotated", "wide samples", "odd"],
)
def test_regions_follow_the_frames(clip: dict, geometry: GeometryProfile, tmp_path: Path) -> None:
    video = video_of(tmp_path, **clip)
    size = model_size(video, geometry)
    regions = person_regions(video, BOXES, geometry, size, size)
    for region, box in zip(regions, BOXES, strict=False):
        bright = seen_in_frames(video, box, geometry)
        clear = (bright < 0.02) | (bright > 0.98)
        assert bright.max() > 0.98 and clear.mean() > 0.9
        assert np.array_equal(region.numpy()[clear] > 0, bright[clear] > 0.5)
    assert torch.equal(regions[2], 1 - regions[:2].amax(dim=0))


def test_without_boxes_people_stand_left_and_right(tmp_path: Path) -> None:
    video = video_of(tmp_path, size=(256, 128))
    regions = person_regions(video, None, KEEP, (128, 256), (16, 32))
    assert torch.equal(regions, latent_masks(person_masks((128, 256), 2), (16, 32)))


def test_a_box_too_small_for_the_tokens_names_its_person(tmp_path: Path) -> None:
    video = video_of(tmp_path, size=(256, 128))
    small = SpeakerBox(x0=3, y0=3, x1=12, y1=12)
    with pytest.raises(InputError, match="person 2"):
        check_regions(video, (BOXES[0], small), KEEP, (128, 256))
    check_regions(video, BOXES, KEEP, (128, 256))


def test_a_box_that_the_crop_cuts_away_is_refused(tmp_path: Path) -> None:
    video = video_of(tmp_path, size=(320, 80))  # the bucket 320 x 1216 is narrower
    edge = SpeakerBox(x0=0, y0=0, x1=2, y1=80)
    with pytest.raises(InputError, match="person 1"):
        check_regions(video, (edge, BOXES[0].model_copy(update={"y1": 80})), BUCKET, model_size(video, BUCKET))
