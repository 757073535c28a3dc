"""The nano model's ear: 64 numbers per video frame that tell what the mouth should do.

Log-mel (80 bins, 100 per second) of 16 kHz speech, four of them per 25 fps frame, then a small residual network
that looks a few frames to both sides. What it computes for a frame depends on a short stretch of sound only, so
a file of any length is encoded block by block with the result of one pass.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn

from infinitetalk_cli.units import MODEL_RATE, SPEECH_RATE_HZ

FFT_SIZE = 512
WINDOW_SIZE = 400
MELS_PER_FRAME = 4
SAMPLES_PER_FRAME = int(SPEECH_RATE_HZ / MODEL_RATE)
HOP = SAMPLES_PER_FRAME // MELS_PER_FRAME
_FLOOR = 1e-5
# Log-mel of speech at -23 LUFS lies about this far from 0.
_LOG_MEAN, _LOG_DEVIATION = -4.0, 3.5


class MouthEstimate(NamedTuple):
    """What the encoder reads from the sound, each (..., n): openness, width, teeth, tongue, energy."""

    openness: Tensor
    width: Tensor
    teeth: Tensor
    tongue: Tensor
    energy: Tensor


def mel_filters(num_mels: int) -> Tensor:
    """(FFT_SIZE / 2 + 1, num_mels) triangles, evenly spaced on the mel scale from 40 Hz to 7.6 kHz."""

    def mel(hz: float) -> float:
        return 2595 * math.log10(1 + hz / 700)

    edges_mel = torch.linspace(mel(40.0), mel(7600.0), num_mels + 2, dtype=torch.float64)
    edges_hz = 700 * (10 ** (edges_mel / 2595) - 1)
    bins_hz = torch.arange(FFT_SIZE // 2 + 1, dtype=torch.float64)[:, None] * SPEECH_RATE_HZ / FFT_SIZE
    rising = (bins_hz - edges_hz[:-2]) / (edges_hz[1:-1] - edges_hz[:-2])
    falling = (edges_hz[2:] - bins_hz) / (edges_hz[2:] - edges_hz[1:-1])
    triangles = torch.minimum(rising, falling).clamp(min=0)
    return (triangles / triangles.sum(0).clamp(min=1e-8)).float()


class _Block(nn.Module):
    """Residual block without padding: one frame shorter on each side."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.neighbours = nn.Conv1d(channels, channels, 3)
        self.mix = nn.Linear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.neighbours(self.norm(x).mT).mT
        return x[:, 1:-1] + self.mix(F.gelu(hidden))


class NanoAudioEncoder(ModelMixin, ConfigMixin):
    """Speech to one row of `channels` features per video frame."""

    @register_to_config
    def __init__(self, channels: int = 64, hidden_channels: int = 192, num_blocks: int = 4, num_mels: int = 80) -> None:
        super().__init__()
        self.project_in = nn.Linear(num_mels * MELS_PER_FRAME, hidden_channels)
        self.blocks = nn.ModuleList(_Block(hidden_channels) for _ in range(num_blocks))
        self.project_out = nn.Linear(hidden_channels, channels)
        self.norm = nn.LayerNorm(channels, elementwise_affine=False)
        self.mouth_head = nn.Linear(channels, len(MouthEstimate._fields))
        self.register_buffer("filters", mel_filters(num_mels), persistent=False)
        self.register_buffer("window", torch.hann_window(WINDOW_SIZE), persistent=False)

    @property
    def num_layers(self) -> int:
        """Layers of features per frame: one."""
        return 1

    @property
    def channels(self) -> int:
        """Features per frame."""
        return self.config.channels

    @property
    def reach_frames(self) -> int:
        """How many frames to either side a frame's features depend on."""
        return self.config.num_blocks

    def log_mel(self, samples: Tensor) -> Tensor:
        """(b, n * 4, mels) of `samples` (b, n * 640 + 512): row i is centred on sample i * 160 + 256."""
        spectrum = torch.stft(
            samples.float(), FFT_SIZE, HOP, WINDOW_SIZE, self.window.float(), center=False, return_complex=True
        )
        power = spectrum.abs().square().mT
        num_rows = (samples.shape[1] - FFT_SIZE) // HOP
        return (torch.log(power[:, :num_rows] @ self.filters.float() + _FLOOR) - _LOG_MEAN) / _LOG_DEVIATION

    def features(self, log_mel: Tensor) -> Tensor:
        """(b, n - 2 * reach, channels) of log-mel rows (b, n * 4, mels)."""
        x = self.project_in(log_mel.unflatten(1, (-1, MELS_PER_FRAME)).flatten(2))
        for block in self.blocks:
            x = block(x)
        return self.norm(self.project_out(x))

    def mouth(self, features: Tensor) -> MouthEstimate:
        """The mouth that `features` (..., channels) speak of; used in training and for measurements."""
        return MouthEstimate(*self.mouth_head(features).unbind(-1))

    def forward(self, samples: Tensor) -> Tensor:
        """Features (b, n - 2 * reach, channels) of `samples` (b, n * 640 + 512)."""
        return self.features(self.log_mel(samples))

    @torch.inference_mode()
    def encode(self, waveform: np.ndarray, num_frames: int, block_frames: int = 1500) -> Iterator[Tensor]:
        """Rows (n, 1, channels) float32 for frames 0, 1, ... `num_frames`, in blocks of at most `block_frames`.

        `waveform`: float32 mono at 16 kHz, loudness-normalised, possibly a memory map; beyond its ends is silence.
        """
        device = self.project_in.weight.device
        for first in range(0, num_frames, block_frames):
            count = min(block_frames, num_frames - first)
            start = (first - self.reach_frames) * SAMPLES_PER_FRAME - FFT_SIZE // 2
            length = (count + 2 * self.reach_frames) * SAMPLES_PER_FRAME + FFT_SIZE
            samples = torch.from_numpy(_slice_or_silence(waveform, start, length)).to(device)
            yield self(samples[None])[0][:, None].float().cpu()


def _slice_or_silence(waveform: np.ndarray, start: int, length: int) -> np.ndarray:
    """Samples `[start, start + length)` as float32, zeros where there are none."""
    out = np.zeros(length, np.float32)
    low, high = max(start, 0), min(start + length, len(waveform))
    if high > low:
        out[low - start : high - start] = waveform[low:high]
    return out
