"""Where the reference frame of a training chunk comes from: the paper's strategies M0 to M3 (its Section 3.4).

The reference tells the model who and where; how far from the chunk it is taken decides how strongly it binds.

    m0  any frame of the chunk itself: binds so hard that the model repeats it whatever the sound says
    m1  the chunk's first or last frame: poses are forced at the ends
    m2  more than 5 s away: free, but identity and colour drift
    m3  outside the chunk, at most 1 s away: identity holds, the face is free (the one to use)
"""

from __future__ import annotations

import random
from typing import Literal

from infinitetalk_cli.units import MODEL_RATE, FrameSpan

ReferenceStrategy = Literal["m0", "m1", "m2", "m3"]

NEAR_FRAMES = int(1 * MODEL_RATE)
FAR_FRAMES = int(5 * MODEL_RATE)

GROUP_FRAMES = 4
"""Chunks begin, and references are cached, at multiples of it: the codecs join so many frames."""


def reference_candidates(strategy: ReferenceStrategy, chunk: FrameSpan, num_frames: int) -> list[int]:
    """Frames of a clip of `num_frames` that may be the reference of `chunk`, ascending; may be empty."""
    frames = range(num_frames)
    if strategy == "m0":
        return list(range(chunk.start, chunk.stop))
    if strategy == "m1":
        return [chunk.start, chunk.stop - 1]
    if strategy == "m2":
        return [f for f in frames if f < chunk.start - FAR_FRAMES or f >= chunk.stop + FAR_FRAMES]
    before = range(max(0, chunk.start - NEAR_FRAMES), chunk.start)
    after = range(chunk.stop, min(num_frames, chunk.stop + NEAR_FRAMES))
    return [*before, *after]


def cached_candidates(strategy: ReferenceStrategy, chunk: FrameSpan, num_frames: int) -> list[int]:
    """Those candidates whose latents exist, because they begin a group."""
    return [frame for frame in reference_candidates(strategy, chunk, num_frames) if frame % GROUP_FRAMES == 0]


def chunk_starts(strategy: ReferenceStrategy, chunk_frames: int, num_frames: int) -> list[int]:
    """Where in a clip of `num_frames` a chunk may begin: at a group, and with a reference that can be drawn."""
    starts = range(0, num_frames - chunk_frames + 1, GROUP_FRAMES)
    return [s for s in starts if cached_candidates(strategy, FrameSpan(s, s + chunk_frames), num_frames)]


def draw_reference(rng: random.Random, strategy: ReferenceStrategy, chunk: FrameSpan, num_frames: int) -> int:
    """A reference frame for `chunk`, uniform over the cached candidates; `ValueError` if there is none."""
    candidates = cached_candidates(strategy, chunk, num_frames)
    if not candidates:
        raise ValueError(
            f"a clip of {num_frames} frames holds no reference for frames {chunk.start}-{chunk.stop} by "
            f"strategy {strategy}; train on longer clips or shorter chunks"
        )
    return rng.choice(candidates)
