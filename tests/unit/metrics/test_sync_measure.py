"""Sync-C and Sync-D from frames and sound, with stand-ins for both networks: where the face is, when it speaks."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from infinitetalk_cli.evaluate.metrics.common import FrameSource, Missing
from infinitetalk_cli.evaluate.metrics.sync import _RULES, SyncMeasure, SyncScore, usual_scale

SIZE = (480, 480)
FACE = np.array([140.0, 120.0, 300.0, 280.0])
RATE_HZ, SAMPLES_PER_FRAME = 16_000, 640


class StandIn(nn.Module):
    """Lips: brightness of the face's middle in each frame of the window. Speech: its power in each frame."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def lips(self, windows: Tensor) -> Tensor:
        assert windows.shape[1:] == (3, 5, 224, 224)
        return windows[:, 0, :, 60:100, 90:130].mean(dim=(-1, -2)) / 10

    def speech(self, windows: Tensor) -> Tensor:
        assert windows.shape[1:] == (1, 13, 20)
        power = windows[:, 0, 0].unflatten(1, (5, 4))[:, :, 1]
        return (power - 10) * 1.5


def loudness(num_frames: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0, 1, num_frames)


def video(loud: np.ndarray, box: np.ndarray = FACE, cut_at: int | None = None) -> FrameSource:
    """A face whose brightness follows `loud`."""
    left, top, right, bottom = box.astype(int)

    def frames() -> Iterator[np.ndarray]:
        for index, level in enumerate(loud):
            frame = np.full((*SIZE, 3), 30 if cut_at is None or index < cut_at else 220, np.uint8)
            frame[top:bottom, left:right] = round(60 + 150 * level)
            yield frame

    return frames


def sound(loud: np.ndarray) -> np.ndarray:
    """A tone whose log power follows `loud`, int16."""
    amplitude = np.repeat(10 ** (1.5 + 2 * loud), SAMPLES_PER_FRAME)
    return (amplitude * np.sin(np.arange(len(amplitude)) * 0.7)).astype(np.int16)


def measure(preset: str = "talking-head", box: np.ndarray | None = FACE) -> SyncMeasure:
    """With a detector that sees a face at `box` in every frame."""

    def find(frames_u8: np.ndarray, scale: float) -> list[tuple[np.ndarray, np.ndarray]]:
        boxes = np.zeros((0, 4)) if box is None else np.atleast_2d(box)
        return [(boxes, np.ones(len(boxes)))] * len(frames_u8)

    return SyncMeasure(StandIn(), find, _RULES[preset], {})


def score(frames: FrameSource, samples: np.ndarray, **settings) -> SyncScore:
    found = measure(**settings).score(frames, samples)
    assert isinstance(found, SyncScore), found
    return found


@pytest.mark.parametrize("shift", [0, 5, -4])
def test_the_offset_is_found(shift: int) -> None:
    loud = loudness(120)
    found = score(video(loud[20:100]), sound(loud[20 + shift : 100 + shift]))
    assert found.offset_frames == shift
    assert (found.num_windows, found.track_start, found.track_stop, found.num_tracks) == (75, 0, 80, 1)
    assert found.confidence > 1 and (found.confidence_at_zero == found.confidence) == (shift == 0)
    assert found.distance_at_zero >= found.distance
    assert len(found.frame_confidence) == 75 and found.as_dict()["offset_frames"] == shift


def test_another_speech_scores_worse() -> None:
    loud = loudness(80)
    right = score(video(loud), sound(loud))
    wrong = score(video(loud), sound(loudness(80, seed=1)))
    assert wrong.confidence < right.confidence / 2 and wrong.distance > right.distance


def test_only_what_has_sound_is_scored() -> None:
    loud = loudness(100)
    found = score(video(loud), sound(loud[:60]))
    assert (found.num_windows, found.offset_frames) == (55, 0)


def test_the_longest_shot_is_scored_with_its_own_sound() -> None:
    loud = loudness(140)
    found = score(video(loud, cut_at=55), sound(loud))
    assert (found.track_start, found.track_stop, found.num_tracks) == (55, 140, 2)
    assert found.offset_frames == 0 and found.confidence > 1


def test_all_tracks_may_count() -> None:
    loud = loudness(140)
    both = score(video(loud, cut_at=60), sound(loud), preset="latentsync")
    longest = score(video(loud, cut_at=60), sound(loud))
    assert both.num_tracks == 2 and both.confidence != longest.confidence
    assert both.track_start == longest.track_start == 60


@pytest.mark.parametrize(
    ("num_frames", "box", "preset", "reason"),
    [
        (80, None, "talking-head", "no face"),
        (50, FACE, "talking-head", "no face"),
        (80, FACE, "joonson", "no face"),
        (80, np.array([100.0, 100.0, 160.0, 160.0]), "talking-head", "no face"),
        (0, FACE, "talking-head", "too short"),
    ],
    ids=["nobody", "a short track", "the published minimum", "a small face", "no frames"],
)
def test_no_number_without_a_face(num_frames: int, box, preset: str, reason: str) -> None:
    loud = loudness(num_frames)
    found = measure(preset, box).score(video(loud), sound(loud))
    assert isinstance(found, Missing) and found.reason == reason


def test_no_number_without_sound() -> None:
    loud = loudness(80)
    assert measure().score(video(loud), sound(loud[:4])).reason == "too short"


def test_small_pictures_are_looked_at_larger() -> None:
    assert [usual_scale(side) for side in (1080, 720, 480, 256)] == [0.25, 0.25, 0.5, 1.0]
    loud = loudness(80)
    assert score(video(loud), sound(loud)).scale == 0.5
