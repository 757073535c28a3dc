"""The measures without weights: each sees the fault it is for, and only that."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from infinitetalk_cli.evaluate.measures import background, camera, drift, mouth, rhythm, seams, sound
from infinitetalk_cli.evaluate.measures.face import FaceTrack
from infinitetalk_cli.evaluate.measures.flow import dense_flow
from infinitetalk_cli.evaluate.measures.regions import person_masks
from infinitetalk_cli.evaluate.measures.series import highpass, lagged, peak_of, theil_sen
from infinitetalk_cli.evaluate.measures.trace import Trace, trace_video

FRAMES, SIDE = 24, 160
_SEAM = 13


def _texture(seed: int, side: int, softness: float) -> np.ndarray:
    from scipy.ndimage import gaussian_filter

    noise = np.random.default_rng(seed).normal(size=(side, side))
    smooth = gaussian_filter(noise, softness)
    return smooth / smooth.std()


def _film(path: Callable[[int], complex] = lambda t: 0j, zoom: Callable[[int], float] = lambda t: 1.0) -> np.ndarray:
    """(t, h, w, 3) a textured room seen by a camera, and before it somebody who sways."""
    from scipy.ndimage import map_coordinates

    room = 120 + 45 * _texture(0, 2 * SIDE, 2.0)
    person = 120 + 40 * _texture(1, 2 * SIDE, 2.0)
    rows, columns = np.mgrid[:SIDE, :SIDE].astype(float)
    place = (columns - (SIDE - 1) / 2) + 1j * (rows - (SIDE - 1) / 2)
    frames = []
    for t in range(FRAMES):
        seen = (place - path(t)) / zoom(t)
        picture = map_coordinates(room, [seen.imag + SIDE, seen.real + SIDE], order=3)
        sway = 3 * np.sin(t / 3)
        inside = ((columns - SIDE / 2 - sway) / 30) ** 2 + ((rows - 95) / 60) ** 2 < 1
        body = map_coordinates(person, [rows + SIDE / 2, columns + SIDE / 2 - sway], order=1)
        frames.append(np.where(inside, body, picture))
    grey = np.clip(np.stack(frames), 0, 255).round().astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=-1)


NOBODY = FaceTrack(None, "nobody", 0.0)


@pytest.fixture(scope="module")
def still_film() -> np.ndarray:
    return _film()


@pytest.fixture(scope="module")
def still(still_film: np.ndarray) -> Trace:
    return trace_video(still_film, NOBODY)


def _made(still_film: np.ndarray, change: Callable[[np.ndarray, int], np.ndarray]) -> Trace:
    levels = still_film.astype(float)
    changed = np.stack([change(frame, t) for t, frame in enumerate(levels)])
    return trace_video(np.clip(changed, 0, 255).round().astype(np.uint8), NOBODY)


def test_a_copy_is_ideal(still_film: np.ndarray, still: Trace) -> None:
    again = trace_video(still_film, NOBODY)
    values = camera.camera_values(again, still, SIDE)
    assert values["ate_px"] == values["rpe_px"] == values["roll_deg"] == values["log_zoom"] == values["error_px"] == 0
    assert values["agree"] > 0.9
    assert all(value == 0 for value in drift.drift_values(again, still).values())
    found = seams.seam_values(again, still, [_SEAM])
    assert found["color_z"] == found["color_z_source"]
    assert found["momentum_z"] == found["momentum_z_source"] < seams.SEEN


def test_a_trace_is_kept(tmp_path, still: Trace) -> None:
    still.save(tmp_path / "t.npz")
    again = Trace.load(tmp_path / "t.npz")
    assert np.array_equal(again.camera_shift, still.camera_shift)
    assert not again.has_face


def test_batches_do_not_count(still_film: np.ndarray, still: Trace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("infinitetalk_cli.evaluate.measures.trace._AT_ONCE", 5)
    other = trace_video(iter(still_film), NOBODY)
    for name, values in vars(still).items():
        assert np.allclose(values, getattr(other, name), atol=1e-4), name
    assert len(other.residual) == FRAMES - 1
    assert len(other.flow_change) == FRAMES - 2


def test_the_camera_is_measured_to_a_fraction_of_a_pixel_past_somebody_who_moves() -> None:
    def path(t: int) -> complex:
        return 6 * np.sin(t / 7) + 4j * (1 - np.cos(t / 5))

    def zoom(t: int) -> float:
        return 1.004**t

    moving = trace_video(_film(path, zoom), NOBODY)
    found, _ = camera.paths(moving, moving)
    truth = np.array([path(t) for t in range(FRAMES)])
    assert np.sqrt((np.abs(found.shift - truth) ** 2).mean()) < 0.15
    assert abs(found.factor[-1]) == pytest.approx(zoom(FRAMES - 1), abs=1e-3)


def test_a_frozen_camera_has_the_error_of_its_path_and_no_energy(still: Trace) -> None:
    moving = trace_video(_film(lambda t: 0.5 * t), NOBODY)
    values = camera.camera_values(still, moving, SIDE)
    expected = np.sqrt(((0.5 * np.arange(FRAMES)) ** 2).mean())
    assert values["ate_px"] == pytest.approx(expected, abs=0.15)
    assert values["energy_ratio"] < 0.1
    assert values["energy_source_px"] == pytest.approx(0.5, abs=0.03)
    assert drift.drift_values(still, moving)["delta_e_mean"] < 1.5
    assert camera.camera_values(still, still, SIDE)["energy_ratio"] is None


def test_a_background_that_cannot_be_seen_is_no_still_camera() -> None:
    bare = np.full((6, SIDE, SIDE, 3), 90, np.uint8)
    unseen = trace_video(bare, NOBODY)
    assert camera.paths(unseen, unseen) is None
    assert camera.camera_values(unseen, unseen, SIDE) is None


def test_a_step_of_colour_is_seen_at_its_seam_only(still_film: np.ndarray, still: Trace) -> None:
    made = _made(still_film, lambda frame, t: frame + 6 * (t >= _SEAM))
    at_seam, elsewhere = seams.seam_values(made, still, [_SEAM]), seams.seam_values(made, still, [7])
    assert at_seam["color_z"] > 20
    assert at_seam["color_seen"] == 1
    assert at_seam["color_z_control"] < seams.SEEN
    assert abs(elsewhere["color_z"]) < seams.SEEN
    assert at_seam["momentum_z"] < seams.SEEN
    assert camera.camera_values(made, still, SIDE)["ate_px"] < 0.05


def test_blur_after_a_seam_and_a_skip_are_seen_by_the_others(still_film: np.ndarray, still: Trace) -> None:
    from scipy.ndimage import gaussian_filter

    blurred = _made(still_film, lambda frame, t: gaussian_filter(frame, (1.2, 1.2, 0)) if t >= _SEAM else frame)
    assert seams.seam_values(blurred, still, [_SEAM])["residual_z"] > seams.SEEN
    assert drift.drift_values(blurred, still)["sharpness_end"] < -0.5
    skipped = trace_video(np.concatenate((still_film[:_SEAM], still_film[_SEAM + 6 :])), NOBODY)
    assert seams.seam_figures(skipped, [_SEAM], "momentum").largest > seams.SEEN


def test_seams_are_where_the_published_chunks_begin() -> None:
    assert seams.seam_positions(300, 81, 9) == [81, 153, 225, 297]
    assert seams.seam_positions(81, 81, 9) == []


def test_drift_of_colour_is_a_slope_and_a_constant_gain_is_none(still_film: np.ndarray, still: Trace) -> None:
    growing = _made(still_film, lambda frame, t: frame * (1 + 0.02 * t))
    constant = _made(still_film, lambda frame, t: frame * 1.1)
    slope, none = drift.drift_values(growing, still), drift.drift_values(constant, still)
    assert slope["delta_e_per_min"] > 100
    assert slope["lightness_end"] > 5
    assert none["delta_e_mean"] > 2
    assert abs(none["delta_e_per_min"]) < 5
    assert abs(none["lightness_end"]) < 0.5


def test_background_fidelity_forgives_the_camera_and_not_the_picture(still_film: np.ndarray, still: Trace) -> None:
    moved_film = _film(lambda t: 4 + 2j)
    moving = trace_video(moved_film, NOBODY)
    path, still_path = camera.paths(moving, still)
    shifted = camera.CameraPath(path.shift + 4 + 2j, path.factor)  # as if frame 0 had been where the source's is
    mask = ~person_masks(None, 1, (SIDE, SIDE))[0]

    def pairs(made: np.ndarray):
        return [(number, made[number], still_film[number], mask) for number in (0, 10, 20)]

    equal = background.background_values(pairs(still_film), still_path, still_path)
    assert equal == {"psnr_db": background.EQUAL_DB, "ssim": pytest.approx(1)}
    aligned = background.background_values(pairs(moved_film), shifted, still_path)
    ignored = background.background_values(pairs(moved_film), still_path, still_path)
    assert aligned["psnr_db"] > 30 > 20 > ignored["psnr_db"]
    assert aligned["ssim"] > 0.95 > ignored["ssim"]


def test_flow_of_a_shift() -> None:
    picture = torch.from_numpy(120 + 45 * _texture(2, 140, 2.0)).float()
    flow = dense_flow(picture[None, 10:130, 10:130], picture[None, 8:128, 13:133])
    middle = flow[0, :, 20:-20, 20:-20].median(dim=2).values.median(dim=1).values
    assert middle.tolist() == pytest.approx([-3, 2], abs=0.1)


def test_a_step_that_one_camera_hides_is_made_by_neither(still: Trace) -> None:
    moving = trace_video(_film(lambda t: 0.5 * t), NOBODY)
    agree = moving.camera_agree.copy()
    agree[-4:] = 0
    whole, partly = camera.paths(moving, still)[0], camera.paths(replace(moving, camera_agree=agree), still)[0]
    assert np.abs(partly.shift[-5:] - whole.shift[-5]).max() == 0
    hidden = replace(moving, camera_agree=np.zeros_like(agree))
    assert camera.paths(hidden, still) is camera.camera_values(hidden, still, SIDE) is None


@pytest.mark.parametrize("late", [0, 3, -5])
def test_the_lag_of_a_mouth_is_found(late: int) -> None:
    generator = np.random.default_rng(3)
    frames = 250
    loud = np.clip(np.convolve(generator.normal(size=frames + 20), np.ones(4) / 2, mode="valid")[:frames], 0, None)
    samples = np.repeat(loud, 640) * generator.normal(size=frames * 640) * 0.1
    opening = np.roll(loud, late) + 0.2 * generator.normal(size=frames)
    found = mouth.lag_values(_with_opening(opening), samples)
    assert found["lag_frames"] == pytest.approx(late, abs=0.5)
    assert found["percentile"] > 97
    strange = mouth.lag_values(_with_opening(generator.permutation(opening)), samples)
    assert strange["peak_r"] < 0.5 * found["peak_r"]
    assert mouth.lag_values(_with_opening(opening[:50]), samples[: 50 * 640]) is None


def test_a_mouth_that_follows_the_source_leaks() -> None:
    generator = np.random.default_rng(4)
    source, other = generator.normal(size=(2, 200))
    leaking = mouth.copying_values(_with_opening(source + 0.1 * other), _with_opening(source))
    own = mouth.copying_values(_with_opening(other), _with_opening(source))
    assert leaking["mouth_leakage"] > 0.9
    assert abs(own["mouth_leakage"]) < 0.3
    assert leaking["pose_copying"] == pytest.approx(1)


def _with_opening(opening: np.ndarray) -> Trace:
    count = len(opening)
    head = np.exp(1j * np.arange(count - 1) / 3)
    zeros = np.zeros(count - 1)
    return Trace(
        color=np.zeros((count, 3)), background_color=np.zeros((count, 3)), sharpness=np.zeros(count), residual=zeros,
        flow_change=zeros[1:], camera_shift=zeros + 0j, camera_factor=zeros + 1 + 0j, camera_agree=zeros,
        body_speed=zeros, head_step=head, opening=opening,
    )  # fmt: skip


def test_beats_above_chance_and_dense_beats_are_not() -> None:
    generator = np.random.default_rng(5)
    frames = 400
    onset = np.sort(generator.choice(np.arange(10, frames - 10), 25, replace=False))
    envelope = np.zeros(frames)
    for at in onset:
        envelope[at : at + 6] = 1
    samples = np.repeat(envelope + 0.001, 640) * generator.normal(size=frames * 640)
    speed = 1.0 + 0.1 * generator.random(frames - 1)
    for at in onset:
        speed[at - 1 : at + 2] = 0.1
    base = _with_opening(np.zeros(frames))
    on_beat, at_random = replace(base, body_speed=speed), replace(base, body_speed=generator.permutation(speed))
    found, none = (rhythm.rhythm_values(made, on_beat, samples) for made in (on_beat, at_random))
    assert found["beat_z"] > 3
    assert none["beat_score"] > 0.3, "chance alone scores well, which is why it is corrected"
    assert none["beat_z"] < 2
    assert found["motion_amount"] == pytest.approx(1)


def test_published_score_grows_with_density() -> None:
    generator = np.random.default_rng(6)
    scores = []
    for rate in (1, 2, 4, 6):
        one, other = (np.sort(generator.uniform(0, 400, 400 * rate)) for _ in range(2))
        scores.append(rhythm.beat_score(one, other))
    assert scores == pytest.approx([0.22, 0.38, 0.59, 0.71], abs=0.03)


def test_the_place_of_the_sound_in_a_file() -> None:
    voice = np.random.default_rng(7).normal(size=48000).astype(np.float32)
    late = np.concatenate((np.zeros(800, np.float32), voice))[:48000]
    values = sound.file_values(75, 75, late, voice)
    assert values["sound_offset_s"] == pytest.approx(0.05)
    assert values["sound_r"] > 0.9
    assert sound.file_values(72, 75, voice, voice)["frames_off"] == -3
    assert sound.sound_offset(np.zeros(100, np.float32), voice)[1] == 0


def test_series_helpers() -> None:
    times = np.arange(200) / 25
    assert theil_sen(3 * times + (times > 7), times) == pytest.approx(3, abs=0.2)
    assert not highpass(np.ones(100)).any()
    place, height = peak_of(np.array([0.0, 0.8, 1.0, 0.8, 0.0]))
    assert (place, height) == (2, 1)
    seen = np.sin(np.arange(100) / 4)
    assert lagged(np.roll(seen, 2), seen, 5).argmax() == 7


def test_person_masks_leave_some_background() -> None:
    small = np.array([[200.0, 100.0, 280.0, 200.0]])
    large = np.array([[40.0, 40.0, 440.0, 450.0]])
    for boxes in (small, large, None):
        mask = person_masks(boxes, 1, (480, 480))[0]
        assert 0.1 < 1 - mask.mean() < 0.9
        assert mask[250, 240]
    assert person_masks(small, 1, (480, 480))[0][470, 200], "shoulders reach to the edge"
