"""A chunk's new frames -> its figures and the verdict on them: glue between the sampler's conditions and the gates."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from infinitetalk_cli.config.profile import QualityProfile
from infinitetalk_cli.quality import faces
from infinitetalk_cli.quality.gates import NOT_A_NUMBER, Limits, judge
from infinitetalk_cli.quality.measures import ChunkPictures, measure
from infinitetalk_cli.quality.pictures import shrink
from infinitetalk_cli.quality.voice import is_silent, is_speaking
from infinitetalk_cli.stages.attempts import AttemptRecord

if TYPE_CHECKING:
    from infinitetalk_cli.models.dubbing_model import ChunkConditions
    from infinitetalk_cli.stages.planned_chunk import PlannedChunk

GATES_OFF = "all gates: switched off (quality.gates)"
NO_FACES = "mouth in silence: needs the extra infinitetalk[faces]"


class ChunkChecks:
    """The gates of one job. `levels_db` (n,): how loud the voice is in each frame of the model's timeline."""

    def __init__(self, settings: QualityProfile, finds_faces: bool, levels_db: np.ndarray) -> None:
        self._settings, self._finds_faces = settings, finds_faces
        self._speaks, self._silent = is_speaking(levels_db), is_silent(levels_db)
        self._limits = Limits(
            frozen_frames=settings.frozen_frames,
            color_step=settings.color_step,
            color_reference=settings.color_reference,
            seam=settings.seam,
            mouth_in_silence=settings.mouth_in_silence,
        )

    @property
    def max_attempts(self) -> int:
        """How often a chunk is drawn at most."""
        return self._settings.max_attempts if self._settings.gates else 1

    @property
    def not_checked(self) -> tuple[str, ...]:
        """The gates that cannot judge here, with the reason."""
        if not self._settings.gates:
            return (GATES_OFF,)
        return () if self._finds_faces else (NO_FACES,)

    def examine(
        self,
        attempt: int,
        frames: np.ndarray | None,
        previous: np.ndarray,
        chunk: PlannedChunk,
        conditions: ChunkConditions,
    ) -> AttemptRecord:
        """The record of an attempt.

        `frames` (t, h, w, 3) uint8, None where the model made no picture; `previous` (k, h, w, 3) was kept before.
        """
        if frames is None:
            return AttemptRecord(attempt=attempt, measures=None, reasons=(NOT_A_NUMBER,), excess=0.0, is_picture=False)
        if not self._settings.gates:
            return AttemptRecord(attempt=attempt, measures=None, reasons=(), excess=0.0)
        measures = measure(self._pictures(frames, previous, chunk, conditions))
        if self._finds_faces:
            silent = _of_chunk(self._silent, chunk)
            measures = replace(measures, mouth_in_silence=faces.mouth_in_silence(frames, silent))
        verdict = judge(measures, len(frames), self._limits)
        return AttemptRecord(attempt=attempt, measures=measures, reasons=verdict.reasons, excess=verdict.excess)

    def _pictures(
        self, frames: np.ndarray, previous: np.ndarray, chunk: PlannedChunk, conditions: ChunkConditions
    ) -> ChunkPictures:
        from infinitetalk_cli.models.geometry import frames_from_pixels

        wanted = conditions.reference if conditions.color_reference is None else conditions.color_reference
        new = shrink(frames)
        source, followed = None, conditions.source
        if followed is None and conditions.control is not None and conditions.control.mask is None:
            followed = conditions.control.render  # the source itself, not a render with grey holes
        if followed is not None:
            first = chunk.new_start - chunk.start_frame
            source = shrink(frames_from_pixels(followed[:, :, first : first + len(frames)]))
        return ChunkPictures(
            new=new,
            reference=shrink(frames_from_pixels(wanted))[0],
            previous=shrink(previous) if len(previous) else new[:0],
            source=source,
            speaks=_of_chunk(self._speaks, chunk),
        )


def _of_chunk(flags: np.ndarray, chunk: PlannedChunk) -> np.ndarray:
    """The part of `flags` (n,) under the chunk's new frames; False past the end."""
    part = flags[chunk.new_start : chunk.new_stop]
    return np.pad(part, (0, chunk.new_stop - chunk.new_start - len(part)))
