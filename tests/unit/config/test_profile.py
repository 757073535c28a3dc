"""The models check themselves; defaults are the published numbers."""

from __future__ import annotations

import pickle
import subprocess
import sys

import pytest
from pydantic import ValidationError

from infinitetalk_cli.config.model import ModelProfile
from infinitetalk_cli.config.profile import (
    ApgProfile,
    AudioProfile,
    ChunkProfile,
    GeometryProfile,
    PostProfile,
    Profile,
    SamplingProfile,
)


@pytest.fixture
def profile() -> Profile:
    model = ModelProfile(family="nano", weights="builtin:nano")
    sampling = SamplingProfile(apg=ApgProfile())
    return Profile(name="small", description="for tests", model=model, sampling=sampling)


def test_class_defaults_are_the_published_numbers():
    sampling, chunks = SamplingProfile(), ChunkProfile()
    assert (sampling.num_steps, sampling.timestep_shift, sampling.seed) == (40, 7.0, 42)
    assert (sampling.text_guidance_scale, sampling.audio_guidance_scale) == (5.0, 4.0)
    assert (sampling.last_timestep, sampling.sdedit_t0, sampling.apg) == (1.0, 1.0, None)
    assert (chunks.num_frames, chunks.context_frames, chunks.reference_refresh) == (81, 9, "chunk")
    assert (ApgProfile().momentum, ApgProfile().norm_threshold) == (-0.75, 55.0)
    assert AudioProfile().loudness_lufs == -23.0
    assert PostProfile().color_match_strength == 1.0


def test_compatibility_settings_are_not_the_default():
    assert GeometryProfile().fit == "keep"
    assert AudioProfile().frame_count == "ceil"
    assert ChunkProfile().tail == "silence"
    assert PostProfile().color_match_reference == "keyframe"


@pytest.mark.parametrize("num_frames", [80, 82, 83, 84, 1, 0, -3])
def test_chunk_length_is_one_plus_a_multiple_of_four(num_frames: int):
    with pytest.raises(ValidationError):
        ChunkProfile(num_frames=num_frames, context_frames=1)


@pytest.mark.parametrize(("num_frames", "context_frames"), [(9, 9), (9, 13), (81, 8)])
def test_context_is_whole_latent_frames_and_leaves_new_ones(num_frames: int, context_frames: int):
    with pytest.raises(ValidationError):
        ChunkProfile(num_frames=num_frames, context_frames=context_frames)


def test_default_context_is_checked_against_a_given_chunk_length():
    with pytest.raises(ValidationError, match="below num_frames"):
        ChunkProfile(num_frames=5)


@pytest.mark.parametrize(
    "values",
    [
        {"num_steps": 0},
        {"num_steps": 4.0},
        {"num_steps": True},
        {"timestep_shift": 0.0},
        {"timestep_shift": float("nan")},
        {"sdedit_t0": 1.01},
        {"sdedit_t0": -0.01},
        {"audio_guidance_scale": float("inf")},
        {"seed": -1},
        {"seed": "42"},
        {"dtype": "float16"},
        {"prompt": None},
        {"steps": 4},
    ],
)
def test_unusable_sampling_values_are_refused(values: dict[str, object]):
    with pytest.raises(ValidationError):
        SamplingProfile(**values)


def test_a_multiple_larger_than_the_picture_is_refused():
    with pytest.raises(ValidationError, match="change one"):
        GeometryProfile(area_px=1024, multiple_px=64)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"family": "nano"}, "nano needs weights"),
        ({"family": "infinitetalk", "base": "b", "audio_encoder": "a"}, "needs audio_weights"),
        ({"family": "nano", "weights": "builtin:nano", "base": "b"}, "base: not for family nano"),
        ({"family": "nano", "weights": "builtin:nano", "loras": ({"file": "x"},)}, "loras: not for family nano"),
    ],
)
def test_a_model_names_exactly_the_parts_of_its_family(values: dict[str, object], reason: str):
    with pytest.raises(ValidationError, match=reason):
        ModelProfile(**values)


def test_builtin_weights_are_told_from_a_folder():
    assert ModelProfile(family="nano", weights="builtin:nano").builtin_name == "nano"
    assert ModelProfile(family="nano", weights="/somewhere/builtin").builtin_name is None


def test_a_profile_cannot_change_and_travels_to_worker_processes(profile: Profile):
    with pytest.raises(ValidationError):
        profile.sampling.num_steps = 1
    assert pickle.loads(pickle.dumps(profile)) == profile
    assert Profile.model_validate_json(profile.model_dump_json()) == profile


def test_config_and_cache_do_not_import_heavy_libraries():
    code = (
        "import sys, infinitetalk_cli.config.load, infinitetalk_cli.checkpoints.locate\n"
        "import infinitetalk_cli.cache.housekeeping\n"
        "print([name for name in ('torch', 'av', 'numpy', 'diffusers') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
