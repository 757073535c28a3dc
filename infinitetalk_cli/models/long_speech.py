"""Convolution features of speech of any length in constant memory, equal to those of one pass over all of it.

Three things in the front end of wav2vec 2.0 see the whole recording: the scaling of the samples, the norm of the first
convolution (where it is a group norm: every channel over all of time), and the interpolation to the rate of the
video. The statistics are gathered in a pass of their own, and places are counted from the start of the recording, so
that a block of features does not depend on where it was cut.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn
from transformers import Wav2Vec2Model

PIECE_ROWS = 500
"""Rows of features (10 s) computed in one go: the first convolution is 64 times as wide as what comes out."""


class LongSpeech:
    """The speech `waveform` (n,), as `model` hears it; samples are `(waveform - mean) / deviation`."""

    def __init__(self, model: Wav2Vec2Model, waveform: np.ndarray, mean: float, deviation: float) -> None:
        self._layers = model.feature_extractor.conv_layers
        self._waveform, self._mean, self._deviation = waveform, mean, deviation
        self._weight = next(model.parameters())
        self._stride, self._reach = _stride_and_reach(self._layers)
        self.num_rows = (len(waveform) - self._reach) // self._stride + 1
        """Rows of the whole recording, about 50 per second."""
        self._norm = self._whole_norm() if _is_normed_over_time(self._layers[0]) else None

    def frames(self, start: int, stop: int, num_frames: int) -> Tensor:
        """Rows `[start, stop)` of the features brought to `num_frames`, first on first and last on last: (n, channels).

        The same as `resample_rows` of all rows at once.
        """
        step = (self.num_rows - 1) / max(1, num_frames - 1)
        places = torch.arange(start, stop, dtype=torch.float64) * step
        below = places.floor().long().clamp(max=max(0, self.num_rows - 2))
        first = int(below[0])
        rows = self.rows(first, min(int(below[-1]) + 2, self.num_rows))
        share = (places - below)[:, None].to(rows)
        above = (below - first + 1).clamp(max=len(rows) - 1)
        return torch.lerp(rows[below - first], rows[above], share)

    @torch.no_grad()
    def rows(self, start: int, stop: int) -> Tensor:
        """Rows `[start, stop)` of the features: (n, channels)."""
        pieces = range(start, stop, PIECE_ROWS)
        return torch.cat([self._piece(first, min(first + PIECE_ROWS, stop)) for first in pieces])

    def _piece(self, start: int, stop: int) -> Tensor:
        hidden = self._samples(start * self._stride, (stop - 1) * self._stride + self._reach)
        for layer in self._layers:
            if layer is self._layers[0] and self._norm is not None:
                scale, shift = self._norm
                hidden = layer.activation(layer.conv(hidden) * scale + shift)
            else:
                hidden = layer(hidden)
        return hidden[0].mT

    def _samples(self, start: int, stop: int) -> Tensor:
        """Samples `[start, stop)` as the model takes them: (1, 1, n)."""
        samples = np.asarray(self._waveform[start:stop], dtype=np.float32)
        return torch.from_numpy((samples - self._mean) / self._deviation).to(self._weight)[None, None]

    @torch.no_grad()
    def _whole_norm(self) -> tuple[Tensor, Tensor]:
        """Scale and shift (channels, 1) that the first layer's norm amounts to over the whole recording."""
        layer = self._layers[0]
        total, squares, count = 0.0, 0.0, 0
        for samples in self._first_layer_samples():
            output = layer.conv(samples)[0].double()
            total, squares, count = total + output.sum(1), squares + output.square().sum(1), count + output.shape[1]
        mean = total / count
        deviation = (squares / count - mean.square() + layer.layer_norm.eps).sqrt()
        scale = layer.layer_norm.weight.double() / deviation
        shift = layer.layer_norm.bias.double() - mean * scale
        return scale[:, None].to(self._weight), shift[:, None].to(self._weight)

    def _first_layer_samples(self) -> Iterator[Tensor]:
        """All samples in pieces that give every row of the first convolution once."""
        (kernel,), (stride,) = self._layers[0].conv.kernel_size, self._layers[0].conv.stride
        num_rows = (len(self._waveform) - kernel) // stride + 1
        step = PIECE_ROWS * self._stride // stride
        for start in range(0, num_rows, step):
            yield self._samples(start * stride, (min(start + step, num_rows) - 1) * stride + kernel)


def _is_normed_over_time(layer: nn.Module) -> bool:
    norm = getattr(layer, "layer_norm", None)
    if not isinstance(norm, nn.GroupNorm):
        return False
    assert norm.num_groups == norm.num_channels, "groups of several channels are not known here"
    return True


def _stride_and_reach(layers: nn.ModuleList) -> tuple[int, int]:
    """Samples from one row to the next, and samples that a row is made from."""
    stride, reach = 1, 1
    for layer in layers:
        reach += (layer.conv.kernel_size[0] - 1) * stride
        stride *= layer.conv.stride[0]
    return stride, reach
