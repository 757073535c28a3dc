"""How long a prepared job is, and how much of it is generated already."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

from infinitetalk_cli.config.job import Length
from infinitetalk_cli.pipeline.plan import StageState
from infinitetalk_cli.stages.audio_embedding import read_track
from infinitetalk_cli.stages.chunk_files import num_committed
from infinitetalk_cli.units import frames_in

if TYPE_CHECKING:
    from infinitetalk_cli.pipeline.request import Prepared

ENDLESS = 1 << 30


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


def chunks_done(prepared: Prepared, num_chunks: int = ENDLESS) -> int:
    """How many of `num_chunks` need not be made, as they are finished, counted from the first on."""
    if not prepared.request.use_cache:
        return 0
    step = next(step for step in prepared.stages if step.stage.name == "generate")
    if step.state is StageState.DONE:
        return num_chunks
    partial = prepared.store.partial_path(step.stage.name, step.fingerprint)
    return num_committed(partial / step.stage.outputs["chunks"], num_chunks)
