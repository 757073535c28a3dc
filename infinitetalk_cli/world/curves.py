"""Curves over time from which motion is made: smooth steps, beats, wandering and shaking.

All are functions of the time alone, so a clip does not depend on how much of it is drawn at once.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterable

import torch
from torch import Tensor

from infinitetalk_cli.units import MODEL_RATE


def frame_times(num_frames: int) -> Tensor:
    """(t,) seconds at which frames appear."""
    return torch.arange(num_frames) / float(MODEL_RATE)


def wander(rng: random.Random, num_frames: int, slow_s: float) -> Tensor:
    """(t,) a smooth random walk within about -1..1; periods around `slow_s` seconds."""
    time_s = frame_times(num_frames)
    waves = [
        math.sqrt(weight) * torch.sin(2 * math.pi * (time_s / (slow_s * rng.uniform(0.7, 1.4) / pitch) + rng.random()))
        for pitch, weight in ((1, 0.5), (1.9, 0.3), (3.7, 0.1))
    ]
    return sum(waves).float()


def steps(time_s: Tensor, start: float, targets: Iterable[tuple[float, float, float]]) -> Tensor:
    """(t,) `start`, then on to each target of [(begin in seconds, duration in seconds, value), ...].

    Every step begins and ends at rest (the path of least jerk between two points); steps may overlap.
    """
    value, now = torch.full_like(time_s, start), start
    for begin_s, duration_s, target in targets:
        share = ((time_s - begin_s) / duration_s).clamp(0, 1)
        value = value + (target - now) * share**3 * (10 - 15 * share + 6 * share**2)
        now = target
    return value


def beats(time_s: Tensor, accents: Iterable[tuple[float, float]]) -> Tensor:
    """(t,) a stroke and its return for each of [(seconds, size), ...]: there in 0.16 s, back in 0.34 s."""
    value = torch.zeros_like(time_s)
    for at_s, size in accents:
        there = ((time_s - at_s + 0.06) / 0.16).clamp(0, 1)
        back = ((time_s - at_s - 0.10) / 0.34).clamp(0, 1)
        value = value + size * (there**2 * (3 - 2 * there) - back**2 * (3 - 2 * back))
    return value


def shaking(rng: random.Random, num_frames: int, lowest_hz: float = 0.7, highest_hz: float = 5.0) -> Tensor:
    """(t,) noise of a hand that holds a camera, deviation about 0.5: only these frequencies, weaker the higher."""
    time_s, value = frame_times(num_frames), torch.zeros(num_frames)
    tones = [lowest_hz * (highest_hz / lowest_hz) ** ((i + rng.random()) / 12) for i in range(12)]
    total = sum(1 / hz for hz in tones)
    for hz in tones:
        value = value + math.sqrt(0.5 / hz / total) * torch.sin(2 * math.pi * (hz * time_s + rng.random()))
    return value
