import numpy as np
import pytest
import torch

from infinitetalk_cli.evaluate.synthetic.appearance import appearance
from infinitetalk_cli.evaluate.synthetic.motion import (
    camera_error,
    head_error,
    regions_of,
    track_camera,
    track_head,
    true_camera,
    true_head,
)
from infinitetalk_cli.models.geometry import pixels_from_frames
from infinitetalk_cli.world.camera import CameraAmplitudes
from infinitetalk_cli.world.clip import make_clip
from infinitetalk_cli.world.phonemes import MouthTrack

NUM_FRAMES = 10


def clip_of(seed, height=96, width=96, head=0.4, hands=False):
    rng = np.random.default_rng(seed)
    mouth = MouthTrack.from_stacked(rng.random((60, 4)).astype(np.float32))
    whole = make_clip(seed, mouth, height, width, head, CameraAmplitudes(1.0, 1.0, 0.5), hands)
    every = slice(0, 60, 60 // NUM_FRAMES)
    few = {name: getattr(whole, name)[every] for name in ("frames_u8", "mouth", "mouth_px", "head_pose", "camera")}
    return type(whole)(whole.character, motion=whole.motion[every], mouth_half_px=whole.mouth_half_px,
                       hands=whole.hands[every], **few)  # fmt: skip


@pytest.fixture(scope="module")
def clip():
    return clip_of(21)


@pytest.fixture(scope="module")
def regions(clip):
    return regions_of(clip)


def pixels(clip):
    return pixels_from_frames(clip.frames_u8)[0]


@pytest.mark.parametrize(("seed", "height", "width"), [(2, 96, 96), (9, 80, 128), (14, 128, 96)])
def test_the_camera_of_true_frames_is_found(seed, height, width):
    clip = clip_of(seed, height, width, hands=True)
    found = track_camera(pixels(clip), clip, regions_of(clip))
    floor = camera_error(found, clip)
    assert true_camera(clip).shift.abs().max() > 2
    assert floor.place_px < 0.15
    assert floor.zoom < 0.002
    assert floor.roll_deg < 0.1


def test_the_head_of_true_frames_is_found(clip, regions):
    floor = head_error(track_head(pixels(clip), clip, regions), clip, regions)
    assert true_head(clip).shift.abs().max() > 2
    assert floor.place_px < 0.8
    assert floor.zoom < 0.02
    assert floor.roll_deg < 1.0


def test_a_video_whose_camera_stands_still_is_wrong_by_the_true_movement(clip, regions):
    frozen = pixels(clip)[:, :1].expand(-1, NUM_FRAMES, -1, -1)
    error = camera_error(track_camera(frozen, clip, regions), clip)
    assert error.place_px == pytest.approx(float(true_camera(clip).shift.abs().mean()), abs=0.2)
    assert error.zoom == pytest.approx(float((1 / true_camera(clip).factor.abs() - 1).abs().mean()), abs=0.003)


def test_a_shifted_video_is_wrong_by_the_shift(clip, regions):
    shifted = pixels(clip).roll(3, dims=3)
    error = camera_error(track_camera(shifted, clip, regions), clip)
    assert error.place_px == pytest.approx(3, abs=0.25)


def test_noise_and_another_brightness_do_not_mislead_the_camera(clip, regions):
    generator = torch.Generator().manual_seed(0)
    spoiled = 0.9 * pixels(clip) + 0.05 + 0.05 * torch.randn(pixels(clip).shape, generator=generator)
    assert camera_error(track_camera(spoiled, clip, regions), clip).place_px < 0.3


def test_looks_are_judged_wherever_the_head_is(clip, regions):
    spans = [slice(0, 5), slice(5, NUM_FRAMES)]
    true = pixels(clip)
    reference = true[:, 0]

    def judged(video):
        track = track_head(video, clip, regions)
        return appearance(video, track, reference, regions.head, regions.before_head, spans)

    floor = judged(true)
    assert max(floor.color) < 2.5
    assert min(floor.likeness) > 0.8
    drifting = true.clone()
    drifting[:, 5:] += 12 / 127.5
    assert judged(drifting).color[1] - floor.color[1] == pytest.approx(12, abs=2)
    assert judged(drifting).color[0] == pytest.approx(floor.color[0], abs=0.3)
    stranger = pixels(clip_of(22))
    assert max(judged(stranger).likeness) < min(floor.likeness) - 0.15
