"""How head and shoulders move while somebody speaks.

A head wanders a little all the time. With the voice it nods on stressed syllables, takes another posture for each
phrase, settles where the phrase ends, and sways while nothing is said.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

import torch
from torch import Tensor

from infinitetalk_cli.world.curves import beats, frame_times, steps, wander
from infinitetalk_cli.world.phonemes import MouthTrack
from infinitetalk_cli.world.prosody import Phrase, Prosody

_FREE_MOTION = {"x": 0.12, "y": 0.07, "turn": 0.12, "scale": 0.05, "yaw": 0.9}
"""Largest movement of a freely moving head: scene units, radians, a share, and -1..1 for yaw."""
_NOD_Y, _NOD = 0.045, 0.8
_TILT, _POSE_YAW = 0.07, 0.45
_SWAY_X, _SWAY_TURN = 0.025, 0.03
_SETTLE = 0.35
_BROW = 0.6
_BREATH_Y = 0.012
_SILENCE = 0.04
_FOLLOW = 0.25
"""Share of the head's movement that the shoulders make too."""


@dataclass(frozen=True)
class HeadMotion:
    """Head and shoulders by frame, each (t,) float32.

    x, y: scene units; turn: radians; scale: a factor; yaw and nod: -1..1, to the right and down; blink and brow:
    0..1; body_x, body_y, body_turn: shoulders, in scene units and radians.
    """

    x: Tensor
    y: Tensor
    turn: Tensor
    scale: Tensor
    yaw: Tensor
    nod: Tensor
    blink: Tensor
    brow: Tensor
    body_x: Tensor
    body_y: Tensor
    body_turn: Tensor

    def __getitem__(self, span: slice) -> HeadMotion:
        return HeadMotion(**{name: values[span] for name, values in vars(self).items()})


def _blinks(rng: random.Random, openness: Tensor) -> Tensor:
    """(t,) 0 open, 1 shut. People blink where a phrase ends: so do these, and now and then in between."""
    num_frames = len(openness)
    quiet = (openness < _SILENCE).tolist()
    starts = [
        t + 1 for t in range(2, num_frames - 3) if all(quiet[t : t + 3]) and not quiet[t - 1] and rng.random() < 0.85
    ]
    starts += [t for t in range(num_frames) if rng.random() < 1 / 250]
    blink = torch.zeros(num_frames)
    for start in starts:
        for offset, value in enumerate((0.55, 1.0, 1.0, 0.5)):
            if start + offset < num_frames:
                blink[start + offset] = max(value, float(blink[start + offset]))
    return blink


def _nods(rng: random.Random, prosody: Prosody) -> list[tuple[float, float]]:
    """[(seconds, size), ...]: strong accents are nodded more often, and never two within a quarter second."""
    chosen: list[tuple[float, float]] = []
    for accent in prosody.accents:
        wanted = rng.random() < 0.3 + 0.6 * accent.strength
        size = accent.strength * rng.uniform(0.6, 1.1)
        if wanted and (not chosen or accent.time_s - chosen[-1][0] > 0.25):
            chosen.append((accent.time_s, size))
    return chosen


def _poses(rng: random.Random, phrases: tuple[Phrase, ...], home: float) -> list[tuple[float, float, float]]:
    """Targets of a posture: a new one as a phrase begins, most of the way back as it ends."""
    targets = []
    for phrase in phrases:
        pose = rng.uniform(-1, 1)
        targets.append((phrase.start_s - 0.2, rng.uniform(0.45, 0.8), pose))
        targets.append((phrase.stop_s - 0.15, rng.uniform(0.5, 0.9), home * pose))
    return targets


def _speaking(time_s: Tensor, phrases: tuple[Phrase, ...]) -> Tensor:
    """(t,) 1 inside phrases, 0 in pauses, with soft edges."""
    targets = [step for p in phrases for step in ((p.start_s - 0.3, 0.4, 1.0), (p.stop_s, 0.5, 0.0))]
    return steps(time_s, 0.0, targets).clamp(0, 1)


def draw_head(seed: int, mouth: MouthTrack, prosody: Prosody, amplitude: float) -> HeadMotion:
    """How the head of clip `seed` moves; `amplitude` 0 is still, 1 free. Blinks do not depend on it."""
    num_frames = len(mouth)
    rng = random.Random(f"motion/{seed}")
    openness = torch.from_numpy(mouth.openness)
    loud = torch.nn.functional.avg_pool1d(openness[None, None], 13, 1, 6, count_include_pad=False)[0, 0]
    free = {name: size * wander(rng, num_frames, 4.0) for name, size in _FREE_MOTION.items()}
    [wander(rng, num_frames, 6.0) for _ in range(3)]  # once the camera's: keeps the blinks of every seed
    blink = _blinks(rng, openness)

    rng = random.Random(f"prosody/{seed}")
    time_s = frame_times(num_frames)
    nod = beats(time_s, _nods(rng, prosody))
    settle = steps(time_s, 0.0, [s for p in prosody.phrases for s in _settled(p)])
    tilt, pose_yaw = (steps(time_s, 0.0, _poses(rng, prosody.phrases, home)) for home in (0.3, 0.4))
    idle = 1 - _speaking(time_s, prosody.phrases)
    sway_x, sway_turn = (wander(rng, num_frames, 2.6) * idle for _ in range(2))
    breath = wander(rng, num_frames, 3.5)

    x = amplitude * (free["x"] + _SWAY_X * sway_x)
    y = amplitude * (free["y"] + 0.05 * (loud - 0.3) + _NOD_Y * (nod + _SETTLE * settle))
    turn = amplitude * (free["turn"] + _TILT * tilt + _SWAY_TURN * sway_turn)
    return HeadMotion(
        x=x,
        y=y,
        turn=turn,
        scale=1 + amplitude * free["scale"],
        yaw=(amplitude * (free["yaw"] + _POSE_YAW * pose_yaw)).clamp(-1.2, 1.2),
        nod=(amplitude * _NOD * (nod + _SETTLE * settle)).clamp(-1, 1.2),
        blink=blink,
        brow=((loud - 0.35) * 2.2 + amplitude * _BROW * nod).clamp(0, 1),
        body_x=_FOLLOW * x,
        body_y=_FOLLOW * (y - amplitude * _NOD_Y * nod) + amplitude * _BREATH_Y * breath,
        body_turn=_FOLLOW * turn,
    )


def _settled(phrase: Phrase) -> tuple[tuple[float, float, float], ...]:
    """The head sinks as a phrase ends, and comes up again in the pause."""
    return ((phrase.stop_s - 0.3, 0.45, 1.0), (phrase.stop_s + 0.3, 0.7, 0.0))
