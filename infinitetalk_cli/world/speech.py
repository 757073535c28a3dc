"""Synthetic speech with exact phoneme times, and the mouth that goes with it.

espeak-ng is called through its C interface. The PyPI package `espeakng-loader` carries the library and its
data; it is needed for training and for samples only, and is imported when first used.
"""

from __future__ import annotations

import _ctypes
import ctypes
import random
from dataclasses import dataclass

import numpy as np

from infinitetalk_cli.errors import DependencyError
from infinitetalk_cli.units import SPEECH_RATE_HZ
from infinitetalk_cli.world.phonemes import MouthTrack, mouth_track
from infinitetalk_cli.world.phrases import HELD_OUT_LANGUAGE, TEST_LANGUAGES, TRAINING_LANGUAGES, sentence
from infinitetalk_cli.world.prosody import Prosody, read_prosody

TRAINING_VOICES = ("", "m1", "m2", "m4", "m5", "m7", "f1", "f2", "f4", "croak", "Andy", "Annie", "Denis", "linda")
HELD_OUT_VOICES = ("m3", "m8", "f3", "f5", "Alex")
"""espeak-ng's voice variants; the held-out ones are heard in tests only."""

_NOISE_SEED = 7
_RETRIEVAL = 1
_PHONEME_EVENTS_IN_IPA = 0x0001 | 0x0002
_UTF8 = 1
_EVENT_END, _EVENT_PHONEME = 0, 7
_RATE, _PITCH, _RANGE = 1, 3, 4


class _EventId(ctypes.Union):
    _fields_ = [("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8)]


class _Event(ctypes.Structure):
    _fields_ = [
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", _EventId),
    ]


_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))


@dataclass(frozen=True)
class Utterance:
    """Speech and the mouth that says it.

    waveform: float32 mono at `SPEECH_RATE_HZ`, in [-1, 1].
    mouth: one value per 25 fps frame that the waveform covers. prosody: loudness, pitch, accents and phrases.
    """

    waveform: np.ndarray
    mouth: MouthTrack
    prosody: Prosody
    language: str
    voice: str


@dataclass(frozen=True)
class Voice:
    """Who speaks: an espeak-ng language with a variant, words per minute, pitch and its range (0-100)."""

    language: str
    variant: str
    rate: int = 165
    pitch: int = 50
    pitch_range: int = 50


class _Espeak:
    """The C library, freshly loaded. Use it with `with`, one at a time.

    It keeps state from one utterance to the next (noise, phase of the pitch), and only loading it anew resets all
    of it: that is what makes speech a function of its seed.
    """

    def __init__(self) -> None:
        try:
            import espeakng_loader
        except ImportError as exc:
            raise DependencyError(
                "synthetic speech needs espeakng-loader; run: pip install 'infinitetalk[train]'"
            ) from exc
        self._library = ctypes.CDLL(espeakng_loader.get_library_path())
        self.rate_hz = self._library.espeak_Initialize(
            _RETRIEVAL, 0, espeakng_loader.get_data_path().encode(), _PHONEME_EVENTS_IN_IPA
        )
        if self.rate_hz <= 0:
            raise DependencyError(
                "espeak-ng did not start; reinstall it: pip install --force-reinstall espeakng-loader"
            )
        self._samples: list[np.ndarray] = []
        self._phonemes: list[tuple[float, str]] = []
        self._callback = _Callback(self._receive)  # kept alive: the library holds only the pointer
        self._library.espeak_SetSynthCallback(self._callback)
        self._library.espeak_ng_SetRandSeed(ctypes.c_long(_NOISE_SEED))

    def __enter__(self) -> _Espeak:
        return self

    def __exit__(self, *exc: object) -> None:
        self._library.espeak_Terminate()
        unload = getattr(_ctypes, "dlclose", None) or _ctypes.FreeLibrary
        unload(self._library._handle)

    def _receive(self, samples, num_samples: int, events) -> int:
        if num_samples > 0:
            self._samples.append(np.ctypeslib.as_array(samples, (num_samples,)).copy())
        index = 0
        while events[index].type != _EVENT_END:
            if events[index].type == _EVENT_PHONEME:
                name = bytes(events[index].id.string).split(b"\0")[0].decode("utf-8", "replace")
                self._phonemes.append((events[index].audio_position / 1000, name))
            index += 1
        return 0

    def say(self, text: str, voice: Voice) -> tuple[np.ndarray, list[tuple[float, str]]]:
        """(samples float32 at `rate_hz`, [(start in seconds, phoneme in IPA), ...])."""
        name = f"{voice.language}+{voice.variant}" if voice.variant else voice.language
        if self._library.espeak_SetVoiceByName(name.encode()) != 0:
            raise DependencyError(f"espeak-ng has no voice named {name}; reinstall espeakng-loader")
        for parameter, value in ((_RATE, voice.rate), (_PITCH, voice.pitch), (_RANGE, voice.pitch_range)):
            self._library.espeak_SetParameter(parameter, value, 0)
        self._samples, self._phonemes = [], []
        data = text.encode() + b"\0"
        self._library.espeak_Synth(data, len(data), 0, 1, 0, _UTF8, None, None)
        self._library.espeak_Synchronize()
        samples = np.concatenate(self._samples or [np.zeros(0, np.int16)])
        return samples.astype(np.float32) / 32768, list(self._phonemes)


def resample(waveform: np.ndarray, rate_hz: int, new_rate_hz: int = SPEECH_RATE_HZ) -> np.ndarray:
    """Band-limited resampling of a whole short clip through its spectrum; float32 mono."""
    num_samples = round(len(waveform) * new_rate_hz / rate_hz)
    if num_samples == len(waveform) or len(waveform) == 0:
        return waveform.astype(np.float32)
    spectrum = np.fft.rfft(waveform)
    resized = np.zeros(num_samples // 2 + 1, spectrum.dtype)
    keep = min(len(spectrum), len(resized))
    resized[:keep] = spectrum[:keep]
    return (np.fft.irfft(resized, num_samples) * (num_samples / len(waveform))).astype(np.float32)


def say(text: str, voice: Voice) -> Utterance:
    """`text` spoken by `voice`, at 16 kHz, with its mouth."""
    with _Espeak() as engine:
        samples, phonemes = engine.say(text, voice)
    return _utterance(resample(samples, engine.rate_hz), phonemes, voice)


def _utterance(waveform: np.ndarray, phonemes: list[tuple[float, str]], voice: Voice) -> Utterance:
    mouth = mouth_track(phonemes, len(waveform) / SPEECH_RATE_HZ)
    prosody = read_prosody(waveform, phonemes, len(mouth))
    return Utterance(waveform, mouth, prosody, voice.language, voice.variant)


def random_voice(rng: random.Random, held_out: bool) -> Voice:
    """A voice of the training set, or one that training never hears."""
    languages = (*TEST_LANGUAGES, HELD_OUT_LANGUAGE) if held_out else TRAINING_LANGUAGES
    return Voice(
        rng.choice(languages),
        rng.choice(HELD_OUT_VOICES if held_out else TRAINING_VOICES),
        rng.randint(130, 195),
        rng.randint(25, 75),
        rng.randint(30, 80),
    )


def random_speech(seed: int, duration_s: float, held_out: bool) -> Utterance:
    """At least `duration_s` of random sentences in one voice, deterministic by `seed`.

    Sentences are separated by pauses of 0.15-0.6 s, and a pause of up to 0.4 s comes first.
    """
    rng = random.Random(f"speech/{held_out}/{seed}")
    voice = random_voice(rng, held_out)
    parts = [np.zeros(round(rng.uniform(0, 0.4) * SPEECH_RATE_HZ), np.float32)]
    phonemes: list[tuple[float, str]] = []
    with _Espeak() as engine:
        while (length_s := sum(map(len, parts)) / SPEECH_RATE_HZ) < duration_s or not phonemes:
            samples, events = engine.say(sentence(rng, voice.language, held_out), voice)
            phonemes += [(length_s + start_s, name) for start_s, name in events]
            phonemes.append((length_s + len(samples) / engine.rate_hz, ""))
            pause = np.zeros(round(rng.uniform(0.15, 0.6) * SPEECH_RATE_HZ), np.float32)
            parts += [resample(samples, engine.rate_hz), pause]
    return _utterance(np.concatenate(parts), phonemes, voice)
