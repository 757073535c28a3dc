"""Which metrics a run can measure, and the networks of those that have one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from infinitetalk_cli.evaluate import metrics
from infinitetalk_cli.evaluate.tables.columns import METRICS, NETWORK_METRICS
from infinitetalk_cli.evaluate.tables.results import MetricState


@dataclass
class Networks:
    """States of the metrics, and the networks that are here; loaded when the first clip needs them."""

    states: dict[str, MetricState]
    settings: dict[str, Any]
    folders: tuple[Path, ...]
    device: str
    loaded: dict[str, Any] = field(default_factory=dict)

    def get(self, name: str) -> Any | None:
        """The loaded network of a metric; None for metrics that have none."""
        if name not in NETWORK_METRICS:
            return None
        if name not in self.loaded:
            self.loaded[name] = self.settings[name].load(self.folders, self.device)
            self.states[name] = MetricState(about=dict(self.loaded[name].identity))
        return self.loaded[name]


def find_networks(
    names: tuple[str, ...] | None, presets: Mapping[str, str], folders: tuple[Path, ...], device: str
) -> Networks:
    """Which of `names` (None: of all) can be measured.

    Raises:
        DependencyError: one was asked for by name, and its weights or packages are missing.
        ProfileError: a metric has no such preset.
    """
    states: dict[str, MetricState] = {}
    settings = {}
    for name in names or METRICS:
        states[name] = MetricState()
        if name not in NETWORK_METRICS:
            continue
        metric = metrics.metric(name, presets.get(name))
        lack = metric.available(folders)
        if lack is not None and names is not None:
            raise lack.error()
        if lack is not None:
            states[name] = MetricState(missing=lack.reason, remedy=lack.remedy)
        else:
            settings[name] = metric
    return Networks(states, settings, folders, device)
