"""Two voices -> the one track that is heard, and what each person says."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel

from infinitetalk_cli.arrays import SampleFile
from infinitetalk_cli.config.base import Settings
from infinitetalk_cli.config.job import Job
from infinitetalk_cli.config.people import Turns
from infinitetalk_cli.errors import writing_to
from infinitetalk_cli.progress import Progress
from infinitetalk_cli.stages.speech_tracks import SpeechTrack, SpeechTracks, save_tracks, track_file
from infinitetalk_cli.stages.stage import Inputs, Stage, StageContext
from infinitetalk_cli.units import SPEECH_RATE_HZ

if TYPE_CHECKING:
    from infinitetalk_cli.models.spans import Span

HARDLY_ANY_SPEECH_S = 0.5
"""Less speech than this, in a file that is twice as long, is probably a mistake and worth a note."""

HEARD_NAME = "heard.flac"


class VoicesSettings(Settings):
    """When the two voices are heard."""

    turns: Turns


def combine_voices(inputs: Inputs, settings: VoicesSettings, out_dir: Path, ctx: StageContext) -> None:
    """Write `heard.flac` (see `mix_voices`) and `speech/`, a folder of two `SpeechTracks`.

    Both are whole: a preview cuts its stretch out of them.

    Raises:
        InputError: a file has no audio, or samples that are not numbers.
    """
    from infinitetalk_cli.media.audio import decode_mono
    from infinitetalk_cli.media.mixing import mix_voices

    folder = out_dir / "speech"
    with writing_to(folder):
        folder.mkdir(exist_ok=True)
    voices, speech = ([inputs[f"{kind}_{person}"] for person in (1, 2)] for kind in ("voice", "speech"))
    in_turn = settings.turns is Turns.SEQUENCE
    lengths = [
        decode_mono(file, track_file(folder, person), progress=ctx.progress).num_samples
        for person, file in enumerate(speech)
    ]
    heard = mix_voices(voices, out_dir / HEARD_NAME, in_turn, ctx.progress)
    tracks = []
    for person, (start, stop) in enumerate(heard.voices):
        start_sample, stop_sample = (round(Fraction(place, heard.rate_hz) * SPEECH_RATE_HZ) for place in (start, stop))
        # Whoever speaks first has to end where the other begins, also if the clean track of the voice is longer.
        num_samples = min(lengths[person], stop_sample - start_sample) if in_turn else lengths[person]
        tracks.append((track_file(folder, person), start_sample, num_samples))
    people = _listen(tracks, ctx.progress)
    for person, (file, track) in enumerate(zip(speech, people.people, strict=True), start=1):
        duration_s = track.num_samples / SPEECH_RATE_HZ
        if track.speech_s < min(HARDLY_ANY_SPEECH_S, duration_s / 2):
            ctx.progress.note(
                f"{file.name}: hardly any speech is heard in it ({track.speech_s:.1f} of {duration_s:.1f} s); "
                f"person {person} will hardly move the mouth"
            )
    if heard.gain < 1:
        ctx.progress.note(f"the voices are too loud for one track: it has {heard.gain:.0%} of their level")
    save_tracks(folder, people)


def _listen(tracks: list[tuple[Path, int, int]], progress: Progress) -> SpeechTracks:
    """The index of `tracks` (file, first sample, number of samples), with how much of each is speech."""
    from infinitetalk_cli.models.spans import Span, total
    from infinitetalk_cli.models.voice_activity import VoiceActivity

    detector = VoiceActivity()
    spoken = []
    for file, start, num_samples in tracks:
        spans = detector.speech_spans(SampleFile(file, num_samples), progress=progress)
        spoken.append([Span(span.start + start, span.stop + start) for span in spans])
    note_shares(spoken, max(start + num_samples for _, start, num_samples in tracks), progress)
    return SpeechTracks(
        people=tuple(
            SpeechTrack(
                file=file.name,
                start_sample=start,
                num_samples=num_samples,
                speech_s=total(spans) / SPEECH_RATE_HZ,
            )
            for (file, start, num_samples), spans in zip(tracks, spoken, strict=True)
        )
    )


def note_shares(spoken: Sequence[Sequence[Span]], num_samples: int, progress: Progress) -> None:
    """Tell how much of `num_samples` each of two people speaks, and how much of it both at once."""
    from infinitetalk_cli.models.spans import intersection, total

    first, second, both = (total(spans) / num_samples for spans in (*spoken, intersection(*spoken)))
    progress.note(f"person 1 speaks {first:.0%} of the time, person 2 {second:.0%}, both at once {both:.0%}")


def _applies(job: Job) -> bool:
    return job.people is not None and job.people.turns is not None


def _settings(job: Job) -> BaseModel:
    return VoicesSettings(turns=job.people.turns)


VOICES = Stage(
    name="voices",
    version=1,
    inputs=("voice_1", "voice_2", "speech_1", "speech_2"),
    outputs={"dub_audio": HEARD_NAME, "speech": "speech"},
    settings=_settings,
    run=combine_voices,
    applies=_applies,
)
