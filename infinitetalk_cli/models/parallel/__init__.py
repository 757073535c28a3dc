"""One transformer evaluated by a team of processes.

A team is `guidance` x `sequence` processes: guidance splits the branches of a step (with and without prompt or sound)
over processes, sequence splits a chunk's tokens. The leader is an ordinary run whose transformer is a
`ParallelTransformer`; the others hold the transformer only and `follow`. `choose_team` says how a number of processes
is best used, and needs no torch.

    groups = TeamGroups.make([TeamShape(ranks=(0, 1, 2, 3), guidance=2, sequence=2)], device)  # on every process
    if groups.is_leader:
        with ParallelTransformer(transformer, groups) as parallel: ...
    else:
        follow(transformer, groups)
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from infinitetalk_cli.models.parallel.choice import TeamChoice, choose_team

if TYPE_CHECKING:
    from infinitetalk_cli.models.parallel.exchange import Traffic
    from infinitetalk_cli.models.parallel.follower import follow
    from infinitetalk_cli.models.parallel.groups import TeamGroups, TeamShape
    from infinitetalk_cli.models.parallel.leader import ParallelTransformer

__all__ = ["ParallelTransformer", "TeamChoice", "TeamGroups", "TeamShape", "Traffic", "choose_team", "follow"]

_NEEDS_TORCH = {
    "ParallelTransformer": "leader",
    "TeamGroups": "groups",
    "TeamShape": "groups",
    "Traffic": "exchange",
    "follow": "follower",
}


def __getattr__(name: str) -> Any:
    """Load what needs torch when it is first asked for: a plan asks for `choose_team` alone."""
    if name not in _NEEDS_TORCH:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_NEEDS_TORCH[name]}"), name)
