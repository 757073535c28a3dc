"""Speech as the audio encoder will meet it: at one loudness, and with the faults of real recordings."""

from __future__ import annotations

import numpy as np

from infinitetalk_cli.models.loudness import gain_to, integrated_loudness
from infinitetalk_cli.units import SPEECH_RATE_HZ
from infinitetalk_cli.world.speech import resample

TARGET_LUFS = -23.0


def normalised(waveform: np.ndarray) -> np.ndarray:
    """`waveform` (float32 mono, 16 kHz) at -23 LUFS integrated loudness; silence is left alone."""
    loudness_lufs = integrated_loudness(waveform, SPEECH_RATE_HZ)
    return (waveform * gain_to(TARGET_LUFS, loudness_lufs)).astype(np.float32)


def _colored_noise(rng: np.random.Generator, num_samples: int) -> np.ndarray:
    """Noise with a random slope of its spectrum, at unit power."""
    spectrum = np.fft.rfft(rng.standard_normal(num_samples))
    spectrum *= np.arange(1, len(spectrum) + 1) ** -rng.uniform(0.0, 1.0)
    noise = np.fft.irfft(spectrum, num_samples)
    return noise / (noise.std() + 1e-9)


def _equalised(rng: np.random.Generator, waveform: np.ndarray) -> np.ndarray:
    """Through a random smooth filter of up to +-9 dB, as microphones and rooms colour a voice."""
    spectrum = np.fft.rfft(waveform)
    position = np.linspace(0, 1, len(spectrum)) ** 0.5
    gain_db = np.interp(position, np.linspace(0, 1, 7), rng.uniform(-9, 9, 7))
    if rng.random() < 0.3:  # telephone or a low sample rate: nothing above 3.4-6 kHz
        gain_db = np.where(position > (rng.uniform(3400, 6000) / (SPEECH_RATE_HZ / 2)) ** 0.5, -50.0, gain_db)
    return np.fft.irfft(spectrum * 10 ** (gain_db / 20), len(waveform))


def _echoing(rng: np.random.Generator, waveform: np.ndarray) -> np.ndarray:
    """In a room: a short decaying tail of noise."""
    length = int(rng.uniform(0.05, 0.25) * SPEECH_RATE_HZ)
    tail = rng.standard_normal(length) * np.exp(-np.arange(length) / (0.25 * length)) * rng.uniform(0.01, 0.05)
    tail[0] = 1.0
    size = len(waveform) + length
    return np.fft.irfft(np.fft.rfft(waveform, size) * np.fft.rfft(tail, size), size)[: len(waveform)]


def recorded(rng: np.random.Generator, waveform: np.ndarray, noisy_share: float) -> np.ndarray:
    """`waveform` as if recorded somewhere: filter, room, noise, loudness error; same length, float32.

    `noisy_share` of the clips get added noise at 8-35 dB below the speech.
    """
    heard = waveform.astype(np.float64)
    if rng.random() < 0.7:
        heard = _equalised(rng, heard)
    if rng.random() < 0.3:
        heard = _echoing(rng, heard)
    if rng.random() < noisy_share:
        level = heard.std() * 10 ** (-rng.uniform(8, 35) / 20)
        heard = heard + level * _colored_noise(rng, len(heard))
    heard = heard.astype(np.float32) + rng.standard_normal(len(heard)).astype(np.float32) * 1e-4
    return normalised(heard) * np.float32(10 ** (rng.uniform(-3, 3) / 20))


def stretched(waveform: np.ndarray, mouth: np.ndarray, factor: float) -> tuple[np.ndarray, np.ndarray]:
    """Speech and its mouth rows (t, 4), `factor` times as long: another pitch, another tempo, another throat."""
    longer = resample(waveform, SPEECH_RATE_HZ, round(SPEECH_RATE_HZ * factor))
    num_frames = int(len(mouth) * factor)
    position = np.minimum(np.arange(num_frames) / factor, len(mouth) - 1)
    rows = [np.interp(position, np.arange(len(mouth)), column) for column in mouth.T]
    return longer, np.stack(rows, axis=1).astype(np.float32)
