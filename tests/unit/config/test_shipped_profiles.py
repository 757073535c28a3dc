"""The shipped profiles hold the published numbers where they say so, and depart where they say so."""

from __future__ import annotations

import pytest

from infinitetalk_cli.checkpoints.catalog import load_catalog, names_of
from infinitetalk_cli.config.load import list_profiles, load_profile
from infinitetalk_cli.config.profile import Profile

PUBLISHED_480 = "infinitetalk-480p"
FULL_STEPS = (PUBLISHED_480, "infinitetalk-480p-multi", "infinitetalk-480p-lowmem", "infinitetalk-480p-published")
FEW_STEPS = {"infinitetalk-480p-8step": 8, "infinitetalk-480p-4step": 4}
PRESETS = ("best", "fast", "draft")


def differences(profile: Profile, other: Profile) -> set[str]:
    """Dotted keys of the sections in which two profiles differ."""
    mine, theirs = profile.model_dump(), other.model_dump()
    return {
        f"{section}.{key}"
        for section, values in mine.items()
        if isinstance(values, dict)
        for key, value in values.items()
        if value != theirs[section][key]
    }


def test_all_that_is_promised_is_shipped():
    promised = {*FULL_STEPS, *FEW_STEPS, *PRESETS, "infinitetalk-720p", "nano"}
    assert promised <= set(list_profiles())


@pytest.mark.parametrize("name", [*FULL_STEPS, "infinitetalk-720p", "best"])
def test_published_numbers(name: str):
    profile = load_profile(name)
    sampling, chunks = profile.sampling, profile.chunks
    assert (sampling.num_steps, sampling.seed, sampling.last_timestep) == (40, 42, 1.0)
    assert (sampling.text_guidance_scale, sampling.audio_guidance_scale) == (5.0, 4.0)
    assert (chunks.num_frames, chunks.context_frames) == (81, 9)
    assert (sampling.apg, sampling.step_cache) == (None, None)
    assert profile.post.color_match_strength == 1.0


def test_shift_follows_the_size():
    small, large = load_profile(PUBLISHED_480), load_profile("infinitetalk-720p")
    assert (small.sampling.timestep_shift, small.geometry.area_px) == (7.0, 640 * 640)
    assert (large.sampling.timestep_shift, large.geometry.area_px) == (11.0, 960 * 960)
    assert differences(large, small) == {"sampling.timestep_shift", "geometry.area_px"}


@pytest.mark.parametrize(("name", "num_steps"), FEW_STEPS.items())
def test_few_steps_come_with_a_lora_and_the_advised_numbers(name: str, num_steps: int):
    profile = load_profile(name)
    sampling = profile.sampling
    assert (sampling.num_steps, sampling.timestep_shift) == (num_steps, 2.0)
    assert (sampling.text_guidance_scale, sampling.audio_guidance_scale) == (1.0, 2.0)
    assert len(profile.model.loras) == 1
    changed = differences(profile, load_profile(PUBLISHED_480))
    assert {key.split(".")[0] for key in changed} == {"model", "sampling"}


def test_two_people_need_their_own_audio_weights_and_nothing_else():
    multi = load_profile("infinitetalk-480p-multi")
    assert differences(multi, load_profile(PUBLISHED_480)) == {"model.audio_weights", "model.max_people"}
    assert multi.model.max_people == 2


def test_low_memory_saves_memory_and_keeps_the_chunks():
    small = load_profile("infinitetalk-480p-lowmem")
    assert small.memory.offload != "none"
    assert small.compute.quantization != "none"
    assert small.compute.vae_tiling
    assert {key.split(".")[0] for key in differences(small, load_profile(PUBLISHED_480))} == {"compute", "memory"}


def test_compatibility_profile_switches_every_compatibility_setting_on():
    profile = load_profile("infinitetalk-480p-published")
    assert profile.geometry.fit == "bucket-480"
    assert (profile.audio.frame_count, profile.chunks.tail) == ("floor", "mirror")
    assert profile.post.color_match_reference == "first_frame"
    assert profile.model.lora_alpha == "ignore"


def test_presets_are_what_they_are_called():
    best, fast, draft = map(load_profile, PRESETS)
    assert best.compute.quantization == "none"
    assert differences(best, load_profile("infinitetalk-720p")) == {"compute.attention"}
    assert differences(fast, load_profile("infinitetalk-480p-4step")) == {"compute.quantization"}
    assert fast.compute.quantization == "auto"
    assert draft.geometry.area_px < fast.geometry.area_px
    assert draft.sampling.num_steps <= fast.sampling.num_steps


def test_profiles_with_text_guidance_name_what_to_avoid():
    for name in list_profiles():
        profile = load_profile(name)
        if profile.model.reads_text and profile.sampling.text_guidance_scale != 1.0:
            assert profile.sampling.negative_prompt.strip(), name


def test_profiles_name_weights_of_the_catalogue():
    for name in list_profiles():
        assert set(names_of(load_profile(name).model)) <= set(load_catalog()), name
