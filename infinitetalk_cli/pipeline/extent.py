"""How long a prepared job is, and how much of it is generated already."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from infinitetalk_cli.config.job import Length
from infinitetalk_cli.pipeline.plan import PlannedStage, StageState
from infinitetalk_cli.stages.audio_embedding import read_track
from infinitetalk_cli.stages.chunk_files import num_committed, unfinished
from infinitetalk_cli.units import frames_in

if TYPE_CHECKING:
    from infinitetalk_cli.pipeline.request import Prepared
    from infinitetalk_cli.stages.planned_chunk import PlannedChunk


def length(prepared: Prepared) -> tuple[Fraction, int, bool]:
    """Duration, model frames, and whether these are only what the containers claim."""
    for step in prepared.stages:
        if step.stage.name == "audio_embedding" and step.state is StageState.DONE:
            entry = prepared.store.final_path(step.stage.name, step.fingerprint)
            track = read_track(entry / step.stage.outputs["track"])
            return track.duration_s, track.num_frames, False
    clip = prepared.job.clip
    claimed = {Length.AUDIO: [prepared.dub_audio], Length.VIDEO: [prepared.source]}
    ends = [info.duration_s for info in claimed.get(clip.length, [prepared.dub_audio, prepared.source])]
    known = [end for end in ends if end is not None]
    end_s = min(known, default=Fraction(0))
    if clip.end_s is not None:
        end_s = min(end_s, clip.end_s)
    duration_s = max(end_s - clip.start_s, Fraction(0))
    return duration_s, frames_in(duration_s), True


def chunks_left(prepared: Prepared, chunks: Sequence[PlannedChunk]) -> Sequence[PlannedChunk]:
    """Those of `chunks` that are not finished."""
    if not prepared.request.use_cache:
        return chunks
    step = _generate(prepared)
    return () if step.state is StageState.DONE else unfinished(_begun_chunks(prepared, step), chunks)


def num_chunks_begun(prepared: Prepared) -> int:
    """How many chunks an unfinished run has left, for a job whose plan is not known yet."""
    return num_committed(_begun_chunks(prepared, _generate(prepared))) if prepared.request.use_cache else 0


def _generate(prepared: Prepared) -> PlannedStage:
    return next(step for step in prepared.stages if step.stage.name == "generate")


def _begun_chunks(prepared: Prepared, step: PlannedStage) -> Path:
    return prepared.store.partial_path(step.stage.name, step.fingerprint) / step.stage.outputs["chunks"]
