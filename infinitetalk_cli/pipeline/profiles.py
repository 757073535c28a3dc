"""The shipped profiles side by side; no torch."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from infinitetalk_cli.checkpoints.catalog import names_of
from infinitetalk_cli.checkpoints.locate import find_parts, locate_model
from infinitetalk_cli.config.load import list_profiles, load_profile
from infinitetalk_cli.config.model import ModelProfile
from infinitetalk_cli.config.profile import Profile
from infinitetalk_cli.errors import DependencyError
from infinitetalk_cli.pipeline.model_sizes import PUBLISHED
from infinitetalk_cli.pipeline.work import operations_per_frame, square_picture

YARDSTICK = "infinitetalk-480p"
"""The profile whose work counts as 1."""


@dataclass(frozen=True)
class ProfileRow:
    """One profile; `work` is what the transformer computes for a frame beside the yardstick, None for nano."""

    name: str
    family: str
    description: str
    work: float | None
    weights_are_here: bool

    def as_dict(self) -> dict[str, Any]:
        """Plain data, for `--json`."""
        return asdict(self)


def describe_profiles(weights_root: Path) -> list[ProfileRow]:
    """All shipped profiles, sorted by name."""
    return [_describe(load_profile(name), weights_root) for name in list_profiles()]


def missing_weights(model: ModelProfile, weights_root: Path) -> tuple[str, ...]:
    """What of a model's weights is missing or incomplete here, by the names in the profile."""
    if model.family == "nano":
        try:
            locate_model(model, weights_root)
        except DependencyError:
            return (model.weights or "nano",)
        return ()
    complete = {part.name for part in find_parts(model, weights_root) if part.is_complete}
    return tuple(name for name in names_of(model) if name not in complete)


def _describe(profile: Profile, weights_root: Path) -> ProfileRow:
    work = None
    if profile.model.family == "infinitetalk":
        work = round(_operations(profile) / _operations(load_profile(YARDSTICK)), 4)
    is_here = not missing_weights(profile.model, weights_root)
    return ProfileRow(profile.name, profile.model.family, profile.description, work, is_here)


def _operations(profile: Profile) -> float:
    return operations_per_frame(profile, PUBLISHED, square_picture(profile))
