"""Which profile a job runs with when the user names none, and why."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from infinitetalk_cli.cache.fingerprint import fingerprint
from infinitetalk_cli.cache.store import Store
from infinitetalk_cli.checkpoints.locate import locate_model
from infinitetalk_cli.config.camera import lock_as_profile
from infinitetalk_cli.config.job import ClipSettings
from infinitetalk_cli.config.load import load_profile
from infinitetalk_cli.config.profile import ComputeProfile, Profile
from infinitetalk_cli.errors import DependencyError, ProfileError
from infinitetalk_cli.pipeline.jobs import begun_profile, unfinished_run

logger = logging.getLogger(__name__)

PREFERENCE = ("infinitetalk-480p", "infinitetalk-720p", "infinitetalk-480p-multi", "nano")
"""Shipped profiles, the best first; the last one runs anywhere."""

NANO_CAUTION = "it knows only the drawn characters it was trained on, so real footage will look poor"


@dataclass(frozen=True)
class Choice:
    """A profile with and without the command line's settings, and one sentence on which it is and why."""

    profile: Profile
    base: Profile
    sentence: str


def job_key(source_hashes: Mapping[str, str], clip: ClipSettings) -> str:
    """Names a job by what goes in, whatever the profile: it finds the profile an unfinished job began with."""
    return fingerprint({"sources": dict(source_hashes), "clip": clip.model_dump(mode="json")})


def choose_profile(
    name: str | None,
    overrides: Mapping[str, tuple[str, object]],
    key: str,
    store: Store,
    weights_root: Path,
    num_people: int = 1,
) -> Choice:
    """The profile asked for; else the one an unfinished run of this job began with; else the best that runs.

    `overrides` maps command-line options to (dotted key, value). Only models that know `num_people` are candidates.

    Raises:
        ProfileError: no such profile, or it is not valid.
    """
    if name is not None:
        return _choice(name, overrides, "as asked")
    begun = unfinished_run(store, key)
    profile = None if begun is None else begun_profile(store, begun)
    if profile is not None:
        try:
            return _choice(profile, overrides, "this unfinished job began with it")
        except ProfileError as exc:
            logger.warning("the profile this job began with is not usable any more, it begins anew: %s", exc)
    candidates = [name for name in PREFERENCE if load_profile(name).model.max_people >= num_people]
    for candidate in candidates[:-1]:
        if _is_installed(candidate, weights_root):
            return _choice(candidate, overrides, "the best one installed")
    reason = "no larger model is installed" if candidates[-1] == PREFERENCE[-1] else f"it knows {num_people} people"
    return _choice(candidates[-1], overrides, reason)


def begun_compute(store: Store, key: str) -> ComputeProfile | None:
    """What an unfinished run of this job put in place of "auto" for its device, if anything."""
    begun = unfinished_run(store, key)
    return None if begun is None else begun.compute


def _choice(name: str | Path, overrides: Mapping[str, tuple[str, object]], reason: str) -> Choice:
    base = load_profile(name)
    values = lock_as_profile(dict(overrides.values()), base.camera)
    options = {dotted: option for option, (dotted, _) in overrides.items()}
    profile = load_profile(name, values, options)
    caution = f"; {NANO_CAUTION}" if profile.model.family == "nano" else ""
    return Choice(profile, base, f"profile {profile.name} ({reason}){caution}")


def _is_installed(name: str, weights_root: Path) -> bool:
    try:
        locate_model(load_profile(name).model, weights_root)
    except DependencyError:
        return False
    return True
