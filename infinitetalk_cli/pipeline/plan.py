"""Which stages a job needs, under which fingerprints, and which of them are done."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict

from infinitetalk_cli.cache.fingerprint import fingerprint
from infinitetalk_cli.cache.store import Store
from infinitetalk_cli.config.job import Job
from infinitetalk_cli.stages.stage import Stage

SOURCE = "source:"
"""Begins the origin of an artefact that is a file of the user's."""


class StageState(StrEnum):
    """What the cache knows of a stage."""

    DONE = "done"
    PARTIAL = "begun"
    TODO = "to do"


class Recipe(BaseModel):
    """Everything that decides the bytes of a stage: what its fingerprint is the hash of.

    `networks` maps those it runs to their revisions, `inputs` the artefacts it reads to where they come from:
    `source:SHA256`, or `FINGERPRINT/FILE` of the stage that makes it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    stage: str
    version: int
    settings: dict[str, Any]
    networks: dict[str, str]
    inputs: dict[str, str]


@dataclass(frozen=True)
class PlannedStage:
    """A stage of one job with what it is made from, and the fingerprint of that."""

    stage: Stage
    recipe: Recipe
    fingerprint: str
    state: StageState


def plan_stages(
    stages: Sequence[Stage],
    job: Job,
    source_hashes: Mapping[str, str],
    revisions: Mapping[str, str],
    store: Store,
) -> list[PlannedStage]:
    """Fingerprint every stage from its name, version, settings, inputs and model, and look it up.

    A stage's fingerprint contains those of the stages it reads from, so it is known before anything has run.
    `revisions` names each network of the model; `stages` that do not apply to the job are left out.
    """
    artefacts = {name: f"{SOURCE}{digest}" for name, digest in source_hashes.items()}
    planned = []
    for stage in stages:
        if not stage.applies(job):
            continue
        names = (*stage.inputs, *(name for name in stage.optional_inputs if name in artefacts))
        recipe = Recipe(
            stage=stage.name,
            version=stage.version,
            settings=stage.settings(job).model_dump(mode="json"),
            networks={name: revisions[name] for name in stage.networks if name in revisions},
            inputs={name: artefacts[name] for name in names},
        )
        digest = fingerprint(recipe.model_dump())
        artefacts |= {name: f"{digest}/{file}" for name, file in stage.outputs.items()}
        planned.append(PlannedStage(stage, recipe, digest, stage_state(store, stage.name, digest, stage.resumable)))
    return planned


def needed_steps(
    planned: Sequence[PlannedStage], wanted: Iterable[str], is_done: Callable[[PlannedStage], bool]
) -> list[PlannedStage]:
    """The stages that have to run so that the artefacts `wanted` are there, in order.

    A stage that is not done is left out if nothing that has to be made reads it.
    """
    needed, read = [], set(wanted)
    for step in reversed(planned):
        if not read.isdisjoint(step.stage.outputs) and not is_done(step):
            needed.append(step)
            read |= set(step.recipe.inputs)
    return needed[::-1]


def stage_state(store: Store, stage: str, digest: str, resumable: bool) -> StageState:
    """What `store` has of one stage."""
    if store.lookup(stage, digest) is not None:
        return StageState.DONE
    begun = resumable and store.partial_path(stage, digest).is_dir()
    return StageState.PARTIAL if begun else StageState.TODO
