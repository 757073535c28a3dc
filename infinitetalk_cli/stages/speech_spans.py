"""New voice -> where it speaks, for jobs in which all else keeps the source's own picture."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel

from infinitetalk_cli.arrays import SampleFile
from infinitetalk_cli.config.base import Settings
from infinitetalk_cli.config.job import ExactSeconds, Job
from infinitetalk_cli.errors import writing_to
from infinitetalk_cli.stages.stage import Inputs, Stage, StageContext
from infinitetalk_cli.units import SPEECH_RATE_HZ


class SpeechSpanSettings(Settings):
    """The stretch that is listened to."""

    start_s: ExactSeconds
    end_s: ExactSeconds | None


class SpeechSpans(Settings):
    """`speech.json`: samples `[start, stop)` at 16 kHz, counted from the start of the stretch, in order, apart."""

    spans: tuple[tuple[int, int], ...]


def read_speech_spans(path: Path) -> SpeechSpans:
    """The `SpeechSpans` written by this stage."""
    return SpeechSpans.model_validate_json(path.read_bytes(), strict=False)


def find_speech(inputs: Inputs, settings: SpeechSpanSettings, out_dir: Path, ctx: StageContext) -> None:
    """Write `speech.json`: where anybody speaks. Two people's voices are listened to as they are heard, mixed.

    Raises:
        InputError: no audio in the stretch.
    """
    from infinitetalk_cli.media.audio import decode_mono
    from infinitetalk_cli.models.voice_activity import SpeechRules, VoiceActivity

    voice = inputs["speech"] if inputs["speech"].is_file() else inputs["dub_audio"]
    samples_file = out_dir / "speech.f32"
    decode_mono(voice, samples_file, SPEECH_RATE_HZ, settings.start_s, settings.end_s, ctx.progress)
    spans = VoiceActivity().speech_spans(SampleFile(samples_file), SpeechRules(margin_s=0.0), ctx.progress)
    found = SpeechSpans(spans=tuple((span.start, span.stop) for span in spans))
    with writing_to(out_dir):
        (out_dir / "speech.json").write_text(found.model_dump_json(), encoding="utf-8")
        samples_file.unlink()


def _settings(job: Job) -> BaseModel:
    return SpeechSpanSettings(start_s=job.clip.start_s, end_s=job.clip.end_s)


def _applies(job: Job) -> bool:
    return job.profile.speech.only


SPEECH_SPANS = Stage(
    name="speech_spans",
    version=1,
    inputs=("dub_audio", "speech"),
    outputs={"speech_spans": "speech.json"},
    settings=_settings,
    run=find_speech,
    applies=_applies,
)
