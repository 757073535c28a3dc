"""How several processes share a plan: whole streams first, one transformer among several processes after that.

No torch: a plan is shown without it.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from infinitetalk_cli.errors import ProfileError
from infinitetalk_cli.models.parallel.choice import choose_team, step_time
from infinitetalk_cli.pipeline.footprint import num_branches
from infinitetalk_cli.pipeline.model_sizes import size_of
from infinitetalk_cli.pipeline.split import Split

if TYPE_CHECKING:
    from infinitetalk_cli.pipeline.request import Prepared
    from infinitetalk_cli.stages.sharing import Stream

GROUPS_MARGIN = 0.3
"""Fewer groups with more processes in each have to save this part of the time: what a team exchanges costs more on
some machines than is counted, whole streams exchange nothing anywhere."""


@dataclass(frozen=True)
class Work:
    """What decides the layout: frames to generate in each stream that is left, and the transformer's measures."""

    streams: tuple[int, ...]
    num_forwards: int
    num_heads: int


@dataclass(frozen=True)
class Layout:
    """`scenes` teams, each `guidance` x `sequence` processes around one transformer; why, in a sentence.

    A team's processes are neighbours: team k begins at process `k * stride`. Processes beyond are idle.
    """

    num_processes: int
    scenes: int
    guidance: int
    sequence: int
    stride: int
    reason: str

    @property
    def team_size(self) -> int:
        """Processes of a team that have work."""
        return self.guidance * self.sequence

    @property
    def num_idle(self) -> int:
        """Processes without work."""
        return self.num_processes - self.scenes * self.team_size

    @property
    def teams(self) -> list[tuple[int, ...]]:
        """Ranks of each team, its leader first."""
        return [tuple(range(team * self.stride, team * self.stride + self.team_size)) for team in range(self.scenes)]

    def leader_of(self, rank: int) -> int | None:
        """The rank that leads the team of `rank`; None if it is idle."""
        return next((team[0] for team in self.teams if rank in team), None)

    @property
    def text(self) -> str:
        """For people."""
        team = f" of {self.team_size} processes (guidance {self.guidance} x sequence {self.sequence})"
        teams = "1 team" if self.scenes == 1 else f"{self.scenes} teams, each making whole scenes"
        idle = f", {self.num_idle} idle" if self.num_idle else ""
        return f"{self.num_processes} processes: {teams}{team if self.team_size > 1 else ''}{idle}; {self.reason}"

    def as_dict(self) -> dict[str, Any]:
        """Plain data, for `--json` and for the other processes."""
        return asdict(self)


def layout_of(prepared: Prepared, streams: Sequence[Stream]) -> Layout:
    """How the processes of a prepared job share the `streams` that are left: as asked for, or the fastest way.

    Raises:
        ProfileError: what was asked for does not suit the profile.
    """
    request = prepared.request
    work = Work(
        streams=tuple(sum(chunk.num_frames for chunk in stream) for stream in streams),
        num_forwards=num_branches(prepared.job.profile),
        num_heads=size_of(prepared.weights.files).transformer.num_attention_heads,
    )
    if request.split is not None:
        return wanted_layout(request.num_processes, request.split, work)
    return choose_layout(request.num_processes, work, request.num_local)


def choose_layout(num_processes: int, work: Work, num_local: int | None = None) -> Layout:
    """The layout with the least time: as many teams as do nearly as well as the best.

    `num_local` processes are on one machine: a team lies within one, or fills several.
    """
    num_local = num_local or num_processes
    fewest = [1, *range(2, min(num_processes, max(1, len(work.streams))) + 1)]
    layouts = [layout for teams in fewest for layout in _with_teams(teams, num_processes, work, num_local)]
    times = [(_time(layout, work), layout) for layout in layouts]
    best = min(time for time, _ in times)
    return [layout for time, layout in times if time <= best * (1 + GROUPS_MARGIN)][-1]


def wanted_layout(num_processes: int, split: Split, work: Work) -> Layout:
    """The layout the user asked for; teams without a stream of their own are left out, their processes idle.

    Raises:
        ProfileError: there are not so many branches or heads.
    """
    for name, count, limit, what in (
        ("guidance", split.guidance, work.num_forwards, "forwards in a step of this profile"),
        ("sequence", split.sequence, work.num_heads, "heads in this model"),
    ):
        if count > limit:
            raise ProfileError(f"--split {name}={count}: at most {limit}, the number of {what}; leave out --split")
    size = split.guidance * split.sequence
    scenes = min(split.scenes, max(1, len(work.streams)))
    return Layout(num_processes, scenes, split.guidance, split.sequence, size, "as asked for with --split")


def _with_teams(teams: int, num_processes: int, work: Work, num_local: int) -> Iterator[Layout]:
    stride = num_processes // teams
    if num_local % stride and stride % num_local:
        return
    team = choose_team(stride, work.num_forwards, work.num_heads)
    count = len(work.streams)
    scenes = f"{count} {'scene is' if count == 1 else 'scenes are'} left"
    reason = scenes if team.num_processes == stride == 1 else f"{scenes}, {team.reason}"
    yield Layout(num_processes, teams, team.guidance, team.sequence, stride, reason)


def _time(layout: Layout, work: Work) -> float:
    """Of all streams, the longest first, each to the team that is free first; in evaluations and frames."""
    teams = [0] * layout.scenes
    for frames in sorted(work.streams, reverse=True):
        heapq.heapreplace(teams, teams[0] + frames)
    return max(teams) * step_time(layout.guidance, layout.sequence, work.num_forwards, work.num_heads)


def in_order(frames: Sequence[int]) -> list[int]:
    """Places of the streams in the order in which they are begun: the longest first, so that all end together."""
    return sorted(range(len(frames)), key=lambda place: (-frames[place], place))
