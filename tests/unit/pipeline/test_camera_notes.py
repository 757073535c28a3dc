"""What a job is told about a camera lock that does less than one might hope."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from infinitetalk_cli.config.load import load_profile
from infinitetalk_cli.media.info import MediaInfo
from infinitetalk_cli.pipeline.camera import camera_notes
from infinitetalk_cli.pipeline.request import DubRequest


def lasting(seconds: int) -> MediaInfo:
    return MediaInfo(
        format_name="matroska", start_s=Fraction(0), duration_s=Fraction(seconds), is_image=False, video=None,
        audio=(), other=(), chapters=(), metadata={},
    )  # fmt: skip


def notes(source_s: int = 4, sound_s: int = 4, end_s: Fraction | None = None, **values: Any) -> list[str]:
    profile = load_profile("nano", {key.replace("__", "."): value for key, value in values.items()})
    request = DubRequest(Path("film.mkv"), (Path("voice.wav"),), Path("cache"), end_s=end_s)
    return list(camera_notes(request, profile, lasting(source_s), lasting(sound_s)))


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"camera__lock": "moving"}, "sdedit_t0 is 1"),
        ({"camera__lock": "moving", "camera__method": "uni3c", "camera__uni3c__strength": 0.0}, "strength or the end"),
        ({"camera__method": "uni3c", "camera__uni3c__strength": 0.0}, "camera.method uni3c has no effect"),
        ({"camera__method": "both", "camera__uni3c__end": 0.0}, "camera.method both has no effect"),
        ({"camera__method": "uni3c", "camera__uni3c__start": 0.9}, "behind the last of 4 steps, which begins at 0.75"),
    ],
)
def test_a_lock_without_effect_says_so(values: dict[str, Any], reason: str) -> None:
    (note,) = notes(**values)
    assert "no effect" in note and reason in note


def test_a_lock_that_works_says_nothing() -> None:
    assert notes() == notes(camera__method="uni3c") == notes(camera__method="uni3c", camera__uni3c__start=0.75) == []
    assert notes(sampling__sdedit_t0=0.7, sound_s=9) == [], "the held frame is followed as well as any"


def test_a_source_shorter_than_the_sound() -> None:
    assert "its last frame is held" in notes(sound_s=9, camera__method="uni3c")[0]
    assert notes(sound_s=9, end_s=Fraction(3), camera__method="uni3c") == []
