"""What is made again when something changes: every field of a profile, every network, every file, every version.

The tables are the promise (`test_options_that_count.py` has that of the command's options). A field that is not in them
fails here: decide what it changes, and write it down. A stage that is made again without need costs somebody a night;
one that is not made again shows old frames.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import NoneType
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from infinitetalk_cli.cache.store import Store
from infinitetalk_cli.checkpoints import files as networks
from infinitetalk_cli.config.camera import CameraProfile
from infinitetalk_cli.config.job import Job, OutputSettings
from infinitetalk_cli.config.model import LoraFile, ModelProfile
from infinitetalk_cli.config.profile import ApgProfile, Profile, SamplingProfile, SpeechProfile, StepCacheProfile
from infinitetalk_cli.pipeline.plan import plan_stages
from infinitetalk_cli.stages import STAGES
from infinitetalk_cli.stages.stage import Stage

NOTHING: set[str] = set()
RESULT = {"remux"}
PICTURE = {"generate", "inspect", "remux"}
"""All that follows from other generated frames."""
PLAN = {"keyframes", *PICTURE}
SOUND = {"audio_embedding", *PLAN}

NEEDS_WEIGHTS = NOTHING
"""Which weights are meant changes nothing by name, but by their content: see the table of networks."""

FIELDS: Mapping[str, tuple[Any, set[str]]] = {
    "name": ("other", RESULT),  # stands in the result's metadata
    "description": ("other", NOTHING),
    "model.family": ("nano", {"text_embedding", *PICTURE}),  # nano reads no text
    "model.weights": ("elsewhere", NEEDS_WEIGHTS),
    "model.base": ("elsewhere", NEEDS_WEIGHTS),
    "model.audio_encoder": ("elsewhere", NEEDS_WEIGHTS),
    "model.audio_weights": ("elsewhere", NEEDS_WEIGHTS),
    "model.loras": ((LoraFile(file="a"),), NEEDS_WEIGHTS),
    "model.lora_alpha": ("ignore", NEEDS_WEIGHTS),
    "model.max_people": (2, NOTHING),
    "model.uni3c": ("elsewhere", NEEDS_WEIGHTS),
    "geometry.area_px": (4096, PICTURE),
    "geometry.multiple_px": (32, PICTURE),
    "geometry.fit": ("bucket-480", PICTURE),
    "audio.loudness_lufs": (None, SOUND),
    "audio.frame_count": ("floor", SOUND),
    "chunks.conditioning": ("i2v", PLAN),
    "chunks.num_frames": (41, SOUND),
    "chunks.context_frames": (5, PLAN),
    "chunks.reference_refresh": ("hold", PLAN),
    "chunks.scenes": ("off", {"scenes", "camera_motion", *PLAN}),
    "chunks.tail": ("mirror", SOUND),
    "chunks.last_chunk": ("fit", PLAN),
    "speech.only": (False, {"speech_spans", *PLAN}),
    "speech.margin_s": (0.5, PLAN),
    "speech.min_gap_s": (1.0, PLAN),
    "camera.lock": ("all", {"camera_motion", *PLAN}),
    "camera.method": ("sdedit", PICTURE),
    "camera.min_motion": (0.5, PLAN),
    "camera.uni3c.strength": (0.5, PICTURE),
    "camera.uni3c.start": (0.1, PICTURE),
    "camera.uni3c.end": (0.9, PICTURE),
    "camera.compare": ("always", NOTHING),  # BASE is locked, so compared at any rate
    "camera.sdedit_strength_by_motion": (((0.01, 0.2),), PLAN),
    "camera.uni3c_strength_by_motion": (((0.01, 0.2),), PLAN),
    "sampling.num_steps": (3, PICTURE),
    "sampling.timestep_shift": (3.0, PICTURE),
    "sampling.last_timestep": (None, PICTURE),
    "sampling.text_guidance_scale": (2.0, PICTURE),
    "sampling.audio_guidance_scale": (2.0, PICTURE),
    "sampling.apg.momentum": (-0.5, PICTURE),
    "sampling.apg.norm_threshold": (20.0, PICTURE),
    "sampling.step_cache.threshold": (0.1, PICTURE),
    "sampling.step_cache.polynomial": ("720", PICTURE),
    "sampling.step_cache.warmup_steps": (2, PICTURE),
    "sampling.sdedit_t0": (0.5, PICTURE),
    "sampling.seed": (7, PICTURE),
    "sampling.prompt": ("a man", {"text_embedding", *PICTURE}),
    "sampling.negative_prompt": ("blur", {"text_embedding", *PICTURE}),
    "post.color_match_strength": (0.5, PICTURE),
    "post.color_match_reference": ("first_frame", PICTURE),
    "post.temporal_smoothing": (0.5, PICTURE),
    "quality.gates": (False, PICTURE),
    "quality.max_attempts": (3, PICTURE),
    "quality.frozen_frames": (30, PICTURE),
    "quality.color_step": (4.0, PICTURE),
    "quality.color_reference": (8.0, PICTURE),
    "quality.seam": (9.0, PICTURE),
    "quality.mouth_in_silence": (2.0, PICTURE),
    "compute.dtype": ("float32", {"text_embedding", *PICTURE}),
    "compute.vae_dtype": ("bfloat16", PICTURE),
    "compute.attention": ("flash", PICTURE),
    "compute.quantization": ("int8", PICTURE),
    "compute.compile": (True, PICTURE),
    "compute.vae_tiling": (True, PICTURE),
    "compute.batch_guidance": (True, PICTURE),
    "memory.offload": ("all", NOTHING),
}
"""Dotted key -> another value than that of `BASE`, and the stages that are made again for it."""

BASE = Profile(
    name="base",
    description="everything switched on that has settings of its own",
    model=ModelProfile(family="infinitetalk", base="b", audio_encoder="e", audio_weights="w"),
    speech=SpeechProfile(only=True),
    camera=CameraProfile(lock="moving", method="both"),
    sampling=SamplingProfile(apg=ApgProfile(), step_cache=StepCacheProfile(), sdedit_t0=0.7),
)

NETWORKS = {
    networks.TRANSFORMER: PICTURE,
    networks.CODEC: PICTURE,
    networks.IMAGE_ENCODER: PICTURE,
    networks.CONTROL: PICTURE,
    networks.AUDIO_ENCODER: SOUND,
    networks.TEXT_ENCODER: {"text_embedding", *PICTURE},
}

SOURCES = {
    "source_video": {"demux", "scenes", "camera_motion", *SOUND},
    "dub_audio": {"speech_spans", *SOUND},
    "speech": {"speech_spans", *SOUND},
    "scene_list": {"scenes", "camera_motion", *PLAN},
    "camera_render": PICTURE,
    "camera_mask": PICTURE,
    "camera_path": PICTURE,
}


def planned(
    profile: Profile = BASE,
    revisions: Mapping[str, str] | None = None,
    sources: Mapping[str, str] | None = None,
    stages: Sequence[Stage] = STAGES,
) -> dict[str, str]:
    """Stage -> fingerprint of a job; nothing is looked at but plain values."""
    job = Job(profile=profile, encode=OutputSettings(container=".mp4"))
    revisions = dict.fromkeys(NETWORKS, "r") | dict(revisions or {})
    sources = {name: name for name in SOURCES} | dict(sources or {})
    plan = plan_stages(stages, job, sources, revisions, Store(Path("no cache")))
    return {step.stage.name: step.fingerprint for step in plan}


def changed(one: Mapping[str, str], other: Mapping[str, str]) -> set[str]:
    """Stages that only one of two plans has, or under another fingerprint."""
    return {name for name in {*one, *other} if one.get(name) != other.get(name)}


def with_value(model: BaseModel, dotted: str, value: Any) -> BaseModel:
    """A copy with one field changed, unchecked: the value need not go with all others."""
    name, _, rest = dotted.partition(".")
    return model.model_copy(update={name: with_value(getattr(model, name), rest, value) if rest else value})


def fields_of(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Dotted keys of all fields; those that hold a section are gone into."""
    for name, field in model.model_fields.items():
        kinds = [kind for kind in (field.annotation, *get_args(field.annotation)) if kind is not NoneType]
        section = next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)), None)
        if section is None or section is LoraFile:
            yield prefix + name
        else:
            yield from fields_of(section, f"{prefix}{name}.")


def test_every_field_of_a_profile_is_in_the_table() -> None:
    assert set(fields_of(Profile)) == set(FIELDS), "write down what the field changes"


@pytest.mark.parametrize("field", FIELDS)
def test_a_field_makes_again_what_depends_on_it_and_nothing_else(field: str) -> None:
    value, expected = FIELDS[field]
    assert changed(planned(), planned(with_value(BASE, field, value))) == expected


@pytest.mark.parametrize("network", NETWORKS)
def test_other_weights_make_again_what_they_are_used_for(network: str) -> None:
    assert changed(planned(), planned(revisions={network: "newer"})) == NETWORKS[network]


@pytest.mark.parametrize("source", SOURCES)
def test_another_file_makes_again_what_reads_it(source: str) -> None:
    assert changed(planned(), planned(sources={source: "other"})) == SOURCES[source]


@pytest.mark.parametrize("stage", planned())
def test_a_newer_stage_is_made_again_and_nothing_before_it(stage: str) -> None:
    newer = [replace(step, version=step.version + 1) if step.name == stage else step for step in STAGES]
    order, again = list(planned()), changed(planned(), planned(stages=newer))
    assert stage in again and again <= set(order[order.index(stage) :])
