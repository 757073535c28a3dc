"""One track with two voices -> what each person says, found by listening."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from pydantic import BaseModel

from infinitetalk_cli.checkpoints.files import DIARIZER
from infinitetalk_cli.config.base import Settings
from infinitetalk_cli.config.job import Job
from infinitetalk_cli.errors import InputError, writing_to
from infinitetalk_cli.stages.speech_tracks import SpeechTrack, SpeechTracks, open_samples, save_tracks, track_file
from infinitetalk_cli.stages.stage import Inputs, Stage, StageContext
from infinitetalk_cli.stages.voices import note_shares
from infinitetalk_cli.units import SPEECH_RATE_HZ

FADE_SAMPLES = SPEECH_RATE_HZ // 50
"""20 ms at each edge of what a person says: too short to hear as a fade, long enough not to click."""

_BLOCK_SAMPLES = 1 << 20


class DiarizationSettings(Settings):
    """Nothing to set: the track and the networks decide."""


def separate_voices(inputs: Inputs, settings: DiarizationSettings, out_dir: Path, ctx: StageContext) -> None:
    """Write `speech/`, a folder of two `SpeechTracks`: the given track, silent where the other person speaks.

    Where both speak at once both have the whole sound: voices are told apart, not taken apart. The one who speaks first
    is person 1. Turns are cut to where speech really is.

    Raises:
        InputError: no speech was heard.
        DependencyError: pyannote.audio or its weights cannot be used.
    """
    from infinitetalk_cli.media.audio import decode_mono
    from infinitetalk_cli.models.diarization import speech_by_person
    from infinitetalk_cli.models.voice_activity import VoiceActivity

    folder = out_dir / "speech"
    with writing_to(folder):
        folder.mkdir(exist_ok=True)
    everything = out_dir / "everything.f32"
    decode_mono(inputs["all_speech"], everything, progress=ctx.progress)
    samples = open_samples(everything)
    ctx.progress.start("loading the diarization pipeline")
    turns = ctx.models.diarizer().turns(samples, ctx.progress)
    speech = VoiceActivity().speech_spans(samples, progress=ctx.progress)
    people = speech_by_person(turns, speech, len(samples))
    if not people:
        raise InputError(f"{inputs['all_speech']}: no speech is heard in it; --diarize needs a track with two voices")
    if len(people) == 1:
        ctx.progress.note(f"{inputs['all_speech'].name}: only one voice was found; person 2 stays silent")
        people.append([])
    tracks = [_save_voice(samples, spans, track_file(folder, person)) for person, spans in enumerate(people)]
    note_shares(people, len(samples), ctx.progress)
    save_tracks(folder, SpeechTracks(people=tuple(tracks)))
    everything.unlink()


def _save_voice(samples: np.ndarray, spans: list, path: Path) -> SpeechTrack:
    """Write `samples` with only `spans` let through."""
    from infinitetalk_cli.models.spans import fade_gain, total

    with writing_to(path), path.open("wb") as out:
        for start in range(0, len(samples), _BLOCK_SAMPLES):
            block = samples[start : start + _BLOCK_SAMPLES]
            out.write((block * fade_gain(spans, start, start + len(block), FADE_SAMPLES)).astype("<f4").tobytes())
    speech_s = total(spans) / SPEECH_RATE_HZ
    return SpeechTrack(file=path.name, start_sample=0, num_samples=len(samples), speech_s=speech_s)


def _applies(job: Job) -> bool:
    return job.people is not None and job.people.turns is None


def _settings(job: Job) -> BaseModel:
    return DiarizationSettings()


DIARIZATION = Stage(
    name="diarization",
    version=1,
    inputs=("all_speech",),
    outputs={"speech": "speech"},
    settings=_settings,
    run=separate_voices,
    networks=(DIARIZER,),
    applies=_applies,
)
