"""One chunk of a plan, as every stage behind the plan sees it."""

from __future__ import annotations

from typing import Literal

from infinitetalk_cli.config.base import Settings
from infinitetalk_cli.config.job import ExactSeconds


class PlannedChunk(Settings):
    """One chunk on the model's timeline (25 fps, frame 0 at the start of the stretch).

    It is generated for frames `[start_frame, start_frame + num_frames)` and contributes
    `[new_start, new_stop)`; what lies before `new_start` is context. `reference_index` is a source frame; with
    `reference` "previous" the last generated frame before the chunk takes its place. `ending_indices` are source frames
    up to the chunk's own last frame, where it is pinned to them. With `follows_source` off denoising starts from pure
    noise, whatever `sdedit_t0` is, and no camera branch steers; `sdedit_strength` and `uni3c_strength` are those of its
    scene, None: the profile's. `scene` counts streams: a scene, or a stretch of speech in one; it and `index_in_scene`
    name the noise.
    """

    index: int
    scene: int
    index_in_scene: int
    start_frame: int
    num_frames: int
    new_start: int
    new_stop: int
    reference_index: int
    reference_time_s: ExactSeconds
    reference: Literal["source", "previous"] = "source"
    ending_indices: tuple[int, ...] = ()
    follows_source: bool = True
    sdedit_strength: float | None = None
    uni3c_strength: float | None = None
