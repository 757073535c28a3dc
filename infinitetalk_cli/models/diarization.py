"""Who speaks when, in one track with several voices: pyannote.audio, an optional extra."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from infinitetalk_cli.errors import DependencyError
from infinitetalk_cli.models.devices import watching_memory
from infinitetalk_cli.models.spans import Span, intersection, union
from infinitetalk_cli.progress import Progress, SilentProgress
from infinitetalk_cli.units import SPEECH_RATE_HZ

MAX_PEOPLE = 2

_FORCE_PLAIN_DATA = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"


@dataclass(frozen=True)
class Turn:
    """One stretch in which `speaker` (a label without meaning) talks."""

    speaker: str
    span: Span


class Diarizer:
    """A speaker diarization pipeline of pyannote.audio, read from the local `folder`.

    Raises:
        DependencyError: pyannote.audio is missing, or cannot load the folder.
    """

    def __init__(self, folder: Path, device: torch.device) -> None:
        pipeline_class = _import_pipeline()
        try:
            with _plain_data_only():
                self._pipeline = pipeline_class.from_pretrained(folder)
        except torch.OutOfMemoryError:
            raise
        except Exception as exc:  # whatever a folder that is not a pipeline makes the library raise
            raise DependencyError(
                f"{folder}: pyannote.audio cannot load this pipeline ({_first_line(exc)}); it is damaged or "
                "made for another version, download it again"
            ) from exc
        self._pipeline.to(device)

    def turns(self, samples: np.ndarray, progress: Progress | None = None) -> list[Turn]:
        """Turns of at most two people in `samples` (n,), mono float32 at 16 kHz, by their beginning.

        Turns of different people may overlap. The samples are held in memory once, 230 MB per hour.
        """
        waveform = torch.from_numpy(np.array(samples, np.float32))[None]
        with warnings.catch_warnings(), watching_memory("diarization"):
            warnings.simplefilter("ignore")  # of statistics over windows without speech
            result = self._pipeline(
                {"waveform": waveform, "sample_rate": SPEECH_RATE_HZ},
                min_speakers=1,
                max_speakers=MAX_PEOPLE,
                hook=_Hook(progress or SilentProgress()),
            )
        return [
            Turn(str(label), Span(max(0, round(segment.start * SPEECH_RATE_HZ)), round(segment.end * SPEECH_RATE_HZ)))
            for segment, _, label in result.speaker_diarization.itertracks(yield_label=True)
        ]


def speech_by_person(turns: list[Turn], speech: list[Span], num_samples: int) -> list[list[Span]]:
    """The spans of `speech` that belong to each person of `turns`, the one who speaks first in front.

    People of whose turns nothing is speech do not count. Where turns overlap, both people have the span.
    """
    everything = [Span(0, num_samples)]
    spans = {
        speaker: intersection(
            intersection(union(turn.span for turn in turns if turn.speaker == speaker), speech), everything
        )
        for speaker in {turn.speaker: None for turn in turns}
    }
    return sorted((own for own in spans.values() if own), key=lambda own: own[0])


class _Hook:
    """Hears pyannote's steps and reports them as our progress."""

    def __init__(self, progress: Progress) -> None:
        self._progress, self._step, self._done = progress, "", 0

    def __call__(
        self, step: str, artefact: object, file: object = None, total: int | None = None, completed: int | None = None
    ) -> None:
        if total is None or completed is None:
            return
        if step != self._step:
            self._step, self._done = step, 0
            self._progress.start(f"finding who speaks: {step}", total)
        completed = min(completed, total)  # whole batches are counted, also where the last one is not full
        if completed > self._done:
            self._progress.advance(completed - self._done)
            self._done = completed


def _import_pipeline() -> Any:
    """pyannote.audio's `Pipeline`, with its telemetry switched off: a user's work is nobody else's business."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it could not read files by itself: it is given samples
            from pyannote.audio import Pipeline
            from pyannote.audio.telemetry import set_telemetry_metrics
    except (ImportError, OSError) as exc:  # OSError: native libraries that do not fit the installed torch
        raise DependencyError(
            f"--diarize needs pyannote.audio, and it cannot be imported ({_first_line(exc)}); run: "
            "pip install 'infinitetalk[diarize]'"
        ) from exc
    set_telemetry_metrics(False)
    return Pipeline


def _first_line(exc: Exception) -> str:
    return next(iter(str(exc).splitlines()), type(exc).__name__)


@contextmanager
def _plain_data_only() -> Iterator[None]:
    """pyannote.audio reads checkpoints as full pickles; here torch takes only data, and what describes it."""
    from pyannote.audio.core.task import Problem, Resolution, Specifications
    from torch.torch_version import TorchVersion

    before = os.environ.get(_FORCE_PLAIN_DATA)
    os.environ[_FORCE_PLAIN_DATA] = "1"
    try:
        with torch.serialization.safe_globals([Problem, Resolution, Specifications, TorchVersion]):
            yield
    finally:
        if before is None:
            del os.environ[_FORCE_PLAIN_DATA]
        else:
            os.environ[_FORCE_PLAIN_DATA] = before
