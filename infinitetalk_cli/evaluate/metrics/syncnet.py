"""SyncNet (Chung and Zisserman 2016): 0.2 s of a speaker's face and 0.2 s of sound, each as 1024 numbers.

Under the names of the published weights. Legend: n windows, t frames, h rows, w columns.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import torch
from torch import Tensor, nn

WINDOW_FRAMES = 5
WINDOW_ROWS, ROWS_PER_FRAME = 20, 4
"""Rows of `mfcc` in a window of sound, and per video frame at 25 fps."""

SIDE_PX = 224
EMBEDDING = 1024
SAMPLES_PER_FRAME = 640


def _conv(
    c_in: int, c_out: int, kernel: tuple[int, ...], stride: tuple[int, ...] | int = 1, padding=0
) -> list[nn.Module]:
    """Convolution, batch norm, ReLU; in two or three dimensions, as `kernel` has."""
    conv, norm = (nn.Conv3d, nn.BatchNorm3d) if len(kernel) == 3 else (nn.Conv2d, nn.BatchNorm2d)
    return [conv(c_in, c_out, kernel, stride, padding), norm(c_out), nn.ReLU()]


def _head() -> nn.Sequential:
    return nn.Sequential(nn.Linear(512, 512), nn.BatchNorm1d(512), nn.ReLU(), nn.Linear(512, EMBEDDING))


class SyncNet(nn.Module):
    """Both branches."""

    def __init__(self) -> None:
        super().__init__()
        self.netcnnaud = nn.Sequential(
            *_conv(1, 64, (3, 3), padding=1),
            nn.MaxPool2d(1),
            *_conv(64, 192, (3, 3), padding=1),
            nn.MaxPool2d(3, stride=(1, 2)),
            *_conv(192, 384, (3, 3), padding=1),
            *_conv(384, 256, (3, 3), padding=1),
            *_conv(256, 256, (3, 3), padding=1),
            nn.MaxPool2d(3, stride=2),
            *_conv(256, 512, (5, 4)),
        )
        self.netfcaud = _head()
        self.netfclip = _head()
        self.netcnnlip = nn.Sequential(
            *_conv(3, 96, (5, 7, 7), (1, 2, 2)),
            nn.MaxPool3d((1, 3, 3), stride=(1, 2, 2)),
            *_conv(96, 256, (1, 5, 5), (1, 2, 2), (0, 1, 1)),
            nn.MaxPool3d((1, 3, 3), stride=(1, 2, 2), padding=(0, 1, 1)),
            *_conv(256, 256, (1, 3, 3), padding=(0, 1, 1)),
            *_conv(256, 256, (1, 3, 3), padding=(0, 1, 1)),
            *_conv(256, 256, (1, 3, 3), padding=(0, 1, 1)),
            nn.MaxPool3d((1, 3, 3), stride=(1, 2, 2)),
            *_conv(256, 512, (1, 6, 6)),
        )

    def lips(self, windows: Tensor) -> Tensor:
        """(n, 3, 5, 224, 224), BGR levels 0-255, to (n, 1024)."""
        return self.netfclip(self.netcnnlip(windows).flatten(1))

    def speech(self, windows: Tensor) -> Tensor:
        """(n, 1, 13, 20) coefficients to (n, 1024)."""
        return self.netfcaud(self.netcnnaud(windows).flatten(1))


def num_windows(num_frames: int, num_samples: int) -> int:
    """Windows that are scored: one fewer than would fit, as in the published scorer; 0 if the clip is too short."""
    return max(0, min(num_frames, num_samples // SAMPLES_PER_FRAME) - WINDOW_FRAMES)


@torch.inference_mode()
def lip_embeddings(network: SyncNet, faces: Iterable[np.ndarray], count: int, batch: int = 8) -> np.ndarray:
    """(count, 1024) float32 of face crops uint8 RGB (224, 224, 3): window i holds frames i to i + 4.

    The first convolution spans the whole window, so each window runs by itself; frames are kept for a batch only.
    """
    device = next(network.parameters()).device
    rows = []
    for group in _window_groups(faces, count, batch):
        windows = torch.from_numpy(group).to(device).movedim(-1, 1).float()
        rows.append(network.lips(windows).cpu().numpy())
    return np.concatenate(rows)


@torch.inference_mode()
def speech_embeddings(network: SyncNet, coefficients: np.ndarray, count: int, batch: int = 64) -> np.ndarray:
    """(count, 1024) float32 of `coefficients` (rows, 13): window i holds rows 4 i to 4 i + 19."""
    device = next(network.parameters()).device
    views = np.lib.stride_tricks.sliding_window_view(coefficients, WINDOW_ROWS, axis=0)[::ROWS_PER_FRAME][:count]
    parts = []
    for start in range(0, count, batch):
        windows = torch.from_numpy(np.ascontiguousarray(views[start : start + batch], np.float32))[:, None]
        parts.append(network.speech(windows.to(device)).cpu().numpy())
    return np.concatenate(parts)


def _window_groups(faces: Iterable[np.ndarray], count: int, batch: int) -> Iterator[np.ndarray]:
    """Up to `batch` windows (n, 5, 224, 224, 3), BGR, in order."""
    held: list[np.ndarray] = []
    left = count
    for face in faces:
        held.append(face[..., ::-1])
        ready = min(batch, left)
        if ready and len(held) == ready + WINDOW_FRAMES - 1:
            yield np.stack([np.stack(held[start : start + WINDOW_FRAMES]) for start in range(ready)])
            del held[:ready]
            left -= ready
        if not left:
            return
    raise ValueError(f"{count - left} of {count} windows: the faces ended early")
