"""Where somebody speaks, and mouths that move although nobody does."""

from __future__ import annotations

import numpy as np
import pytest

from infinitetalk_cli.quality.faces import Box, find_face, mouth_in_silence
from infinitetalk_cli.quality.voice import is_silent, is_speaking

FACE = Box(0.2, 0.3, 0.8, 0.7)


def test_speech_pauses_and_silence_are_told_apart() -> None:
    levels = np.concatenate([np.full(40, -25.0), np.full(5, -80.0), np.full(40, -30.0), np.full(30, -80.0)])
    speaks, silent = is_speaking(levels), is_silent(levels)
    assert speaks[:40].all() and speaks[45:85].all() and not speaks[40:45].any() and not speaks[85:].any()
    assert not silent[:85].any(), "a pause between words is no silence"
    assert silent[85:].all()


def test_silent_track_never_speaks() -> None:
    levels = np.full(50, -120.0)
    assert not is_speaking(levels).any() and is_silent(levels).all()
    assert not is_speaking(np.empty(0)).any()


def test_voice_that_seldom_speaks_is_heard() -> None:
    """A minute of speech in an hour and a half without a sound."""
    levels = np.full(135_000, -120.0)
    levels[60_000:61_500] = -25.0
    assert is_speaking(levels)[60_000:61_500].all() and is_speaking(levels).sum() == 1500
    assert not is_silent(levels)[60_000:61_500].any()


def talking(num_frames: int, mouth: int, face: int) -> np.ndarray:
    """A grey face whose mouth (and whole) changes by so many levels from frame to frame."""
    frames = np.full((num_frames, 120, 120, 3), 120, np.uint8)
    frames[1::2, 24:96, 36:84] += np.uint8(face)
    frames[1::2, 73:94, 50:70] += np.uint8(mouth)
    return frames


def test_mouth_that_moves_in_silence_is_noticed() -> None:
    silent = np.ones(20, bool)
    assert mouth_in_silence(talking(20, mouth=30, face=0), silent, lambda picture: FACE) > 2.5
    assert mouth_in_silence(talking(20, mouth=0, face=10), silent, lambda picture: FACE) < 1.5, "the head moves"


def test_nothing_is_said_without_silence_or_a_steady_face() -> None:
    frames = talking(20, mouth=30, face=0)
    assert mouth_in_silence(frames, np.zeros(20, bool), lambda picture: FACE) is None
    assert mouth_in_silence(frames, np.ones(20, bool), lambda picture: None) is None
    boxes = iter([FACE, Box(0.0, 0.0, 0.2, 0.2), FACE])
    assert mouth_in_silence(frames, np.ones(20, bool), lambda picture: next(boxes)) is None


def test_detector_finds_the_face_of_a_photograph() -> None:
    """The package brings its own picture: a portrait of Eileen Collins (NASA, public domain)."""
    data = pytest.importorskip("skimage.data", reason="faces need the extra infinitetalk[faces]")
    face = find_face(data.astronaut())
    assert face is not None
    assert face.overlap(Box(60 / 512, 170 / 512, 190 / 512, 280 / 512)) > 0.4
    assert find_face(np.full((96, 96, 3), 90, np.uint8)) is None
