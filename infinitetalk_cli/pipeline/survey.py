"""What a plan can know for little: cuts, camera motion, where somebody speaks. No network but a small one is run."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from infinitetalk_cli.pipeline.plan import StageState
from infinitetalk_cli.pipeline.runner import PipelineProgress, Runner

if TYPE_CHECKING:
    from infinitetalk_cli.pipeline.request import Prepared

LIGHT_STAGES = ("demux", "voices", "scenes", "camera_motion", "speech_spans")
"""Stages that need none of the model's networks; the film is decoded twice at most."""


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
    request, store = prepared.request, prepared.store
    nothing_to_do = all(step.state is StageState.DONE for step in light)
    if not nothing_to_do:
        store.require_writable()
    with nullcontext() if nothing_to_do else store.session():  # a cache that can only be read will do
        runner = Runner(prepared.job, prepared.sources, store, None, progress, wait_for_lock=request.wait_for_lock)
        return runner.run(light).artefacts
