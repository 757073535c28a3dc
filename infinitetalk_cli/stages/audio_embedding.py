"""New audio -> each person's 16 kHz mono speech at a set loudness -> one embedding row per model frame."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from pydantic import BaseModel

from infinitetalk_cli.arrays import SAMPLE_BYTES, SampleFile, writing_rows
from infinitetalk_cli.checkpoints.files import AUDIO_ENCODER
from infinitetalk_cli.config.base import Settings
from infinitetalk_cli.config.job import ClipSettings, ExactSeconds, Job, Length
from infinitetalk_cli.config.profile import AudioProfile, ChunkProfile
from infinitetalk_cli.errors import InputError, writing_to
from infinitetalk_cli.stages.speech_tracks import copy_stretch, read_tracks
from infinitetalk_cli.stages.stage import Inputs, Stage, StageContext
from infinitetalk_cli.units import MODEL_RATE, SPEECH_RATE_HZ, clock, frame_time, frames_in, samples_in

if TYPE_CHECKING:
    from infinitetalk_cli.media.audio import AudioTrack

SILENT_PEAK = 1e-4
"""Below this peak (-80 dB) a track counts as silent."""

LONGEST_S = Fraction(100 * 3600)
"""A video that claims to be longer has damaged time stamps; its rows of embeddings alone would fill any disk."""

_BLOCK_SAMPLES = 1 << 20
_SILENT_POWER = 1e-12


class AudioEmbeddingSettings(Settings):
    """What decides the embedding rows: the audio profile, the stretch, and how far chunks reach."""

    audio: AudioProfile
    chunks: ChunkProfile
    clip: ClipSettings


class DubTrack(Settings):
    """`track.json`: how long the result is, and how loud the speech was.

    `duration_s` is exact and `num_frames` model frames cover it. `loudness_lufs` is None for silence, and one value per
    person where two speak.
    """

    duration_s: ExactSeconds
    num_frames: int
    loudness_lufs: float | tuple[float | None, ...] | None


def read_track(path: Path) -> DubTrack:
    """The `DubTrack` written by this stage."""
    return DubTrack.model_validate_json(path.read_bytes(), strict=False)


@dataclass(frozen=True)
class _Speech:
    """One person's speech in the stretch, as raw samples; `who` says whose it is."""

    file: Path
    peak: float
    who: str


def embed_audio(inputs: Inputs, settings: AudioEmbeddingSettings, out_dir: Path, ctx: StageContext) -> None:
    """Write `track.json`, `levels.npy` and `embeddings.npy`: (n, l, d) float32, one row per model frame, l layers.

    The levels (n,) float32 say how loud the voice is in each frame, in dB of full scale, the louder of two.

    Where two people speak the rows are (2, n, l, d), of equal length whatever the lengths of the voices. With
    `tail: silence` there are rows up to the end of the last chunk, so that it hears silence there.

    Raises:
        InputError: no audio in the stretch, or the stretch lies past the end of the video.
    """
    from infinitetalk_cli.media.audio import decode_mono

    clip = settings.clip
    heard_file = out_dir / "speech.f32"
    heard = decode_mono(inputs["dub_audio"], heard_file, SPEECH_RATE_HZ, clip.start_s, clip.end_s, ctx.progress)
    duration_s = _duration(inputs, clip, heard.duration_s)
    num_frames = _num_frames(duration_s, settings.audio)
    num_rows = _num_rows(num_frames, settings.chunks)
    loudness = []
    people = _speech(inputs, clip, heard_file, heard, ctx)
    for speech in people:
        with writing_to(speech.file):
            _cut(speech.file, samples_in(duration_s, SPEECH_RATE_HZ))
            loudness.append(_normalise(speech.file, settings.audio.loudness_lufs))
            _pad(speech.file, num_rows, settings.audio)
        if loudness[-1] is None or speech.peak < SILENT_PEAK:
            ctx.progress.note(f"{speech.who}: the voice is silent; the mouth will stay closed")
    _write_embeddings([speech.file for speech in people], num_rows, out_dir / "embeddings.npy", ctx)
    levels = np.max([_levels(SampleFile(speech.file), num_rows) for speech in people], axis=0)
    track = DubTrack(
        duration_s=duration_s, num_frames=num_frames, loudness_lufs=loudness[0] if len(people) == 1 else tuple(loudness)
    )
    with writing_to(out_dir):
        np.save(out_dir / "levels.npy", levels)
        (out_dir / "track.json").write_text(track.model_dump_json(indent=1), encoding="utf-8")
        for file in out_dir.glob("*.f32"):
            file.unlink()


def _speech(
    inputs: Inputs, clip: ClipSettings, heard_file: Path, heard: AudioTrack, ctx: StageContext
) -> list[_Speech]:
    """What each person says in the stretch; one person alone says what is heard, or what a clean track of it holds."""
    given = inputs["speech"]
    if given.is_dir():
        people = []
        for person, track in enumerate(read_tracks(given).people, start=1):
            file = heard_file.with_name(f"person-{person}.f32")
            start_sample = round(clip.start_s * SPEECH_RATE_HZ)
            peak = copy_stretch(given, track, start_sample, heard.num_samples, file)
            people.append(_Speech(file, peak, f"person {person}"))
        return people
    if given == inputs["dub_audio"]:
        return [_Speech(heard_file, heard.peak, given.name)]
    from infinitetalk_cli.media.audio import decode_mono

    clean = decode_mono(given, heard_file, SPEECH_RATE_HZ, clip.start_s, clip.end_s, ctx.progress)
    return [_Speech(heard_file, clean.peak, given.name)]


def _duration(inputs: Inputs, clip: ClipSettings, audio_s: Fraction) -> Fraction:
    """Exact length of the result; `audio_s` is what the new track has in the stretch."""
    if clip.length is Length.AUDIO:
        return audio_s
    from infinitetalk_cli.media.timeline import SourceTimeline

    source_s = SourceTimeline.load(inputs["timeline"]).duration_s
    video_s = (source_s if clip.end_s is None else min(source_s, clip.end_s)) - clip.start_s
    if video_s <= 0:
        raise InputError(
            f"{inputs['source_video']}: ends at {clock(source_s)}, before --start {clock(clip.start_s)}; "
            "start earlier, or use --length audio"
        )
    if clip.length is Length.VIDEO and video_s > LONGEST_S:
        raise InputError(
            f"{inputs['source_video']}: its time stamps claim that it lasts {clock(video_s)}; they are damaged, use "
            "--length audio or --end"
        )
    return video_s if clip.length is Length.VIDEO else min(video_s, audio_s)


def _num_frames(duration_s: Fraction, audio: AudioProfile) -> int:
    if audio.frame_count == "floor":
        from infinitetalk_cli.models.chunking import published_num_frames

        return max(1, published_num_frames(math.floor(duration_s * SPEECH_RATE_HZ)))
    return frames_in(duration_s)


def _num_rows(num_frames: int, chunks: ChunkProfile) -> int:
    """Rows up to the end of the last chunk, which may begin with any frame: scenes decide that."""
    return num_frames if chunks.tail == "mirror" else num_frames + chunks.num_frames - 1


def _cut(speech_file: Path, num_samples: int) -> None:
    """Drop what lies past the end of the result, as if the voice ended with it."""
    os.truncate(speech_file, min(SAMPLE_BYTES * num_samples, speech_file.stat().st_size))


def _pad(speech_file: Path, num_rows: int, audio: AudioProfile) -> None:
    """Silence up to the end of the last row, after the loudness was measured.

    The published code (`frame_count: floor`) has less rows than it has sound, and stretches them over all of it.
    """
    num_bytes = SAMPLE_BYTES * samples_in(frame_time(num_rows), SPEECH_RATE_HZ)
    if audio.frame_count == "floor":
        num_bytes = max(num_bytes, speech_file.stat().st_size)
    os.truncate(speech_file, num_bytes)


def _normalise(speech_file: Path, target_lufs: float | None) -> float | None:
    """Bring the samples of `speech_file` to `target_lufs` in place; returns their loudness, None for silence."""
    from infinitetalk_cli.models.loudness import gain_to, integrated_loudness

    samples = SampleFile(speech_file)
    loudness = integrated_loudness(samples, SPEECH_RATE_HZ)
    if loudness is not None and target_lufs is not None:
        samples.scale(gain_to(target_lufs, loudness), _BLOCK_SAMPLES)
    return loudness


def _write_embeddings(speech_files: list[Path], num_rows: int, path: Path, ctx: StageContext) -> None:
    ctx.progress.start("loading the audio encoder")
    encoder = ctx.models.audio_encoder()
    ctx.progress.start("audio embedding", len(speech_files) * num_rows)
    shape = (len(speech_files), num_rows, encoder.num_layers, encoder.channels)
    with writing_to(path), writing_rows(path, shape[1:] if len(speech_files) == 1 else shape) as rows:
        for speech_file in speech_files:
            for block in encoder.encode(SampleFile(speech_file), num_rows):
                rows.append(block.numpy())
                ctx.progress.advance(len(block))


def _levels(samples: SampleFile, num_rows: int) -> np.ndarray:
    """Root mean square of each frame's samples, (n,) float32 in dB; -120 for silence and past the end."""
    per_frame = SPEECH_RATE_HZ // MODEL_RATE
    power = np.zeros(num_rows)
    for start in range(0, num_rows, _BLOCK_SAMPLES // per_frame):
        block = samples[start * per_frame : (start + _BLOCK_SAMPLES // per_frame) * per_frame].astype(np.float64)
        frames = np.pad(block, (0, -len(block) % per_frame)).reshape(-1, per_frame)[: num_rows - start]
        power[start : start + len(frames)] = np.square(frames).mean(axis=1)
    return (10 * np.log10(power + _SILENT_POWER)).astype(np.float32)


def _settings(job: Job) -> BaseModel:
    no_row_changes = {
        "conditioning": "sparse",
        "context_frames": 1,
        "reference_refresh": "chunk",
        "scenes": "auto",
        "last_chunk": "full",
    }
    chunks = job.profile.chunks.model_copy(update=no_row_changes)
    return AudioEmbeddingSettings(audio=job.profile.audio, chunks=chunks, clip=job.clip)


AUDIO_EMBEDDING = Stage(
    name="audio_embedding",
    version=3,
    inputs=("source_video", "dub_audio", "speech", "timeline"),
    outputs={"embeddings": "embeddings.npy", "levels": "levels.npy", "track": "track.json"},
    settings=_settings,
    run=embed_audio,
    networks=(AUDIO_ENCODER,),
)
