"""Where speech is: on the sample voice, among silence, noise and tones, and over an hour without holding it."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import synthetic
import torch
from silero_vad import get_speech_timestamps, load_silero_vad

import infinitetalk_cli
from infinitetalk_cli.models.spans import Span, total
from infinitetalk_cli.models.voice_activity import WINDOW_SAMPLES, SpeechRules, VoiceActivity

RATE_HZ = 16_000
SAMPLE = Path(infinitetalk_cli.__file__).parent / "samples" / "fr.wav"


@pytest.fixture(scope="module")
def detector() -> VoiceActivity:
    return VoiceActivity()


@pytest.fixture(scope="module")
def voice() -> np.ndarray:
    samples, rate_hz, _ = synthetic.read_all_samples(SAMPLE)
    assert rate_hz == RATE_HZ
    return samples[:, 0]


def silence(seconds: float) -> np.ndarray:
    return np.zeros(round(seconds * RATE_HZ), np.float32)


def test_speech_between_pauses_is_found(detector: VoiceActivity, voice: np.ndarray) -> None:
    samples = np.concatenate([silence(1.5), voice, silence(2.0), voice, silence(1.0)])
    spans = detector.speech_spans(samples)
    second = 1.5 * RATE_HZ + len(voice) + 2.0 * RATE_HZ
    assert spans[0].start == pytest.approx(1.5 * RATE_HZ, abs=0.25 * RATE_HZ)
    assert min(abs(span.start - second) for span in spans) < 0.25 * RATE_HZ
    assert spans[-1].stop < len(samples) - 0.5 * RATE_HZ
    assert total(spans) == pytest.approx(2 * len(voice), rel=0.1)


def test_quiet_speech_counts_as_much_as_loud(detector: VoiceActivity, voice: np.ndarray) -> None:
    samples = np.concatenate([silence(1.0), voice])
    assert detector.speech_spans(0.02 * samples) == detector.speech_spans(samples)


@pytest.mark.parametrize("what", ["silence", "noise", "tone", "nothing"])
def test_what_is_no_speech(what: str, detector: VoiceActivity) -> None:
    sounds = {
        "silence": silence(2.0),
        "noise": 0.1 * np.random.default_rng(0).standard_normal(2 * RATE_HZ).astype(np.float32),
        "tone": synthetic.tone(2.0, RATE_HZ)[:, 0],
        "nothing": silence(0),
    }
    assert detector.speech_spans(sounds[what]) == []


def test_it_is_what_the_library_hears(detector: VoiceActivity, voice: np.ndarray) -> None:
    from infinitetalk_cli.models.loudness import gain_to, integrated_loudness

    samples = np.concatenate([silence(0.7), voice[:40_000], silence(1.0), voice[:30_001]])
    level = np.float32(gain_to(-23.0, integrated_loudness(samples, RATE_HZ)))
    expected = get_speech_timestamps(
        torch.from_numpy(samples * level), load_silero_vad(), min_silence_duration_ms=300, speech_pad_ms=100
    )
    assert detector.speech_spans(samples) == [Span(speech["start"], speech["end"]) for speech in expected]


def test_margin_and_least_durations_are_kept(detector: VoiceActivity, voice: np.ndarray) -> None:
    samples = np.concatenate([silence(1.0), voice, silence(2.0)])
    (tight,) = detector.speech_spans(samples, SpeechRules(margin_s=0.0, min_silence_s=1.0))
    (wide,) = detector.speech_spans(samples, SpeechRules(margin_s=0.2, min_silence_s=1.0))
    assert (tight.start - wide.start, wide.stop - tight.stop) == (3200, 3200)
    assert detector.speech_spans(samples, SpeechRules(min_speech_s=30.0)) == []


def test_the_process_keeps_its_threads() -> None:
    before = torch.get_num_threads()
    VoiceActivity()
    assert torch.get_num_threads() == before


class _EverySecondWindow:
    """In place of the network, which takes a minute for an hour."""

    def __init__(self) -> None:
        self.num_windows = 0

    def reset_states(self) -> None:
        self.num_windows = 0

    def __call__(self, window: torch.Tensor, rate_hz: int) -> torch.Tensor:
        assert window.shape == (1, WINDOW_SAMPLES) and rate_hz == RATE_HZ
        self.num_windows += 1
        return torch.tensor([[self.num_windows % 2]], dtype=torch.float32)


def test_long_sound_is_never_held(tmp_path: Path, detector: VoiceActivity, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(detector, "_model", _EverySecondWindow())

    def peak_bytes(seconds: int) -> int:
        num_samples = seconds * RATE_HZ + 7
        with (tmp_path / "long.f32").open("wb") as file:
            file.truncate(4 * num_samples)
        tracemalloc.start()
        likely = detector.probabilities(np.memmap(tmp_path / "long.f32", dtype="<f4", mode="r"))
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert len(likely) == -(-num_samples // WINDOW_SAMPLES) and likely.mean() == pytest.approx(0.5, abs=1e-3)
        return peak

    assert peak_bytes(900) < 1.1 * peak_bytes(150)
