"""Damaged chunks fail for the right reason, good ones pass."""

from __future__ import annotations

from collections.abc import Callable

import footage
import numpy as np
import pytest

from infinitetalk_cli.config.profile import QualityProfile
from infinitetalk_cli.quality.gates import Limits, Verdict, best_of, judge
from infinitetalk_cli.quality.measures import ChunkMeasures, ChunkPictures, measure
from infinitetalk_cli.quality.pictures import shrink
from infinitetalk_cli.units import MODEL_RATE

NUM_BEFORE, NUM_NEW = 9, 48
Change = Callable[[np.ndarray], np.ndarray]


def limits() -> Limits:
    settings = QualityProfile().model_dump(exclude={"gates", "max_attempts"})
    return Limits(**settings)


@pytest.fixture(scope="module")
def shot() -> np.ndarray:
    """A person who moves and talks, (t, h, w, 3) uint8."""
    frames = footage.shoot(footage.Shot(3, 3.0), MODEL_RATE, num_frames=NUM_BEFORE + NUM_NEW)
    return np.stack(frames).astype(np.uint8)


def measured(shot: np.ndarray, change: Change = lambda frames: frames, **others: object) -> ChunkMeasures:
    small = shrink(change(shot[NUM_BEFORE:]))
    values = {
        "new": small,
        "reference": shrink(shot[:1])[0],
        "previous": shrink(shot[:NUM_BEFORE]),
        "source": None,
        "speaks": np.ones(len(small), bool),
    }
    return measure(ChunkPictures(**{**values, **others}))


def verdict(shot: np.ndarray, change: Change = lambda frames: frames, **others: object) -> Verdict:
    return judge(measured(shot, change, **others), NUM_NEW, limits())


def nothing(shot: np.ndarray) -> np.ndarray:
    return shrink(shot[:1])[:0]


def tinted(frames: np.ndarray, *shift: int) -> np.ndarray:
    return np.clip(frames.astype(int) + shift, 0, 255).astype(np.uint8)


def blacked(frames: np.ndarray) -> np.ndarray:
    return np.concatenate((frames[:20], 0 * frames[20:22], frames[22:]))


def jumped(frames: np.ndarray) -> np.ndarray:
    return np.roll(frames, frames.shape[2] // 8, axis=2)


def test_good_chunk_passes(shot: np.ndarray) -> None:
    assert verdict(shot).passes
    assert verdict(shot, previous=nothing(shot)).passes


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda frames: 0 * frames, "48 frames black"),
        (lambda frames: 0 * frames + 128, "48 frames black or empty"),
        (blacked, "2 frames black"),
        (lambda frames: np.repeat(frames[:1], len(frames), axis=0), "frozen for 47 frames"),
        (lambda frames: tinted(frames, 40, 0, 0), "colours jump"),
        (lambda frames: tinted(frames, 40, 40, 40), "from the reference frame"),
        (jumped, "first frame changes"),
    ],
    ids=["black", "grey", "two black frames", "frozen", "tinted", "lighter", "jumped"],
)
def test_damaged_chunk_fails_and_says_why(change: Change, reason: str, shot: np.ndarray) -> None:
    found = verdict(shot, change)
    assert any(reason in said for said in found.reasons), found
    assert found.excess > 0


def test_still_picture_of_a_silent_person_is_no_fault(shot: np.ndarray) -> None:
    speaks = np.zeros(NUM_NEW, bool)
    frozen = measured(shot, lambda frames: np.repeat(frames[:1], len(frames), axis=0), speaks=speaks)
    assert frozen.frozen_frames == 0
    speaks[10:30] = True
    frozen = measured(shot, lambda frames: np.repeat(frames[:1], len(frames), axis=0), speaks=speaks)
    assert frozen.frozen_frames == 20


def test_dark_scene_may_stay_dark(shot: np.ndarray) -> None:
    night = (shot // 16).astype(np.uint8)
    black = measured(shot, lambda frames: 0 * frames, reference=shrink(night[:1])[0])
    assert black.black_frames == 0


def test_step_to_the_colours_of_a_new_reference_is_asked_for(shot: np.ndarray) -> None:
    def relit(frames: np.ndarray) -> np.ndarray:
        return tinted(frames, 40, 40, 40)

    assert measured(shot, relit).color_step > 5
    expected = measured(shot, relit, reference=shrink(relit(shot[:1]))[0])
    assert expected.color_step < 2 and expected.color_reference < 2


def test_flash_of_a_followed_source_is_asked_for(shot: np.ndarray) -> None:
    def flashed(frames: np.ndarray) -> np.ndarray:
        return np.concatenate((frames[:20], tinted(frames[20:21], 90, 90, 90), frames[21:]))

    assert measured(shot, flashed).color_step > 5
    followed = measured(shot, flashed, source=shrink(flashed(shot[NUM_BEFORE:])))
    assert followed.color_step < 1


def test_chunk_of_one_frame_is_measured(shot: np.ndarray) -> None:
    one = measured(shot, lambda frames: frames[:1], speaks=np.ones(1, bool))
    assert one.black_frames == 0 and one.frozen_frames == 0 and one.seam is not None
    alone = measured(shot, lambda frames: frames[:1], speaks=np.ones(1, bool), previous=nothing(shot))
    assert alone.color_step == 0 and alone.seam is None


def test_single_new_frame_of_a_followed_source_is_measured(shot: np.ndarray) -> None:
    """A scene that is one frame longer than its chunks, with the camera locked."""
    one = shrink(shot[NUM_BEFORE : NUM_BEFORE + 1])
    found = measured(shot, new=one, source=one, speaks=np.ones(1, bool))
    assert found.color_reference == 0 and found.frozen_frames == 0


def test_followed_source_may_fade_to_black(shot: np.ndarray) -> None:
    levels = np.concatenate((np.linspace(1, 0, 16), np.zeros(NUM_NEW - 16)))
    fade = shrink((shot[NUM_BEFORE:] * levels[:, None, None, None]).astype(np.uint8))
    found = measured(shot, new=fade, source=fade)
    assert found.black_frames == 0 and found.frozen_frames < 2
    assert measured(shot, new=fade, source=shrink(shot[NUM_BEFORE:])).black_frames > 30


def test_best_attempt_is_the_least_bad_and_never_one_without_a_picture(shot: np.ndarray) -> None:
    black, tint = verdict(shot, lambda frames: 0 * frames), verdict(shot, lambda frames: tinted(frames, 40, 0, 0))
    assert best_of([black, tint]) == 1 and best_of([tint, black]) == 0
    assert best_of([None, black, None]) == 1
    assert best_of([tint, tint]) == 0, "of equals the first"
    assert best_of([None, None]) is None
