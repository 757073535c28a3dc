from __future__ import annotations

import numpy as np
import pyloudnorm
import pytest

from infinitetalk_cli.models import loudness
from infinitetalk_cli.models.loudness import gain_to, integrated_loudness


def speechlike(num_samples: int, rate_hz: int, level: float = 0.1) -> np.ndarray:
    """Noise in syllables and pauses, so that both gates have work to do."""
    time_s = np.arange(num_samples) / rate_hz
    envelope = np.clip(np.sin(2 * np.pi * 2.3 * time_s), 0, 1) * (np.sin(2 * np.pi * 0.13 * time_s) > -0.3) + 1e-4
    noise = np.random.default_rng(num_samples).standard_normal(num_samples)
    return (level * envelope * noise).astype(np.float32)


@pytest.mark.parametrize("rate_hz", [8000, 11025, 16000, 44100])
@pytest.mark.parametrize("duration_s", [0.4, 0.45, 1.0, 7.77, 21.3])
def test_equal_to_pyloudnorm(rate_hz: int, duration_s: float) -> None:
    samples = speechlike(int(np.ceil(duration_s * rate_hz)), rate_hz)
    expected = pyloudnorm.Meter(rate_hz).integrated_loudness(samples.astype(np.float64))
    assert integrated_loudness(samples, rate_hz) == pytest.approx(expected, abs=1e-9)


def test_reading_in_blocks_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    samples = speechlike(200_001, 16_000)
    expected = integrated_loudness(samples, 16_000)
    for block in (777, 1600, 6401):
        monkeypatch.setattr(loudness, "_SAMPLES_AT_ONCE", block)
        assert integrated_loudness(samples, 16_000) == pytest.approx(expected, abs=1e-9)


def test_memory_map_is_read(tmp_path) -> None:
    samples = speechlike(50_000, 16_000)
    samples.tofile(tmp_path / "speech.f32")
    mapped = np.memmap(tmp_path / "speech.f32", dtype="<f4", mode="r")
    assert integrated_loudness(mapped, 16_000) == integrated_loudness(samples, 16_000)


@pytest.mark.parametrize("num_samples", [0, 100, 50_000])
def test_silence_has_no_loudness(num_samples: int) -> None:
    assert integrated_loudness(np.zeros(num_samples, np.float32), 16_000) is None
    assert gain_to(-23.0, None) == 1


def test_short_sound_counts_as_one_block() -> None:
    tone = 0.1 * np.sin(2 * np.pi * 1000 * np.arange(4800) / 16_000).astype(np.float32)
    long = integrated_loudness(np.tile(tone, 10), 16_000)
    assert integrated_loudness(tone, 16_000) == pytest.approx(long, abs=0.1)


def test_gain_brings_sound_to_the_target() -> None:
    samples = speechlike(50_000, 16_000, level=0.01)
    gain = gain_to(-23.0, integrated_loudness(samples, 16_000))
    assert integrated_loudness(samples * np.float32(gain), 16_000) == pytest.approx(-23, abs=1e-4)
