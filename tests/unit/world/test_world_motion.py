import dataclasses

import numpy as np
import pytest
import torch

from infinitetalk_cli.world import clip as clip_module
from infinitetalk_cli.world.camera import STILL_CAMERA, CameraAmplitudes, draw_camera
from infinitetalk_cli.world.characters import draw_character
from infinitetalk_cli.world.clip import make_clip, matte, render
from infinitetalk_cli.world.curves import shaking
from infinitetalk_cli.world.gestures import draw_hands, uses_hands
from infinitetalk_cli.world.motion import draw_head
from infinitetalk_cli.world.phonemes import MouthTrack
from infinitetalk_cli.world.portrait import mouth_center_y
from infinitetalk_cli.world.prosody import Accent, Phrase, Prosody

RESTLESS = CameraAmplitudes(1.0, 1.0, 1.0)


def mouth_of(openness, num_frames=12):
    rows = np.tile(np.array([openness, 0.5, 0.3, 0.2], np.float32), (num_frames, 1))
    return MouthTrack.from_stacked(rows)


def spoken(num_frames, accents=(), phrases=((0.2, 2.0),)):
    level = np.full(num_frames, 0.5, np.float32)
    return Prosody(
        level, np.zeros(num_frames, np.float32), tuple(Accent(*a) for a in accents), tuple(Phrase(*p) for p in phrases)
    )


@pytest.mark.parametrize("camera", [STILL_CAMERA, RESTLESS])
def test_pictures_do_not_depend_on_how_many_are_drawn_at_once(monkeypatch, camera):
    rng = np.random.default_rng(0)
    mouth = MouthTrack.from_stacked(rng.random((7, 4)).astype(np.float32))
    for seed, (height, width) in enumerate(((48, 64), (64, 48), (48, 48))):
        drawn = []
        for block in (1, 3, 7):
            monkeypatch.setattr(clip_module, "_BLOCK_PIXELS", {"cpu": block * height * width})
            drawn.append(make_clip(seed, mouth, height, width, 1.0, camera, hands=True).frames_u8)
        np.testing.assert_array_equal(drawn[0], drawn[2])
        np.testing.assert_array_equal(drawn[1], drawn[2])


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_draws_the_same_within_one_level():
    mouth = mouth_of(0.4)
    here, there = (make_clip(3, mouth, 96, 96, 1.0, RESTLESS, True, device=d).frames_u8 for d in ("cpu", "cuda"))
    difference = np.abs(here.astype(int) - there)
    assert difference.max() <= 2
    assert difference.mean() < 0.01


@pytest.mark.parametrize(("name", "still"), [("pan", ("zoom", "roll")), ("zoom", ("pan_x", "pan_y", "roll"))])
def test_each_movement_of_the_camera_has_its_own_amplitude(name, still):
    rest = draw_camera(3, 100, STILL_CAMERA)
    moved = draw_camera(3, 100, dataclasses.replace(STILL_CAMERA, **{name: 0.5}))
    twice = draw_camera(3, 100, dataclasses.replace(STILL_CAMERA, **{name: 1.0}))
    assert rest.is_still
    assert not moved.is_still
    for part in still:
        assert torch.equal(getattr(moved, part), getattr(rest, part))
    torch.testing.assert_close(2 * moved.pan_x, twice.pan_x)
    torch.testing.assert_close(2 * moved.zoom.log(), twice.zoom.log())


def test_a_held_camera_shakes_within_its_band():
    import random

    power = np.abs(np.fft.rfft(shaking(random.Random(1), 500).numpy() * np.hanning(500))) ** 2
    hz = np.fft.rfftfreq(500, 1 / 25)
    assert power[(hz < 0.5) | (hz > 5.5)].sum() < 0.01 * power.sum()


@pytest.mark.parametrize(("height", "width"), [(96, 96), (80, 128), (160, 112)])
def test_the_truth_of_head_and_camera_leads_to_the_mouth(height, width):
    clip = make_clip(7, mouth_of(0.6), height, width, 1.0, RESTLESS)
    x, y, turn, unit_px, yaw, nod = clip.head_pose.T
    from_nose = 0.05 * yaw, mouth_center_y(clip.character, 0.6) + 0.04 * nod
    place = unit_px * (from_nose[0] + 1j * from_nose[1]) * np.exp(1j * turn)
    np.testing.assert_allclose(clip.mouth_px, np.stack((x + place.real, y + place.imag), axis=1), atol=1e-3)
    closed = render(clip.character, mouth_of(0.0), clip.motion, height, width)
    change = np.abs(clip.frames_u8.astype(int) - closed.frames_u8).sum(axis=3)
    grid = np.mgrid[:height, :width]
    for frame in (0, 6, 11):
        bright = change[frame] > 90
        middle = [axis[bright].mean() for axis in grid]
        assert np.hypot(middle[1] - clip.mouth_px[frame, 0], middle[0] - clip.mouth_px[frame, 1]) < 0.06 * height


def test_the_camera_truth_says_where_the_background_is_seen():
    amplitudes = CameraAmplitudes(1.0, 1.0, 0.5)
    clip = make_clip(2, mouth_of(0.3), 96, 96, 0.5, amplitudes)
    seen, before = clip.frames_u8.astype(float), matte(clip)
    pan_x, pan_y, zoom, roll = clip.camera.T
    rows, columns = np.mgrid[:96, :96] - 47.5
    place = columns + 1j * rows
    compared = 0
    for frame in (4, 11):
        # a pixel of the first frame -> the scene -> a pixel of this one
        scene = (place - (pan_x[0] + 1j * pan_y[0])) / (zoom[0] * np.exp(1j * roll[0]))
        there = pan_x[frame] + 1j * pan_y[frame] + zoom[frame] * np.exp(1j * roll[frame]) * scene + 47.5 * (1 + 1j)
        column, row = there.real.round().astype(int), there.imag.round().astype(int)
        inside = (row >= 0) & (row < 96) & (column >= 0) & (column < 96)
        row, column = row.clip(0, 95), column.clip(0, 95)
        free = inside & (before[0] < 0.01) & (before[frame][row, column] < 0.01)
        error = np.abs(seen[0] - seen[frame][row, column])[free].mean()
        assert error < 0.5 * np.abs(seen[0] - seen[frame])[free].mean() + 1.0
        compared += free.sum()
    assert compared > 1000


def test_a_still_head_blinks_and_does_nothing_else():
    head = draw_head(1, mouth_of(0.5, 60), spoken(60, [(0.5, 1.0)]), 0.0)
    for name in ("x", "y", "turn", "yaw", "nod", "body_x", "body_y", "body_turn"):
        assert not getattr(head, name).any()
    assert (head.scale == 1).all()


def test_a_head_nods_on_accents_and_sinks_where_a_phrase_ends():
    accents = [(t, 1.0) for t in (0.6, 1.2, 1.8)]
    dips, ends = [], []
    for seed in range(30):
        mouth = mouth_of(0.4, 100)
        with_, without = (draw_head(seed, mouth, spoken(100, a, ((0.2, 2.4),)), 1.0) for a in (accents, ()))
        dips.append((with_.nod - without.nod)[[17, 32, 47]].mean())
        ends.append((without.nod[64] - without.nod[40]).item())
    assert np.mean(dips) > 0.2
    assert np.mean(ends) > 0.1


def test_hands_come_with_the_phrase_and_leave_after_it():
    up = []
    for seed in range(20):
        hands = draw_hands(seed, 120, spoken(120, [(1.0, 1.0)], ((0.6, 2.5),)))
        for hand in hands:
            assert hand.presence[0] == 0
            assert hand.presence[-1] == 0
            assert hand.presence.diff().abs().max() < 0.25
            up.append(float(hand.presence[40]))
    assert 0.3 < np.mean(np.array(up) > 0.9) < 0.9


def test_a_share_of_the_characters_gestures():
    assert not any(uses_hands(seed, 0.0) for seed in range(50))
    assert all(uses_hands(seed, 1.0) for seed in range(50))
    assert 0.2 < np.mean([uses_hands(seed, 0.3) for seed in range(300)]) < 0.4


def test_a_raised_hand_is_drawn_where_the_truth_says_and_leaves_the_mouth_free():
    mouth, speech = mouth_of(0.4, 60), spoken(60, [(1.0, 1.0)], ((0.1, 5.0),))
    for seed in range(6):
        without, with_ = (make_clip(seed, mouth, 96, 96, 0.3, hands=h, prosody=speech) for h in (False, True))
        change = np.abs(with_.frames_u8.astype(int) - without.frames_u8).max(axis=3)
        half_x, half_y = (int(half) for half in with_.mouth_half_px)
        for frame in (30, 50):
            column, row = with_.mouth_px[frame].round().astype(int)
            assert change[frame, row - half_y : row + half_y, column - half_x : column + half_x].max() == 0
            for x, y, presence in with_.hands[frame]:
                if presence == 1 and x < 94 and y < 94:
                    assert change[frame, int(y), max(0, int(x))] > 10
                elif presence == 0:
                    assert change[frame, :, : 40 if x < 48 else None][:, 0 if x < 48 else 56 :].max() == 0


def test_the_matte_is_the_character_and_nothing_else():
    clip = make_clip(5, mouth_of(0.4, 2), 64, 64, 0.0)
    share = matte(clip)
    column, row = clip.mouth_px[0].round().astype(int)
    assert share[0, row, column] == pytest.approx(1, abs=0.01)
    assert share[0, :3, :3].max() == 0
    other = dataclasses.replace(draw_character(5), background="white")
    plain = render(other, clip.mouth, clip.motion, 64, 64)
    opaque = share > 0.999
    assert np.abs(plain.frames_u8.astype(int) - clip.frames_u8)[opaque].max() <= 1
