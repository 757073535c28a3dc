"""Chunk, context and audio window arithmetic on plain integers.

Frames are those of the model's timeline (25 per second). A chunk of `chunk_frames` continues from the last
`context_frames` of the chunk before it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from infinitetalk_cli.units import MODEL_RATE, SPEECH_RATE_HZ, FrameSpan

MIRROR_MARGIN_FRAMES = 3
"""The published tail rule appends this many rows more than the last chunk has frames."""


FRAME_GROUP = 4
"""A chunk has one frame and whole groups of so many: the video codecs join them."""

ENDING_FRAMES = 1 + 2 * FRAME_GROUP
"""Source frames that are encoded for the pinned end of a chunk; the last group of them is kept."""

MIN_FITTED_FRAMES = 21
"""No chunk is cut shorter than this: nano saw chunks of 21 and 81 frames in training, the published model of 81."""


@dataclass(frozen=True)
class Chunk:
    """One window generated in one go: frames `[start_frame, start_frame + num_frames)` of its scene.

    It adds `[new_start, new_stop)` to the video. Before `new_start` lies context, taken over from the chunk
    before; past `new_stop` the window may reach beyond the end of the scene.
    """

    scene: int
    index: int
    start_frame: int
    num_frames: int
    new_start: int
    new_stop: int

    @property
    def is_first(self) -> bool:
        """Whether the chunk has no chunk to continue from."""
        return self.index == 0

    @property
    def num_context(self) -> int:
        """Frames taken over from the chunk before."""
        return self.new_start - self.start_frame

    @property
    def window(self) -> FrameSpan:
        """All frames that are generated."""
        return FrameSpan(self.start_frame, self.start_frame + self.num_frames)


def plan_chunks(
    num_frames: int, chunk_frames: int, context_frames: int, scene: int = 0, fit_last: bool = False
) -> tuple[Chunk, ...]:
    """Chunks whose new frames cover `[0, num_frames)` of a scene exactly once.

    Every chunk has `chunk_frames` frames; what the last one generates past the end is dropped. With `fit_last` it is as
    short as whole groups of `FRAME_GROUP` and `MIN_FITTED_FRAMES` allow.
    """
    if not 0 <= context_frames < chunk_frames:
        raise ValueError(f"{context_frames} context frames do not fit into a chunk of {chunk_frames}")
    if num_frames <= 0:
        return ()
    stride = chunk_frames - context_frames
    num_chunks = 1 + max(0, math.ceil((num_frames - chunk_frames) / stride))
    needed = num_frames - (num_chunks - 1) * stride
    fitted = max(MIN_FITTED_FRAMES, 1 + FRAME_GROUP * math.ceil((needed - 1) / FRAME_GROUP))
    last_frames = min(chunk_frames, fitted) if fit_last else chunk_frames
    return tuple(
        Chunk(
            scene=scene,
            index=index,
            start_frame=index * stride,
            num_frames=last_frames if index == num_chunks - 1 else chunk_frames,
            new_start=index * stride + (context_frames if index else 0),
            new_stop=min(index * stride + chunk_frames, num_frames),
        )
        for index in range(num_chunks)
    )


def mode_context_frames(conditioning: str, context_frames: int) -> int:
    """Frames that a chunk takes over from the one before, by what it is held to (`chunks.conditioning`).

    i2v goes on from the last generated frame alone. With fl2v nothing generated enters the next chunk: each has the
    source's frames at its own ends, and begins where the one before ended.
    """
    return {"sparse": context_frames, "i2v": 1, "fl2v": 0}[conditioning]


def ending_frames(chunk: Chunk) -> tuple[int, ...]:
    """Frames of the scene up to the last one of `chunk`, whose last group is what a pinned end shows.

    The group before them is there so that a causal codec has seen motion. Past the chunk's new frames the last one
    holds: what lies there may be another scene.
    """
    stop = chunk.window.stop
    first = max(chunk.start_frame, stop - ENDING_FRAMES)
    return tuple(min(frame, chunk.new_stop - 1) for frame in range(first, stop))


def latent_frames(num_frames: int, temporal_stride: int) -> int:
    """Latent frames of `num_frames`: the first frame alone, then groups of `temporal_stride`."""
    if num_frames < 1 or (num_frames - 1) % temporal_stride:
        raise ValueError(f"{num_frames} frames are not 1 plus whole groups of {temporal_stride}")
    return 1 + (num_frames - 1) // temporal_stride


def window_rows(start: int, num_frames: int, rows: np.ndarray | int, radius: int = 2) -> np.ndarray:
    """Audio rows (num_frames, 2 * radius + 1) around frames `[start, start + num_frames)`, held at both ends.

    `rows` is the number of audio rows, or the row to use at every frame (`mirrored_rows`).
    """
    rows = np.arange(rows) if isinstance(rows, int) else rows
    places = np.arange(start, start + num_frames)[:, None] + np.arange(-radius, radius + 1)
    return rows[places.clip(0, len(rows) - 1)]


@dataclass(frozen=True)
class PublishedPlan:
    """What the published loop does with given audio lengths; for comparison with it, not for use.

    The first person's sound decides when to stop, the last person's how many frames are kept, and the last
    chunk hears the end of the speech once more, backwards.
    """

    chunks: tuple[Chunk, ...]
    num_kept: int

    def rows(self, chunk: Chunk, audio_frames: int) -> np.ndarray:
        """The audio row of every frame, as chunk `chunk` of a person with `audio_frames` rows finds them."""
        is_tail = chunk is self.chunks[-1] and not chunk.is_first
        return mirrored_rows(audio_frames, chunk.window.stop) if is_tail else np.arange(audio_frames)


def published_plan(
    audio_frames: Sequence[int], chunk_frames: int, context_frames: int, max_frames: int
) -> PublishedPlan:
    """Chunks and length of the published loop for the people's `audio_frames`."""
    chunks = plan_chunks(min(max_frames, audio_frames[0]), chunk_frames, context_frames)
    num_generated = chunks[-1].window.stop
    num_kept = min(num_generated, max_frames)
    if len(chunks) > 1 and any(length <= num_generated for length in audio_frames):
        num_kept = min(num_kept, audio_frames[-1])
    return PublishedPlan(plan_chunks(num_generated, chunk_frames, context_frames), num_kept)


def mirrored_rows(audio_frames: int, end: int) -> np.ndarray:
    """Rows `0 .. audio_frames - 1` and, unless they reach past frame `end`, the last ones backwards."""
    rows = np.arange(audio_frames)
    if audio_frames > end:
        return rows
    return np.concatenate((rows, rows[-(end - audio_frames + MIRROR_MARGIN_FRAMES) :][::-1]))


def published_num_frames(num_samples: int, rate_hz: int = SPEECH_RATE_HZ) -> int:
    """Video frames of a sound as the published code counts them: rounded down, in doubles that lose some.

    `units.frames_in` gives the exact number.
    """
    return int(num_samples / rate_hz * int(MODEL_RATE))
