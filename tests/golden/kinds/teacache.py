"""`teacache`: which steps run the blocks, and what comes out when they do not.

Two chunks of twelve steps, with three or two forwards per step. Three: decisions, what they were made from, and (at
one threshold) all outputs are compared with the record. Two: the public code uses three slots in turn whatever the
number of forwards, so there each forward is compared with one of the other kind, one or two steps ago; its decisions
and outputs are no reference. What can be compared is
- its measure: the recorded change of the modulation, between the two steps whose forwards met in a slot;
- the decisions: they depend on the timesteps alone, so ours must be those of the 3-forward run with this threshold;
- the outputs of the forward that both runs have, text with sound: the same, whatever else is evaluated beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from typing import Any

import torch
from torch import Tensor

from infinitetalk_cli.models.keys import state_dict_from_published
from infinitetalk_cli.models.prepared import Attended, PreparedConditions
from infinitetalk_cli.models.step_cache import (
    POLYNOMIALS,
    BlockResiduals,
    StepCacheSettings,
    decide_steps,
    relative_change,
)
from infinitetalk_cli.models.transformer import InfiniteTalkTransformer3DModel
from infinitetalk_cli.models.velocity import VelocityModel

from ..harness import Case, Comparison, Golden, GoldenError, check_settings
from .dit import build_transformer

_RUN_SETTINGS = (
    "forwards_per_step", "threshold", "slots", "computed", "rel_l1_of_time_projection", "accumulated_before_reset",
    "coefficients_highest_power_first",
)  # fmt: skip
_INPUTS = ("audio", "clip_fea", "latents", "latents_b", "ref_target_masks", "text", "text_null", "y")
_CHUNKS, _WARMUP_STEPS, _SLOTS = 2, 5, 3
_OVERRIDE = "override."
_CHANGE_TOLERANCE = 1e-6
"""Of mean changes near 0.1: float32 rounding of the recorded division is 1e-8, of the modulations some 1e-7."""
_EXPECTED_TOLERANCE = 1e-4
"""The polynomials' slope is below 50 there, and up to five changes add up; the closest threshold is 0.069 away."""


def cases(golden: Golden) -> list[Case]:
    """One case per recorded run."""
    golden.check_tensors((rf"in\.({'|'.join(_INPUTS)})", r"out\.threshold_[\d.]+", rf"{_OVERRIDE}.*"))
    support = Golden("dit_weights", golden.path.parent / "dit_weights.json")
    transformer = lru_cache(partial(_build, golden, support))
    found = []
    for index, run in enumerate(golden.setting("runs")):
        check_settings(f"{golden.path}: run {index}", run, _RUN_SETTINGS)
        name = f"{run['forwards_per_step']}forwards-threshold{run['threshold']}"
        found.append(Case(name, partial(_compare, golden, transformer, index)))
    return found


def _build(golden: Golden, support: Golden) -> InfiniteTalkTransformer3DModel:
    weights = "dit_weights.safetensors"
    transformer = build_transformer(support, support.setting("model"), weights)
    transformer.load_state_dict(
        state_dict_from_published({**golden.weights(weights), **golden.tensors_under(_OVERRIDE)})
    )
    return transformer


@dataclass(frozen=True, eq=False)
class Run:
    """One recorded run as the product's settings and inputs."""

    golden: Golden
    record: dict[str, Any]
    transformer: InfiniteTalkTransformer3DModel

    @cached_property
    def timesteps(self) -> list[float]:
        return self.golden.setting("timesteps")

    @cached_property
    def num_forwards(self) -> int:
        return self.record["forwards_per_step"]

    @cached_property
    def modulations(self) -> Tensor:
        """What the blocks get in each step, (steps, 6, d)."""
        return self.transformer.modulations(torch.tensor(self.timesteps))

    @cached_property
    def settings(self) -> StepCacheSettings:
        polynomial = POLYNOMIALS[self.golden.setting("model_scale").rpartition("-")[2]]
        if list(polynomial) != self.record["coefficients_highest_power_first"]:
            raise GoldenError(f"{self.golden.path}: recorded with another polynomial")
        return StepCacheSettings(self.record["threshold"], polynomial, _WARMUP_STEPS)

    def velocity_model(self) -> VelocityModel:
        """With everything bound, and a fresh memory, as at the start of a chunk."""
        inputs = self.golden.tensors_under("in.")
        text, negative = (Attended(inputs[name][None]) for name in ("text", "text_null"))
        image, sound = Attended(inputs["clip_fea"]), Attended(inputs["audio"])
        silence = Attended(torch.zeros_like(inputs["audio"]))
        forwards = {3: ((text, sound), (negative, sound), (negative, silence)), 2: ((text, sound), (text, silence))}
        return VelocityModel(
            transformer=self.transformer,
            condition=inputs["y"],
            reference_latents=torch.zeros(()),
            person_masks=inputs["ref_target_masks"],
            prepared=tuple(PreparedConditions(t, image, s, num_people=1) for t, s in forwards[self.num_forwards]),
            batch_branches=False,
            residuals=BlockResiduals(),
        )

    def latents(self, chunk: int, timestep: float) -> Tensor:
        """What the model is shown."""
        clean, noise = (self.golden.tensor(f"in.{name}")[None] for name in ("latents", "latents_b"))
        mixed = clean * (1 - timestep / 1000) + noise * (timestep / 1000)
        return mixed.flip(1) if chunk else mixed

    @torch.no_grad()
    def outputs(self, runs: Sequence[bool]) -> Tensor:
        """All outputs (chunks * steps * forwards, c, t, h, w) in the order of the record."""
        found = []
        for chunk in range(_CHUNKS):
            model = self.velocity_model()
            for timestep, runs_now in zip(self.timesteps, runs, strict=True):
                found.append(model(self.latents(chunk, timestep), timestep / 1000, reuse=not runs_now))
        return torch.cat(found)


def _compare(golden: Golden, transformer: Any, index: int, comparison: Comparison) -> None:
    record = golden.setting("runs")[index]
    run = Run(golden, record, transformer())
    decisions = decide_steps(run.modulations, run.settings)
    _compare_changes(run, comparison)
    reference = record
    if run.num_forwards < _SLOTS:
        same = (other for other in golden.setting("runs") if other["forwards_per_step"] == _SLOTS)
        reference = next(other for other in same if other["threshold"] == record["threshold"])
    runs = [decision.runs for decision in decisions]
    recorded_runs = [bool(computed) for computed in reference["computed"]]
    comparison.equal("decisions", [flag for flag in runs * _CHUNKS for _ in range(_SLOTS)], recorded_runs)
    expected = torch.tensor([decision.expected_change for decision in decisions * _CHUNKS])
    recorded_expected = torch.tensor(reference["accumulated_before_reset"][::_SLOTS])
    comparison.close("expected changes", expected, recorded_expected, _EXPECTED_TOLERANCE)
    _compare_outputs(run, runs, comparison)


def _compare_changes(run: Run, comparison: Comparison) -> None:
    """The change of the modulation between every forward and the one before it in its slot.

    Slots take turns; the first change of a chunk is measured against the end of the chunk before, or not at all.
    """
    steps = [index // run.num_forwards % len(run.timesteps) for index in range(len(run.record["slots"]))]
    comparison.equal("slots", run.record["slots"], [index % _SLOTS for index in range(len(steps))])
    for index, recorded in enumerate(run.record["rel_l1_of_time_projection"]):
        if recorded is None:
            continue
        old, new = (run.modulations[steps[position]] for position in (index - _SLOTS, index))
        ours = torch.tensor(relative_change(old, new))
        comparison.close("change of the modulation", ours, torch.tensor(recorded), _CHANGE_TOLERANCE)


def _compare_outputs(run: Run, runs: Sequence[bool], comparison: Comparison) -> None:
    name = f"out.threshold_{run.record['threshold']}"
    if name not in run.golden.tensors:
        return
    recorded, ours = run.golden.tensor(name), run.outputs(runs)
    if run.num_forwards < _SLOTS:
        recorded, ours = recorded[::_SLOTS], ours[:: run.num_forwards]
    comparison.close("outputs", ours, recorded, run.golden.setting("tolerance", "outputs_max_abs"))
