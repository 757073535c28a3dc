"""What a prepared job still has to do: the forecast and the run go by the same answer."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from infinitetalk_cli.pipeline.plan import StageState, needed_steps
from infinitetalk_cli.pipeline.report import run_report
from infinitetalk_cli.stages.generate import GENERATE
from infinitetalk_cli.stages.inspection import INSPECTION
from infinitetalk_cli.stages.remux import REMUX

if TYPE_CHECKING:
    from infinitetalk_cli.pipeline.request import Prepared

WANTED = ("dubbed", "track", "plan")
"""The artefacts that are read after the last stage."""


def wanted_artefacts(prepared: Prepared) -> tuple[str, ...]:
    """The artefacts of the result, and of the report where it does not alone make chunks necessary that are gone."""
    states = {step.stage.name: step.state for step in prepared.stages}
    has_chunks = StageState.DONE in (states.get(INSPECTION.name), states[GENERATE.name])
    makes_chunks = states[REMUX.name] is not StageState.DONE
    is_wanted = INSPECTION.name in states and (has_chunks or makes_chunks or not prepared.request.use_cache)
    return (*WANTED, *run_report.ARTEFACTS) if is_wanted else WANTED


def is_finished(prepared: Prepared) -> bool:
    """Whether the result is in its place already, and nobody asked for it to be made again."""
    return prepared.request.use_cache and not prepared.request.force and prepared.is_delivered


def stages_to_do(prepared: Prepared) -> Collection[str]:
    """Names of the stages that a run would make, as far as the plan knows of the cache."""
    if is_finished(prepared):
        return ()
    counts_done = prepared.request.use_cache
    steps = needed_steps(
        prepared.stages, wanted_artefacts(prepared), lambda step: counts_done and step.state is StageState.DONE
    )
    return tuple(step.stage.name for step in steps)
