"""Why a stage is made, or made again: this plan beside what the last run of the same files was made from."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from infinitetalk_cli.cache.store import Store
from infinitetalk_cli.pipeline.jobs import JobRecord, RecordedStage
from infinitetalk_cli.pipeline.plan import SOURCE, PlannedStage, StageState

NUM_SHOWN = 3
"""Settings named one by one; of more it is only said how many."""

_LONGEST_VALUE = 40


def reasons(planned: Sequence[PlannedStage], last: JobRecord | None, store: Store) -> Mapping[str, tuple[str, ...]]:
    """Stage name -> why it has to be made, for those of `planned` that do; empty where it is the first time.

    The reasons of a stage are its own: what was set, which weights and files, which version. If there are none, the
    stages it reads from are named.
    """
    if last is None:
        return {}
    makers = {name: step.stage.name for step in planned for name in step.stage.outputs}
    files = {source.artefact: os.path.basename(source.path) for source in last.sources}
    return {
        step.stage.name: tuple(_reasons(step, last, makers, files, store))
        for step in planned
        if step.state is not StageState.DONE
    }


def _reasons(
    step: PlannedStage, last: JobRecord, makers: Mapping[str, str], files: Mapping[str, str], store: Store
) -> Iterator[str]:
    before, name = last.stage(step.stage.name), step.stage.name
    if before is None:
        yield "the last run of these files did without it"
    elif before.fingerprint == step.fingerprint:
        if store.final_path(name, step.fingerprint).is_dir():
            yield "its cache entry is damaged"
        elif not last.is_unfinished:
            yield "it is no longer in the cache"
    else:
        own = [*_changes(before, step), *_changed_files(before, step, files)]
        yield from own or _changed_stages(before, step, makers)


def _changes(before: RecordedStage, step: PlannedStage) -> Iterator[str]:
    old, new = before.recipe, step.recipe
    if old.version != new.version:
        newer = "newer" if new.version > old.version else "older"
        yield f"infinitetalk's {new.stage} stage is {newer} ({old.version} -> {new.version})"
    changed = list(changed_settings(old.settings, new.settings))
    yield from changed[:NUM_SHOWN]
    if len(changed) > NUM_SHOWN:
        yield f"and {len(changed) - NUM_SHOWN} more settings"
    for network in _differing(old.networks, new.networks):
        yield f"the weights of the {network.replace('_', ' ')} changed"


def _changed_files(before: RecordedStage, step: PlannedStage, files: Mapping[str, str]) -> Iterator[str]:
    old, new = before.recipe.inputs, step.recipe.inputs
    said = set()
    for artefact in _differing(old, new):
        if SOURCE not in (old.get(artefact, "")[: len(SOURCE)], new.get(artefact, "")[: len(SOURCE)]):
            continue
        if artefact not in old:
            sentence = f"{artefact.replace('_', ' ')} was given"
        elif artefact not in new:
            sentence = f"{files.get(artefact, artefact)} is not given any more"
        else:
            sentence = f"{files.get(artefact, artefact)} changed"
        if sentence not in said:
            said.add(sentence)
            yield sentence


def _changed_stages(before: RecordedStage, step: PlannedStage, makers: Mapping[str, str]) -> Iterator[str]:
    changed = dict.fromkeys(
        makers.get(artefact, artefact) for artefact in _differing(before.recipe.inputs, step.recipe.inputs)
    )
    if changed:
        yield f"what it reads changes: {', '.join(changed)}"


def changed_settings(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    """`sampling.seed 42 -> 7` for every setting that differs; both are nested plain data."""
    before, after = dict(flat_settings(old)), dict(flat_settings(new))
    for key in _differing(before, after):
        if key in before and key in after:
            yield f"{key} {shown_value(before[key])} -> {shown_value(after[key])}"
        elif key in after:
            yield f"{key} {shown_value(after[key])} is new"
        else:
            yield f"{key} {shown_value(before[key])} is gone"


def _differing(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    keys = [*new, *(key for key in old if key not in new)]
    return [key for key in keys if key not in old or key not in new or old[key] != new[key]]


def flat_settings(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted key and value of everything in nested plain data."""
    for key, value in settings.items():
        if isinstance(value, Mapping) and value:
            yield from flat_settings(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def shown_value(value: Any) -> str:
    """A setting's value for people, cut where it is long."""
    text = "none" if value is None else value if isinstance(value, str) and value else json.dumps(value)
    return text if len(text) <= _LONGEST_VALUE else f"{text[: _LONGEST_VALUE - 3]}..."
