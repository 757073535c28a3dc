"""What a stage declaration is: a name, what goes in and out, and a plain function."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from pydantic import BaseModel

from infinitetalk_cli.config.job import Job
from infinitetalk_cli.progress import Progress

if TYPE_CHECKING:
    from infinitetalk_cli.models.audio_encoder import AudioEncoder
    from infinitetalk_cli.models.diarization import Diarizer
    from infinitetalk_cli.models.dubbing_model import DubbingModel
    from infinitetalk_cli.models.text_encoder import PromptEncoder
    from infinitetalk_cli.stages.sharing import Crew

Inputs = Mapping[str, Path]
"""Artefact name -> file or folder, exactly the names the stage declares."""

RunStage = Callable[[Inputs, Any, Path, "StageContext"], None]
"""`run(inputs, settings, out_dir, ctx)` reads the first two and writes the outputs under `out_dir`."""


def _always(job: Job) -> bool:
    return True


class Models(Protocol):
    """The networks of one profile, loaded when first asked for and kept for the next job."""

    def audio_encoder(self) -> AudioEncoder:
        """Speech -> one embedding row per model frame."""

    def text_encoder(self) -> PromptEncoder:
        """Prompts -> embeddings; not kept, so that its memory is free when the caller lets it go."""

    def dubbing_model(self) -> DubbingModel:
        """Everything that `generate_chunk` needs, but for the text."""

    def diarizer(self) -> Diarizer:
        """Tells the voices of one track apart."""


@dataclass(frozen=True)
class StageContext:
    """What a stage may use besides its inputs; nothing here changes what comes out.

    `check_inputs` raises an `InputError` if a source file has changed since it was fingerprinted; a stage that commits
    files on its way calls it before each. `crew` are the processes that share the work; None: this one alone.
    """

    progress: Progress
    models: Models
    check_inputs: Callable[[], None]
    crew: Crew | None = None


@dataclass(frozen=True)
class Stage:
    """One cached step of the pipeline.

    `inputs` are artefact names; `outputs` maps the names it makes to files or folders in its work folder.
    `version` is raised when equal inputs would give different bytes. `settings` picks the only part of the
    job that `run` sees, and that enters the fingerprint. `networks` are those whose revisions enter the
    fingerprint, as far as the model has them. `optional_inputs` are read when something makes them. A stage that does
    not apply to a job is left out. A `resumable` stage keeps its unfinished work folder and goes on inside it.
    """

    name: str
    version: int
    inputs: tuple[str, ...]
    outputs: Mapping[str, str]
    settings: Callable[[Job], BaseModel]
    run: RunStage = field(repr=False)
    networks: tuple[str, ...] = ()
    optional_inputs: tuple[str, ...] = ()
    applies: Callable[[Job], bool] = field(default=_always, repr=False)
    resumable: bool = False
