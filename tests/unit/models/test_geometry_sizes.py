from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from infinitetalk_cli.models.geometry import (
    BUCKETS_480,
    BUCKETS_720,
    choose_bucket,
    cover_and_crop,
    cover_and_crop_masks,
    fit_size,
    frames_from_pixels,
    pixels_from_frames,
    resize_frame,
)

SIDES = st.integers(64, 4000)


@given(height=SIDES, width=SIDES, area=st.sampled_from([9216, 640 * 640, 960 * 960]))
def test_fit_size_keeps_ratio_and_area(height: int, width: int, area: int) -> None:
    size = fit_size((height, width), area, multiple=16)
    ideal = (math.sqrt(area * height / width), math.sqrt(area * width / height))
    for side, wanted in zip(size, ideal, strict=True):
        assert side % 16 == 0
        assert side >= 16
        assert abs(side - wanted) <= 16


@pytest.mark.parametrize(
    ("source", "area", "expected"),
    [
        ((1080, 1080), 96 * 96, (96, 96)),
        ((720, 1280), 640 * 640, (480, 848)),
        ((1280, 720), 640 * 640, (848, 480)),
    ],
)
def test_fit_size(source: tuple[int, int], area: int, expected: tuple[int, int]) -> None:
    assert fit_size(source, area, multiple=16) == expected


def test_bucket_ties_go_to_the_first() -> None:
    assert choose_bucket((3, 2), {"1.25": (5, 4), "1.75": (7, 4)}) == "1.25"


@pytest.mark.parametrize("buckets", [BUCKETS_480, BUCKETS_720])
def test_bucket_keys_tell_the_ratio(buckets: dict[str, tuple[int, int]]) -> None:
    for key, (height, width) in buckets.items():
        assert height % 64 == width % 64 == 0
        assert choose_bucket((height, width), buckets) == key


@given(
    height=st.integers(8, 90),
    width=st.integers(8, 90),
    target=st.sampled_from([(16, 32), (48, 48), (64, 16)]),
)
def test_cover_and_crop_gives_the_size(height: int, width: int, target: tuple[int, int]) -> None:
    picture = np.full((height, width, 3), (10, 20, 30), np.uint8)
    assert np.array_equal(cover_and_crop(picture, target), np.full((*target, 3), (10, 20, 30), np.uint8))
    masks = torch.ones(3, height, width, dtype=torch.uint8)
    assert torch.equal(cover_and_crop_masks(masks, target), torch.ones(3, *target, dtype=torch.uint8))


def test_resize_keeps_the_edges() -> None:
    picture = np.zeros((20, 40, 3), np.uint8)
    picture[:, :4], picture[:, -4:] = 255, 255
    small = resize_frame(picture, (10, 10))
    assert small[:, 0].min() == small[:, -1].min() > 200
    assert small[:, 3:7].max() == 0
    assert resize_frame(picture, (20, 40)) is picture


def test_pixels_and_back() -> None:
    frames = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1).repeat(3, axis=3)
    pixels = pixels_from_frames(frames)
    assert pixels.shape == (1, 3, 1, 16, 16)
    assert pixels.min() == -1
    assert pixels.max() == 1
    assert np.array_equal(frames_from_pixels(pixels), frames)
    assert np.array_equal(frames_from_pixels(pixels * 1000), np.where(frames < 128, 0, 255))
