"""When and how hands move with the voice: up as a phrase begins, a beat on every accent, down when it is over."""

from __future__ import annotations

import random
from dataclasses import dataclass

import torch
from torch import Tensor

from infinitetalk_cli.world.curves import beats, frame_times, steps, wander
from infinitetalk_cli.world.prosody import Phrase, Prosody

SIDES = (-1, 1)
_RISE_S, _FALL_S = (0.45, 0.7), (0.6, 0.9)
_SHORT_PAUSE_S = 0.55
"""A hand stays up over shorter pauses."""


@dataclass(frozen=True)
class HandMotion:
    """One hand by frame, each (t,) float32.

    presence: 0 below the picture, 1 up; x, y: from its home, in scene units, y down; angle: radians, clockwise;
    spread and curl of the fingers: 0..1.
    """

    presence: Tensor
    x: Tensor
    y: Tensor
    angle: Tensor
    spread: Tensor
    curl: Tensor

    def __getitem__(self, span: slice) -> HandMotion:
        return HandMotion(**{name: values[span] for name, values in vars(self).items()})


def uses_hands(seed: int, share: float) -> bool:
    """Whether the character of clip `seed` gestures, if `share` of all do."""
    return random.Random(f"hands/{seed}").random() < share


def _held_up(rng: random.Random, phrases: tuple[Phrase, ...]) -> dict[int, list[Phrase]]:
    """For each side the spans in which its hand is up; phrases close to each other share one."""
    spans: dict[int, list[Phrase]] = {side: [] for side in SIDES}
    for phrase in phrases:
        sides = rng.choices(((), (-1,), (1,), SIDES), weights=(0.2, 0.25, 0.25, 0.3))[0]
        for side in sides:
            last = spans[side][-1] if spans[side] else None
            if last and phrase.start_s - last.stop_s < _SHORT_PAUSE_S:
                spans[side][-1] = Phrase(last.start_s, phrase.stop_s)
            else:
                spans[side].append(phrase)
    return spans


def draw_hands(seed: int, num_frames: int, prosody: Prosody) -> tuple[HandMotion, HandMotion]:
    """The hands of clip `seed`: that at the left of the picture, and that at the right."""
    rng = random.Random(f"gestures/{seed}")
    held = _held_up(rng, prosody.phrases)
    return tuple(_one_hand(random.Random(f"gestures/{side}/{seed}"), num_frames, prosody, held[side]) for side in SIDES)


def _one_hand(rng: random.Random, num_frames: int, prosody: Prosody, held: list[Phrase]) -> HandMotion:
    time_s = frame_times(num_frames)
    lift: list[tuple[float, float, float]] = []
    for span in held:
        lift.append((span.start_s - 0.25, rng.uniform(*_RISE_S), 1.0))
        lift.append((span.stop_s - 0.05, rng.uniform(*_FALL_S), 0.0))
    strokes = [(a.time_s, a.strength * rng.uniform(0.6, 1.2)) for a in prosody.accents]

    def posture(low: float, high: float) -> Tensor:
        """A value that changes on about half of the accents."""
        targets = [(a.time_s - 0.12, 0.3, rng.uniform(low, high)) for a in prosody.accents if rng.random() < 0.5]
        return steps(time_s, rng.uniform(low, high), targets)

    return HandMotion(
        presence=steps(time_s, 0.0, lift).clamp(0, 1),
        x=posture(-0.05, 0.07) + 0.015 * wander(rng, num_frames, 2.0),
        y=posture(-0.06, 0.06) + 0.075 * beats(time_s, strokes) + 0.015 * wander(rng, num_frames, 2.3),
        angle=posture(-0.15, 0.35) + 0.10 * beats(time_s, strokes),
        spread=posture(0.2, 1.0),
        curl=posture(0.0, 0.45) if rng.random() < 0.7 else posture(0.4, 0.8),
    )


def no_hands(num_frames: int) -> tuple[HandMotion, HandMotion]:
    """Two hands that stay below the picture."""
    still = torch.zeros(num_frames)
    return tuple(HandMotion(still, still, still, still, still, still) for _ in SIDES)
