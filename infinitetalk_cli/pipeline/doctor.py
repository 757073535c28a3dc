"""What this machine can run: its parts, the weights that are here, and a verdict on every shipped profile."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from infinitetalk_cli.checkpoints.inventory import inventory
from infinitetalk_cli.checkpoints.locate import locate_model
from infinitetalk_cli.config.load import list_profiles, load_profile
from infinitetalk_cli.config.profile import Profile
from infinitetalk_cli.errors import InfiniteTalkError
from infinitetalk_cli.machine import host_memory
from infinitetalk_cli.pipeline.compute import Device, settle
from infinitetalk_cli.pipeline.fitting import NUM_SHOWN, MemoryPlan, Room, gigabytes, plan_memory
from infinitetalk_cli.pipeline.model_sizes import PUBLISHED, ModelSize, size_of
from infinitetalk_cli.pipeline.probes import Finding, first_line, machine_probes, run_probe
from infinitetalk_cli.pipeline.profiles import missing_weights
from infinitetalk_cli.pipeline.work import square_picture


@dataclass(frozen=True)
class Verdict:
    """Whether a shipped profile runs here on a square source; `missing` are weights, `problem` whatever else is."""

    name: str
    missing: tuple[str, ...]
    memory: MemoryPlan | None
    problem: str = ""

    @property
    def runs(self) -> bool:
        """Whether nothing stands in its way, as far as can be told without running it."""
        fits = self.memory is not None and self.memory.state != "too much"
        return fits and not self.missing and not self.problem

    @property
    def text(self) -> str:
        """What stands in its way, or what it needs."""
        reasons = [self.problem] if self.problem else []
        if self.missing:
            reasons.append(f"weights missing: {', '.join(self.missing)}")
        plan = self.memory
        if plan is not None and plan.state == "too much":
            reasons.append(f"would need {_needs(plan)}, {_free(plan)} free")
        if not reasons and plan is not None:
            return f"runs; needs {_needs(plan)}" + (", which will be close" if plan.state == "close" else "")
        if plan is not None and plan.state != "too much":
            reasons.append(f"memory would do ({_needs(plan)})")
        return "; ".join(reasons)

    def as_dict(self) -> dict[str, Any]:
        """Plain data, for `--json`."""
        memory = None if self.memory is None else self.memory.as_dict()
        return {"name": self.name, "runs": self.runs, "text": self.text, "missing": self.missing, "memory": memory}


@dataclass(frozen=True)
class Report:
    """All that was found."""

    findings: tuple[Finding, ...]
    verdicts: tuple[Verdict, ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain data, for `--json`."""
        return {
            "findings": [finding.as_dict() for finding in self.findings],
            "profiles": [verdict.as_dict() for verdict in self.verdicts],
        }


def examine(device_name: str, cache_root: Path, weights_root: Path) -> Report:
    """Look at everything; nothing that is missing or broken is an error here."""
    device = Device(device_name)
    findings: list[Finding] = []
    for area, name, probe in (
        *machine_probes(device, cache_root),
        ("weights", "weights", partial(probe_weights, weights_root)),
    ):
        findings += run_probe(area, name, probe)
    return Report(tuple(findings), tuple(judge(name, device, weights_root) for name in list_profiles()))


def probe_weights(weights_root: Path) -> Iterator[Finding]:
    """Every set of weights that profiles can name: here, incomplete, or missing."""
    yield Finding("weights", "folder", "ok" if weights_root.is_dir() else "note", str(weights_root))
    for row in inventory(weights_root, None):
        part, pull = row.part, f"infinitetalk models pull {row.name}"
        if part.is_complete:
            yield Finding("weights", row.name, "ok", f"{gigabytes(part.size_bytes)} in {part.place}")
        elif part.place is None:
            yield Finding("weights", row.name, "missing", "not here", pull)
        else:
            said = ", ".join(problem.within(part.place) for problem in part.problems[:NUM_SHOWN])
            yield Finding("weights", row.name, "broken", f"incomplete in {part.place}: {said}", pull)


def judge(name: str, device: Device, weights_root: Path) -> Verdict:
    """Whether the shipped profile `name` runs here; whatever fails on the way is its problem, not ours."""
    missing: tuple[str, ...] = ()
    plan: MemoryPlan | None = None
    try:
        profile = load_profile(name)
        missing = missing_weights(profile.model, weights_root)
        room = Room(device.facts, host_memory())
        settled = settle(profile, device).profile
        plan = plan_memory(settled, _size(settled, weights_root, missing), square_picture, room)
    except InfiniteTalkError as exc:
        return Verdict(name, missing, plan, str(exc))
    except Exception as exc:  # a broken library shows here too
        return Verdict(name, missing, plan, f"cannot be judged ({type(exc).__name__}: {first_line(exc)})")
    return Verdict(name, missing, plan)


def _size(profile: Profile, weights_root: Path, missing: tuple[str, ...]) -> ModelSize:
    """Of the files where they are here; what is missing is taken to be as published."""
    if missing and profile.model.family != "nano":
        return PUBLISHED
    return size_of(locate_model(profile.model, weights_root))


def _needs(plan: MemoryPlan) -> str:
    needed = plan.needed
    if needed.on_cpu:
        return f"{gigabytes(needed.host_bytes)} of main memory"
    return f"{gigabytes(needed.device_bytes)} on the GPU and {gigabytes(needed.host_bytes)} of main memory"


def _free(plan: MemoryPlan) -> str:
    device, host = gigabytes(plan.room.device.free_bytes), gigabytes(plan.room.host.available_bytes)
    return host if plan.needed.on_cpu else f"{device} and {host}"
