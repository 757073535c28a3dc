"""How something is said: loudness and pitch by frame, stressed syllables, phrases. What heads and hands follow."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from infinitetalk_cli.units import MODEL_RATE, SPEECH_RATE_HZ
from infinitetalk_cli.world.phonemes import MouthTrack

FRAME_SAMPLES = int(SPEECH_RATE_HZ / MODEL_RATE)
PAUSE_S = 0.12
"""Shorter silences, as before a plosive, do not end a phrase."""
_LOUDNESS_RANGE_DB = 30.0
_PITCH_HZ = (65.0, 420.0)
_PITCH_WINDOW = 1024  # 64 ms: four periods of the lowest voice
_VOICED = 0.45  # least autocorrelation at the period, relative to that at 0
_STRESS = {"ˈ": 1.0, "ˌ": 0.5}


@dataclass(frozen=True)
class Accent:
    """A stressed syllable: when its vowel begins, and how strong it is, 0..1."""

    time_s: float
    strength: float


@dataclass(frozen=True)
class Phrase:
    """Speech between two pauses, `[start_s, stop_s)`."""

    start_s: float
    stop_s: float


@dataclass(frozen=True)
class Prosody:
    """The melody of one piece of speech at 25 fps.

    loudness: (t,) float32, 0 silent .. 1 as loud as it gets. pitch: (t,) float32, semitones above the median of
    the voice, carried across sounds without voice.
    """

    loudness: np.ndarray
    pitch: np.ndarray
    accents: tuple[Accent, ...]
    phrases: tuple[Phrase, ...]

    def until(self, num_frames: int) -> Prosody:
        """The same speech cut after `num_frames`; a phrase that goes on keeps its end."""
        stop_s = num_frames / float(MODEL_RATE)
        return Prosody(
            self.loudness[:num_frames],
            self.pitch[:num_frames],
            tuple(accent for accent in self.accents if accent.time_s < stop_s),
            tuple(phrase for phrase in self.phrases if phrase.start_s < stop_s),
        )


def _by_frame(waveform: np.ndarray, num_frames: int, window: int) -> np.ndarray:
    """(num_frames, window) samples around the middle of each frame, zeros outside."""
    lead = (window - FRAME_SAMPLES) // 2
    missing = max(0, num_frames * FRAME_SAMPLES + window - lead - len(waveform))
    padded = np.pad(waveform, (lead, missing))
    return np.lib.stride_tricks.sliding_window_view(padded, window)[::FRAME_SAMPLES][:num_frames]


def loudness_of(waveform: np.ndarray, num_frames: int) -> np.ndarray:
    """(t,) 0..1 from 16 kHz mono: level in decibels, the loudest 30 of them spread over the range."""
    power = (_by_frame(waveform, num_frames, FRAME_SAMPLES).astype(np.float64) ** 2).mean(axis=1)
    level_db = 10 * np.log10(power + 1e-10)
    share = np.clip((level_db - np.percentile(level_db, 95)) / _LOUDNESS_RANGE_DB + 1, 0, 1)
    return np.convolve(np.pad(share, 1, mode="edge"), (0.25, 0.5, 0.25), mode="valid").astype(np.float32)


def pitch_of(waveform: np.ndarray, num_frames: int) -> np.ndarray:
    """(t,) semitones above the median, by the highest peak of the autocorrelation; zeros for speech without voice."""
    frames = _by_frame(waveform, num_frames, _PITCH_WINDOW) * np.hanning(_PITCH_WINDOW)
    spectrum = np.abs(np.fft.rfft(frames, 2 * _PITCH_WINDOW)) ** 2
    shortest, longest = (round(SPEECH_RATE_HZ / hz) for hz in reversed(_PITCH_HZ))
    window = np.fft.irfft(np.abs(np.fft.rfft(np.hanning(_PITCH_WINDOW), 2 * _PITCH_WINDOW)) ** 2)
    ratio = np.fft.irfft(spectrum)[:, : longest + 1] / window[: longest + 1]
    ratio = ratio / np.maximum(ratio[:, :1], 1e-9)
    # Multiples of the period score alike: a small fee for length keeps to the first.
    scored = ratio[:, shortest:] - 0.02 * np.log2(np.arange(shortest, longest + 1) / shortest)
    lag = scored.argmax(axis=1) + shortest
    voiced = np.flatnonzero(ratio[np.arange(num_frames), lag] > _VOICED)
    if len(voiced) == 0:
        return np.zeros(num_frames, np.float32)
    semitones = -12 * np.log2(lag[voiced])
    semitones = np.clip(semitones - np.median(semitones), -12, 12)
    return np.interp(np.arange(num_frames), voiced, semitones).astype(np.float32)


def phrases_of(phonemes: list[tuple[float, str]], duration_s: float) -> tuple[Phrase, ...]:
    """Phrases from [(start in seconds, phoneme), ...]; an empty phoneme is silence."""
    ends = [start for start, _ in phonemes[1:]] + [duration_s]
    phrases: list[Phrase] = []
    for (start_s, name), end_s in zip(phonemes, ends, strict=True):
        if not name or end_s <= start_s:
            continue
        if phrases and start_s - phrases[-1].stop_s < PAUSE_S:
            phrases[-1] = Phrase(phrases[-1].start_s, end_s)
        else:
            phrases.append(Phrase(start_s, end_s))
    return tuple(phrases)


def read_prosody(waveform: np.ndarray, phonemes: list[tuple[float, str]], num_frames: int) -> Prosody:
    """Prosody of speech (float32 mono, 16 kHz) whose phonemes [(start in seconds, IPA), ...] are known.

    An accent is as strong as its stress mark says, more so where the voice is loud and high.
    """
    loudness, pitch = loudness_of(waveform, num_frames), pitch_of(waveform, num_frames)
    accents = []
    for start_s, name in phonemes:
        weight = _STRESS.get(name[:1], 0.0)
        frame = int(start_s * float(MODEL_RATE))
        if weight and frame < num_frames:
            near = slice(frame, frame + 4)
            strength = weight * (0.35 + 0.4 * loudness[near].max() + 0.06 * pitch[near].max())
            accents.append(Accent(start_s, float(np.clip(strength, 0.05, 1))))
    phrases = phrases_of(phonemes, num_frames / float(MODEL_RATE))
    return Prosody(loudness, pitch, tuple(accents), phrases)


def prosody_of_mouth(mouth: MouthTrack) -> Prosody:
    """What can be guessed from a mouth alone: accents where it is widest open, phrases while it moves."""
    opened = np.convolve(np.pad(mouth.openness, 2, mode="edge"), np.full(5, 0.2), mode="valid")
    rate, accents = float(MODEL_RATE), []
    for frame in range(1, len(opened) - 1):
        if opened[frame] > 0.35 and opened[frame - 1] < opened[frame] >= opened[frame + 1]:
            accents.append(Accent(frame / rate, float(min(1.0, 0.3 + opened[frame]))))
    marks = [(frame / rate, "a" if value > 0.04 else "") for frame, value in enumerate(opened)]
    phrases = phrases_of(marks, len(opened) / rate)
    return Prosody(opened.astype(np.float32), np.zeros(len(opened), np.float32), tuple(accents), phrases)
