"""Which stages a job needs, under which fingerprints, and which of them are done."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from infinitetalk_cli.cache.fingerprint import fingerprint
from infinitetalk_cli.cache.store import Store
from infinitetalk_cli.config.job import Job
from infinitetalk_cli.stages.stage import Stage


class StageState(StrEnum):
    """What the cache knows of a stage."""

    DONE = "done"
    PARTIAL = "begun"
    TODO = "to do"


@dataclass(frozen=True)
class PlannedStage:
    """A stage of one job with the fingerprint of everything that decides its bytes."""

    stage: Stage
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
    artefacts = {name: f"source:{digest}" for name, digest in source_hashes.items()}
    planned = []
    for stage in stages:
        if not stage.applies(job):
            continue
        names = (*stage.inputs, *(name for name in stage.optional_inputs if name in artefacts))
        digest = fingerprint(
            {
                "stage": stage.name,
                "version": stage.version,
                "settings": stage.settings(job).model_dump(mode="json"),
                "networks": {name: revisions[name] for name in stage.networks if name in revisions},
                "inputs": {name: artefacts[name] for name in names},
            }
        )
        artefacts |= {name: f"{digest}/{file}" for name, file in stage.outputs.items()}
        planned.append(PlannedStage(stage, digest, _state(store, stage, digest)))
    return planned


def _state(store: Store, stage: Stage, digest: str) -> StageState:
    if store.lookup(stage.name, digest) is not None:
        return StageState.DONE
    begun = stage.resumable and store.partial_path(stage.name, digest).is_dir()
    return StageState.PARTIAL if begun else StageState.TODO
