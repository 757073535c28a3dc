"""One transformer on the processes of a team: the groups they talk through, and the models of its leader."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from infinitetalk_cli.models.dubbing_model import DubbingModel
from infinitetalk_cli.models.load import LoadedModels
from infinitetalk_cli.parallel.link import Link
from infinitetalk_cli.pipeline.layout import Layout

if TYPE_CHECKING:
    from infinitetalk_cli.models.audio_encoder import AudioEncoder
    from infinitetalk_cli.models.diarization import Diarizer
    from infinitetalk_cli.models.parallel import ParallelTransformer, TeamGroups
    from infinitetalk_cli.models.text_encoder import PromptEncoder


class Team:
    """The team of this process, as its leader has it: models (`stages.stage.Models`) whose transformer all share.

    Before and after `working` they are those of one process.
    """

    def __init__(self, link: Link, models: LoadedModels, device: str) -> None:
        self._link, self._models, self._device = link, models, device
        self._groups: TeamGroups | None = None
        self._shared: ParallelTransformer | None = None

    def audio_encoder(self) -> AudioEncoder:
        """Of this process alone."""
        return self._models.audio_encoder()

    def text_encoder(self) -> PromptEncoder:
        """Of this process alone."""
        return self._models.text_encoder()

    def diarizer(self) -> Diarizer:
        """Of this process alone."""
        return self._models.diarizer()

    def dubbing_model(self) -> DubbingModel:
        """With the team's transformer while it works, if the team is larger than one."""
        model = self._models.dubbing_model()
        if self._groups is None:
            return model
        from infinitetalk_cli.models.parallel import ParallelTransformer

        if self._shared is None:
            self._shared = ParallelTransformer(model.transformer, self._groups)
        return replace(model, transformer=self._shared)

    @contextmanager
    def working(self, layout: Layout) -> Iterator[None]:
        """The team stands during the body, and its followers are sent home after it."""
        self._groups = make_groups(self._link, layout, self._device)
        try:
            yield
            if self._shared is not None:
                self._shared.close()
            leave_groups()
        finally:
            self._groups = self._shared = None


def leave_groups() -> None:
    """Close what `make_groups` opened; after a failure it is left to the end of the process, which waits for nobody."""
    import torch.distributed as dist

    if dist.is_initialized():
        dist.destroy_process_group()


def make_groups(link: Link, layout: Layout, device: str) -> TeamGroups | None:
    """The groups of this process's team; None where teams are of one process. All processes of the run call this."""
    if layout.team_size == 1:
        return None
    import torch.distributed as dist
    from accelerate import PartialState

    from infinitetalk_cli.models.parallel import TeamGroups, TeamShape

    where = torch.device(device)
    if where.type == "cuda":
        torch.cuda.set_device(where)
    if not dist.is_initialized():
        place = link.place
        PartialState(cpu=where.type == "cpu", store=link.for_groups, rank=place.rank, world_size=place.num_processes)
    teams = [TeamShape(ranks, layout.guidance, layout.sequence) for ranks in layout.teams]
    try:
        return TeamGroups.make(teams, where)
    except ValueError:
        if layout.leader_of(link.place.rank) is None:  # it has helped to make the groups, and is in none of them
            return None
        raise
