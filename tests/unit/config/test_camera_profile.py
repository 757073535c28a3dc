"""The camera section of a profile, and what it makes of a chunk's sampling."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from infinitetalk_cli.cli.camera import camera_overrides
from infinitetalk_cli.config.camera import lock_as_profile
from infinitetalk_cli.config.job import Job, OutputSettings
from infinitetalk_cli.config.load import load_profile
from infinitetalk_cli.config.profile import Profile
from infinitetalk_cli.errors import ProfileError
from infinitetalk_cli.models.camera_control import ControlSettings
from infinitetalk_cli.stages.camera_motion import SceneMotion
from infinitetalk_cli.stages.generate_settings import generate_settings, sampling_settings
from infinitetalk_cli.stages.inspection import INSPECTION
from infinitetalk_cli.stages.keyframes import KEYFRAMES
from infinitetalk_cli.stages.planned_chunk import PlannedChunk

CHUNK = PlannedChunk(
    index=0, scene=0, index_in_scene=0, start_frame=0, num_frames=81, new_start=0, new_stop=81, reference_index=0,
    reference_time_s=Fraction(0),
)  # fmt: skip


def profile(**values: Any) -> Profile:
    return load_profile("nano", {key.replace("__", "."): value for key, value in values.items()})


def job(**values: Any) -> Job:
    return Job(profile=profile(**values), encode=OutputSettings(container=".mp4"))


def locks(**values: Any) -> tuple[bool, bool]:
    settings = profile(**values)
    return settings.starts_from_source, settings.steers_camera


def test_which_methods_are_on() -> None:
    assert locks() == (False, False)
    assert locks(sampling__sdedit_t0=0.7) == (True, False)
    assert locks(camera__method="uni3c") == (False, True)
    assert locks(camera__method="both", sampling__sdedit_t0=0.7) == (True, True)
    assert locks(camera__method="uni3c", camera__uni3c__strength=0.0) == (False, False)
    curves = {"camera__sdedit_strength_by_motion": ((0.1, 0.3),), "camera__uni3c_strength_by_motion": ((0.1, 0.3),)}
    assert locks(**curves) == locks(camera__lock="moving") == (False, False)
    assert locks(camera__lock="moving", **curves) == (True, False)
    assert locks(camera__lock="moving", camera__method="uni3c", camera__uni3c__strength=0.0, **curves) == (False, True)
    assert locks(camera__method="uni3c", camera__uni3c__end=0.0) == (False, False)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("camera: {method: uni3c}\nsampling: {sdedit_t0: 0.7}", "no effect with camera.method uni3c"),
        ("camera: {uni3c: {start: 0.5, end: 0.4}}", "0.4 lies before start"),
        ("camera: {uni3c: {strength: 11.0}}", "at most 10"),
        ("camera: {sdedit_strength_by_motion: [[0.02, 0.1], [0.01, 0.2]]}", "speeds must rise"),
        ("camera: {sdedit_strength_by_motion: [[0.02, 1.1]]}", "at most 1, the source itself"),
        ("camera: {uni3c_strength_by_motion: [0.1, 0.2]}", "uni3c_strength_by_motion"),
    ],
)
def test_what_cannot_be_meant(text: str, complaint: str, tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(f"extends: nano\n{text}\n")
    with pytest.raises(ProfileError, match=complaint):
        load_profile(path)


def test_jobs_without_the_branch_keep_their_fingerprints() -> None:
    """What is not used is not part of what a stage is made from."""
    free, steered = job(sampling__sdedit_t0=0.7), job(camera__method="uni3c", camera__lock="moving")
    assert "uni3c" not in generate_settings(free).model_dump(mode="json")
    assert generate_settings(steered).model_dump(mode="json")["uni3c"] == {"strength": 1.0, "start": 0.0, "end": 1.0}
    curve = "uni3c_strength_by_motion"
    assert curve not in KEYFRAMES.settings(steered).model_dump(mode="json")
    with_curve = job(camera__method="uni3c", camera__lock="moving", **{f"camera__{curve}": ((0.1, 0.5),)})
    assert KEYFRAMES.settings(with_curve).model_dump(mode="json")[curve] == [[0.1, 0.5]]
    still = job(camera__method="uni3c", **{f"camera__{curve}": ((0.1, 0.5),)})
    assert curve not in KEYFRAMES.settings(still).model_dump(mode="json"), "the lock is the same everywhere"
    assert "camera" not in INSPECTION.settings(job()).model_dump(mode="json")
    assert INSPECTION.settings(free).model_dump(mode="json")["camera"]


@pytest.mark.parametrize(("speed", "strength"), [(0.001, 0.2), (0.01, 0.2), (0.02, 0.4), (0.03, 0.6), (1.0, 0.6)])
def test_strength_follows_the_curve(speed: float, strength: float) -> None:
    curve = ((0.01, 0.2), (0.03, 0.6))
    values = {"camera__sdedit_strength_by_motion": curve, "camera__uni3c_strength_by_motion": curve}
    settings = KEYFRAMES.settings(job(camera__method="both", camera__lock="moving", sampling__sdedit_t0=0.7, **values))
    motion = SceneMotion(start_index=0, speed=speed, kind="pan", at_s=0.0)
    assert settings.strength("uni3c_strength_by_motion", motion) == pytest.approx(strength)
    assert settings.strength("sdedit_strength_by_motion", motion) == pytest.approx(strength)
    assert settings.strength("sdedit_strength_by_motion", None) is None


def test_what_a_chunk_is_sampled_with() -> None:
    settings = generate_settings(
        job(camera__method="both", sampling__sdedit_t0=0.7, camera__uni3c__strength=0.8, camera__uni3c__end=0.5)
    )
    plain = sampling_settings(settings, CHUNK)
    assert (plain.sdedit_t0, plain.control) == (0.7, ControlSettings(0.8, 0.0, 0.5))
    scene = CHUNK.model_copy(update={"sdedit_strength": 0.4, "uni3c_strength": 1.5})
    assert sampling_settings(settings, scene).sdedit_t0 == pytest.approx(0.6)
    assert sampling_settings(settings, scene).control == ControlSettings(1.5, 0.0, 0.5)
    free = sampling_settings(settings, scene.model_copy(update={"follows_source": False}))
    assert (free.sdedit_t0, free.control) == (1.0, None)


@pytest.mark.parametrize("own", ["sdedit", "uni3c", "both"])
def test_a_lock_without_a_method_is_the_profiles_own(own: str, tmp_path: Path) -> None:
    """Its curves too; a strength that is given is for all scenes and for whatever method that is."""
    path = tmp_path / "own.yaml"
    curve = "uni3c_strength_by_motion: [[0.1, 0.5]]"
    path.write_text(f"extends: nano\ncamera: {{method: {own}, {curve}}}\n")

    def with_lock(lock: str, strength: float | None) -> Profile:
        given = dict(camera_overrides(lock, None, strength).values())
        return load_profile(path, lock_as_profile(given, load_profile(path).camera))

    plain, strong, off = with_lock("auto", None), with_lock("on", 0.6), with_lock("off", None)
    assert plain.camera.method == strong.camera.method == own
    assert plain.camera.uni3c_strength_by_motion == ((0.1, 0.5),)
    assert plain.sampling.sdedit_t0 == pytest.approx(1.0 if own == "uni3c" else 0.7)
    assert strong.sampling.sdedit_t0 == pytest.approx(1.0 if own == "uni3c" else 0.4)
    assert strong.camera.uni3c_strength_by_motion == ()
    assert strong.steers_camera == (own != "sdedit") and strong.camera.uni3c.strength == 0.6
    assert not off.locks_camera
