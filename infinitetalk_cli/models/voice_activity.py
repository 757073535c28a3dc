"""Where somebody speaks: silero-vad, fed bit by bit, so that hours need no more memory than seconds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from infinitetalk_cli.models.loudness import gain_to, integrated_loudness
from infinitetalk_cli.models.spans import Span
from infinitetalk_cli.progress import Progress, SilentProgress
from infinitetalk_cli.units import SPEECH_RATE_HZ

WINDOW_SAMPLES = 512
"""32 ms: what the model hears at a time."""

_BLOCK_WINDOWS = 2048
_LEVEL_LUFS = -23.0
"""Quiet recordings are heard at this loudness: the model misses speech that is much quieter."""


@dataclass(frozen=True)
class SpeechRules:
    """What counts as speech.

    It begins where the model's probability reaches `threshold` and ends where it has stayed below `threshold` - 0.15
    for `min_silence_s`; shorter than `min_speech_s` it does not count. `margin_s` is added on both sides, as far as
    the next stretch of speech allows.
    """

    threshold: float = 0.5
    min_speech_s: float = 0.25
    min_silence_s: float = 0.3
    margin_s: float = 0.1


class VoiceActivity:
    """A voice activity detector; its weights come with the package silero-vad."""

    def __init__(self) -> None:
        # The package sets the number of threads of the whole process to one when it is imported.
        num_threads = torch.get_num_threads()
        from silero_vad import load_silero_vad

        torch.set_num_threads(num_threads)
        self._model = load_silero_vad()

    def speech_spans(
        self, samples: np.ndarray, rules: SpeechRules = SpeechRules(), progress: Progress | None = None
    ) -> list[Span]:
        """Where speech is in `samples` (n,), mono float32 at 16 kHz, possibly a memory map; in order, apart.

        `progress` advances by seconds of sound.
        """
        from silero_vad import get_speech_timestamps_from_probs

        found = get_speech_timestamps_from_probs(
            self.probabilities(samples, progress).tolist(),
            sampling_rate=SPEECH_RATE_HZ,
            threshold=rules.threshold,
            min_speech_duration_ms=round(1000 * rules.min_speech_s),
            min_silence_duration_ms=round(1000 * rules.min_silence_s),
            speech_pad_ms=round(1000 * rules.margin_s),
            audio_length_samples=len(samples),
        )
        return [Span(speech["start"], speech["end"]) for speech in found]

    @torch.inference_mode()
    def probabilities(self, samples: np.ndarray, progress: Progress | None = None) -> np.ndarray:
        """How likely each window of `WINDOW_SAMPLES` holds speech, (ceil(n / 512),) float32, whatever the level."""
        progress = progress or SilentProgress()
        progress.start("listening for speech", len(samples) // SPEECH_RATE_HZ)
        gain = np.float32(gain_to(_LEVEL_LUFS, integrated_loudness(samples, SPEECH_RATE_HZ)))
        likely = np.empty(-(-len(samples) // WINDOW_SAMPLES), np.float32)
        self._model.reset_states()
        for first in range(0, len(likely), _BLOCK_WINDOWS):
            start = first * WINDOW_SAMPLES
            heard = np.asarray(samples[start : start + _BLOCK_WINDOWS * WINDOW_SAMPLES], dtype=np.float32) * gain
            padding = -len(heard) % WINDOW_SAMPLES
            windows = torch.from_numpy(np.pad(heard, (0, padding))).view(-1, 1, WINDOW_SAMPLES)
            for place, window in enumerate(windows, start=first):
                likely[place] = self._model(window, SPEECH_RATE_HZ).item()
            stop = start + len(heard)
            progress.advance(stop // SPEECH_RATE_HZ - start // SPEECH_RATE_HZ)
        return likely
