"""What a plan can know for little: where the cuts are, and where somebody speaks. No network but a small one is run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from infinitetalk_cli.pipeline.runner import PipelineProgress, Runner

if TYPE_CHECKING:
    from infinitetalk_cli.pipeline.dubbing import Prepared

LIGHT_STAGES = ("demux", "voices", "scenes", "speech_spans")
"""Stages that need none of the model's networks; the film is decoded once at most."""


def survey(prepared: Prepared, progress: PipelineProgress) -> Mapping[str, Path]:
    """The artefacts of the light stages, as far as they depend on each other only; what is made is kept in the cache.

    Raises:
        InputError: the source or the new voice cannot be read.
    """
    known, light = set(prepared.sources), []
    for step in prepared.stages:
        if step.stage.name in LIGHT_STAGES and known.issuperset(step.stage.inputs):
            light.append(step)
            known |= set(step.stage.outputs)
    request = prepared.request
    with prepared.store.session():
        runner = Runner(
            prepared.job, prepared.sources, prepared.store, None, progress, wait_for_lock=request.wait_for_lock
        )
        return runner.run(light).artefacts
