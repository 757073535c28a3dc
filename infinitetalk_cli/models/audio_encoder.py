"""Speech to one embedding row per video frame."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import Wav2Vec2Model

from infinitetalk_cli.models.long_speech import LongSpeech
from infinitetalk_cli.units import MODEL_RATE, SPEECH_RATE_HZ

SAMPLES_PER_FRAME = int(SPEECH_RATE_HZ / MODEL_RATE)

BLOCK_FRAMES = 60 * 25
"""Rows encoded in one go: attention grows with the square of the length, so long speech is cut up."""

MARGIN_FRAMES = 10 * 25
"""Rows encoded on both sides of a block and thrown away, so that its ends hear their surroundings."""


class AudioEncoder(Protocol):
    """Turns speech into rows that the audio branch of a transformer reads."""

    @property
    def num_layers(self) -> int:
        """Layers of features in a row."""

    @property
    def channels(self) -> int:
        """Features of a layer."""

    def encode(self, waveform: np.ndarray, num_frames: int) -> Iterator[Tensor]:
        """Consecutive blocks of rows (n, layers, channels), float32 on the CPU, `num_frames` rows in all.

        `waveform` (samples,): mono at 16 kHz, float32, at the loudness the model was trained with; a memory
        map will do, memory does not grow with its length.
        """


class Wav2Vec2AudioEncoder:
    """Outputs of all transformer layers of a wav2vec 2.0 model, at the rate of the video."""

    def __init__(self, model: Wav2Vec2Model) -> None:
        self.model = model.eval()

    @property
    def num_layers(self) -> int:
        """Layers of features in a row."""
        return self.model.config.num_hidden_layers

    @property
    def channels(self) -> int:
        """Features of a layer."""
        return self.model.config.hidden_size

    def encode(self, waveform: np.ndarray, num_frames: int) -> Iterator[Tensor]:
        """See `AudioEncoder.encode`.

        The transformer hears `BLOCK_FRAMES` at a time and `MARGIN_FRAMES` around them; the convolutions before it give
        what one pass over everything gives, to float rounding (`LongSpeech`). So up to `BLOCK_FRAMES` the rows are the
        published ones (to 1e-3); beyond, attention to sound further away is missing. No bound on that holds for all
        weights. With random ones, which attend everywhere alike, it is at most 0.25 of the spread of the rows: root
        mean square, 10 minutes of real speech, against the single pass; docs/scenes.md has the numbers.
        """
        mean, deviation = waveform_statistics(waveform)
        if len(waveform) < self._receptive_samples():
            samples = np.asarray(waveform, dtype=np.float32)
            yield self.embed(torch.from_numpy((samples - mean) / deviation), num_frames).float().cpu()
            return
        speech = LongSpeech(self.model, waveform, mean, deviation)
        for start in range(0, num_frames, BLOCK_FRAMES):
            stop = min(start + BLOCK_FRAMES, num_frames)
            first, last = max(0, start - MARGIN_FRAMES), min(stop + MARGIN_FRAMES, num_frames)
            rows = self.embed_features(speech.frames(first, last, num_frames))
            yield rows[start - first : stop - first].float().cpu()

    def embed(self, samples: Tensor, num_frames: int) -> Tensor:
        """Rows (num_frames, layers, channels) of normalised `samples` (n,)."""
        return self.embed_features(resample_rows(self.conv_features(samples), num_frames))

    @torch.no_grad()
    def embed_features(self, features: Tensor) -> Tensor:
        """Rows (n, layers, channels) of convolution `features` (n, channels) at the rate of the video."""
        hidden, _ = self.model.feature_projection(features[None])
        outputs: list[Tensor] = []
        with ExitStack() as stack:
            # Called on its own, the encoder of transformers 5 returns no hidden states.
            for layer in self.model.encoder.layers:
                stack.callback(layer.register_forward_hook(_collect_into(outputs)).remove)
            last = self.model.encoder(hidden).last_hidden_state
        return torch.stack((*outputs[:-1], last), dim=2)[0]

    @torch.no_grad()
    def conv_features(self, samples: Tensor) -> Tensor:
        """Convolution features (m, channels), about 50 rows per second, of normalised `samples` (n,)."""
        samples = F.pad(samples, (0, max(0, self._receptive_samples() - len(samples))))
        weight = next(self.model.parameters())
        return self.model.feature_extractor(samples[None].to(weight.device, weight.dtype))[0].mT

    def _receptive_samples(self) -> int:
        """Samples that one row of the convolutions needs."""
        needed = 1
        kernels, strides = self.model.config.conv_kernel, self.model.config.conv_stride
        for kernel, stride in zip(reversed(kernels), reversed(strides), strict=True):
            needed = (needed - 1) * stride + kernel
        return needed


def resample_rows(rows: Tensor, num_rows: int) -> Tensor:
    """`rows` (m, channels) interpolated linearly to (num_rows, channels), first on first and last on last."""
    return F.interpolate(rows.mT[None], size=num_rows, mode="linear", align_corners=True)[0].mT


def waveform_statistics(waveform: np.ndarray) -> tuple[np.float32, np.float32]:
    """Mean and `sqrt(variance + 1e-7)` over all samples, read in blocks."""
    blocks = range(0, len(waveform), SPEECH_RATE_HZ * 60)
    count = max(1, len(waveform))
    mean = sum(float(waveform[i : i + blocks.step].sum(dtype=np.float64)) for i in blocks) / count
    squares = sum(float(((waveform[i : i + blocks.step].astype(np.float64) - mean) ** 2).sum()) for i in blocks)
    return np.float32(mean), np.float32(np.sqrt(squares / count + 1e-7))


def wav2vec2_weights_from_published(weights: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    """A published state dict under the names of transformers' `Wav2Vec2Model`.

    Checkpoints of pre-training carry its heads beside the model and what masks speech, and older ones the older names
    of weight normalisation.
    """
    prefix = "wav2vec2."
    has_heads = any(key.startswith(prefix) for key in weights)
    for key in weights:
        if has_heads and not key.startswith(prefix):
            continue
        name = re.sub(r"\.weight_([gv])$", _normalised_name, key.removeprefix(prefix))
        if name != "masked_spec_embed":
            yield name, weights[key]


def _normalised_name(match: re.Match[str]) -> str:
    return f".parametrizations.weight.original{'gv'.index(match[1])}"


def _collect_into(outputs: list[Tensor]) -> object:
    def hook(_module: nn.Module, _inputs: object, output: Tensor | tuple[Tensor, ...]) -> None:
        outputs.append(output if isinstance(output, Tensor) else output[0])

    return hook
