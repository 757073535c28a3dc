"""Figures of videos that were spoiled on purpose: each fault is found, by its size, and by its own figure."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch

from infinitetalk_cli.checkpoints.locate import builtin_folder
from infinitetalk_cli.evaluate.synthetic import lips
from infinitetalk_cli.evaluate.synthetic.dubbing import load_probe
from infinitetalk_cli.evaluate.synthetic.figures import drift_figures, figures_of, mouth_figures, seam_figures, slope
from infinitetalk_cli.evaluate.synthetic.motion import true_camera
from infinitetalk_cli.models.geometry import pixels_from_frames
from infinitetalk_cli.stages.planned_chunk import PlannedChunk
from infinitetalk_cli.world.clip import render
from infinitetalk_cli.world.phonemes import MouthTrack

SPANS = (slice(0, 25), slice(25, 41), slice(41, 57))
CHUNKS = tuple(
    PlannedChunk(
        index=k, scene=0, index_in_scene=k, start_frame=16 * k, num_frames=25, new_start=span.start,
        new_stop=span.stop, reference_index=16 * k, reference_time_s=Fraction(0),
    )
    for k, span in enumerate(SPANS)
)  # fmt: skip


@pytest.fixture(scope="module")
def case():
    pytest.importorskip("espeakng_loader", reason="speech synthesis needs the extra infinitetalk[train]")
    from infinitetalk_cli.evaluate.synthetic import clips
    from infinitetalk_cli.evaluate.synthetic.settings import PANNING

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(clips, "LOOKS_PER_CHUNK", 4)  # half the work
        yield clips.Case.make(0, 3, replace(PANNING, head_motion=0.1), 96, SPANS)


@pytest.fixture(scope="module")
def probe():
    return load_probe(builtin_folder("nano"))


def pixels(frames_u8):
    return pixels_from_frames(frames_u8)[0]


def drift(frames_u8, case):
    return drift_figures(pixels(frames_u8)[:, torch.from_numpy(case.looked_at)], frames_u8, case, CHUNKS)


@pytest.fixture(scope="module")
def copied(case, probe):
    return figures_of(case.clip.frames_u8, case, CHUNKS, probe)


def test_a_copy_of_the_source_has_everything_but_the_lips(copied, case, probe):
    assert copied["pan_px"] < 0.1
    assert copied["zoom_percent"] < 0.2
    assert copied["camera_followed"] == pytest.approx(1, abs=0.02)
    assert copied["palette_of_chunks"] == [0, 0, 0]
    assert copied["edges_of_chunks"] == [1, 1, 1]
    assert abs(copied["background_slope"]) < 0.2
    assert copied["head_with_source"] > 0.95
    assert copied["lip_with_source"] > 0.9
    true = mouth_figures(case.wanted, case, probe)
    assert true["lip"] > 0.9
    assert copied["lip"] < true["lip"] - 0.4
    assert copied["lip"] == pytest.approx(copied["true_with_source"], abs=0.1)


def test_a_mouth_that_follows_another_voice_scores_as_the_control_does(case, probe):
    other = render(case.clip.character, case.third, case.clip.motion, 96, 96).frames_u8
    figures = mouth_figures(pixels(other), case, probe)
    assert figures["lip_shuffled"] > 0.9
    assert figures["lip"] < 0.6


@pytest.mark.parametrize("late", [-3, 2])
def test_a_mouth_that_is_late_is_found_late(case, probe, late):
    moved = np.roll(case.spoken.stacked(), late, axis=0)
    video = render(case.clip.character, MouthTrack.from_stacked(moved), case.clip.motion, 96, 96).frames_u8
    curve = mouth_figures(pixels(video), case, probe)["lag_curve"]
    assert lips.peak_lag(curve, lips.WIDE_LAGS) == pytest.approx(late, abs=0.3)


def test_the_lag_is_found_between_frames():
    time = np.arange(400)
    spoken, seen = (torch.from_numpy(np.sin((time - lag) / 3) + np.sin((time - lag) / 7)) for lag in (0.0, 1.4))
    curve = lips.lag_curve(seen, spoken, lips.WIDE_LAGS)
    assert lips.peak_lag(curve, lips.WIDE_LAGS) == pytest.approx(1.4, abs=0.05)


def test_a_tint_that_grows_with_every_chunk_is_found_as_drift(case, copied):
    tinted = case.clip.frames_u8.astype(int)
    for number, span in enumerate(SPANS):
        tinted[span] += np.array([-9, 0, -9]) * number
    figures = drift(tinted.clip(0, 255).astype(np.uint8), case)
    # 9 levels in two of three channels
    assert figures["background_slope"] - copied["background_slope"] == pytest.approx(6, abs=1)
    assert figures["color_slope"] - copied["color_slope"] == pytest.approx(6, abs=1)
    assert figures["palette_slope"] > 2
    assert figures["likeness_last"] == pytest.approx(copied["likeness_last"], abs=0.05)
    assert figures["pan_px"] < 0.3


def test_another_person_is_not_taken_for_the_same(case, copied):
    from infinitetalk_cli.world.characters import draw_character

    stranger = replace(draw_character(77), head_x=case.clip.character.head_x, head_y=case.clip.character.head_y)
    video = case.clip.frames_u8.copy()
    other = render(stranger, case.clip.mouth, case.clip.motion, 96, 96).frames_u8
    video[SPANS[2]] = other[SPANS[2]]
    assert drift(video, case)["likeness_last"] < copied["likeness_last"] - 0.15


def test_a_camera_that_stands_still_is_wrong_by_the_true_travel(case):
    frozen = np.repeat(case.clip.frames_u8[:1], len(case.clip.frames_u8), axis=0)
    figures = drift(frozen, case)
    assert figures["pan_px"] == pytest.approx(float(true_camera(case.looked_clip).shift.abs().mean()), abs=0.2)
    assert figures["camera_followed"] == pytest.approx(0, abs=0.05)
    assert figures["head_motion"] < 0.1


def test_a_step_where_chunks_meet_is_found_as_a_seam():
    rng = np.random.default_rng(3)
    changes = torch.from_numpy(1 + 0.1 * rng.random(56))
    even = seam_figures(changes, CHUNKS)
    assert even["seam_over_median"] == pytest.approx(1, abs=0.1)
    stepped = changes.clone()
    stepped[[24, 40]] += 8  # from frame 24 to 25, and from 40 to 41
    figures = seam_figures(stepped, CHUNKS)
    assert figures["seam_over_median"] == pytest.approx(9 / 1.05, rel=0.05)
    assert figures["seam_over_groups"] == pytest.approx(9 / 1.05, rel=0.05)
    assert figures["group_over_mean"] == pytest.approx(1, abs=0.1)
    groups = changes.clone()
    groups[0::4] += 8  # where the codec begins a group; chunks begin on one, too
    at_groups = seam_figures(groups, CHUNKS)
    assert at_groups["seam_over_groups"] == pytest.approx(1, abs=0.05)
    assert at_groups["seam_over_median"] > 5


def test_a_head_that_comes_to_the_reference_as_a_chunk_ends_is_rigid(case, copied):
    video = case.clip.frames_u8.copy()
    for chunk, span in zip(CHUNKS, SPANS, strict=True):
        video[span.stop - 2 : span.stop] = case.clip.frames_u8[chunk.reference_index]
    figures = drift(video, case)
    assert figures["end_over_middle"] < 0.3 * copied["end_over_middle"]
    assert figures["at_reference"] > copied["at_reference"]


def test_the_slope_is_that_of_a_line():
    assert slope([1.0, 3.0, 5.0]) == pytest.approx(2)
    assert slope([4.0]) == 0
