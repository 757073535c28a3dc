"""The result's camera beside the source's, scene by scene, while the result is looked at."""

from __future__ import annotations

from math import sqrt
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from infinitetalk_cli.config.base import Settings
from infinitetalk_cli.errors import InputError
from infinitetalk_cli.quality.camera_error import CameraError, camera_error

if TYPE_CHECKING:
    from infinitetalk_cli.models.camera_motion import Motion
    from infinitetalk_cli.stages.keyframes import ChunkPlan
    from infinitetalk_cli.stages.source_pixels import SourcePixels

EVERY_FRAMES = 2
"""12.5 pictures a second are looked at: a hand shakes a few times a second."""
MAX_LOOKS = 500
"""Of one scene, from its beginning: 40 s."""
_AT_ONCE = 16


class SceneCamera(Settings):
    """Scene `scene` of the plan: see `quality.camera_error.CameraError`."""

    scene: int
    error_px: float | None
    source_px: float | None
    num_steps: int
    seen: float


class CameraCheck:
    """Sees every new frame of the result in rising order, and reads the source's own beside it."""

    def __init__(self, source: SourcePixels, plan: ChunkPlan) -> None:
        from infinitetalk_cli.models.camera_motion import working_size

        self._source, self._plan = source, plan
        height, width = source.size
        self._small = working_size(width, height)
        self._looks = [0] * len(plan.scenes)
        self._steps: list[list[tuple[Motion, Motion]]] = [[] for _ in plan.scenes]
        self._waiting: list[tuple[np.ndarray, np.ndarray]] = []
        self._last: tuple[int, int] | None = None
        self._scene = 0

    def see(self, frame: int, made: np.ndarray) -> None:
        """`made` (h, w, 3) is model frame `frame`."""
        while frame >= self._plan.scenes[self._scene].stop_frame:
            self._scene += 1
        place = frame - self._plan.scenes[self._scene].start_frame
        if place % EVERY_FRAMES or self._looks[self._scene] >= MAX_LOOKS:
            return
        try:
            (source,) = self._source.frames([self._source.index_at(frame)])
        except InputError:
            return  # damaged there; the next step begins anew
        if self._last != (self._scene, frame - EVERY_FRAMES):
            self._measure()
            self._waiting.clear()
        self._waiting.append((self._grey(made), self._grey(source)))
        self._looks[self._scene] += 1
        self._last = (self._scene, frame)
        if len(self._waiting) > _AT_ONCE:
            self._measure()

    def scenes(self) -> tuple[SceneCamera, ...]:
        """The error of every scene of which there is something new, in order."""
        self._measure()
        found = ((number, self._scene_error(steps)) for number, steps in enumerate(self._steps) if steps)
        return tuple(SceneCamera(scene=number, **vars(error)) for number, error in found)

    def _measure(self) -> None:
        """The steps between the pictures that wait; the last picture stays for the next step."""
        from infinitetalk_cli.models.camera_motion import camera_motions

        if len(self._waiting) < 2:
            return
        pairs = [(k, k + 1) for k in range(len(self._waiting) - 1)]
        made, source = (camera_motions(pictures, pairs) for pictures in zip(*self._waiting, strict=True))
        assert self._last is not None, "somebody waits"
        self._steps[self._last[0]] += zip(made, source, strict=True)
        del self._waiting[:-1]

    def _scene_error(self, steps: list[tuple[Motion, Motion]]) -> CameraError:
        from infinitetalk_cli.models.camera_motion import mean_radius

        height, width = self._source.size
        made, source = (
            np.array([(motion.right, motion.down, motion.zoom, motion.turn) for motion in motions])
            for motions in zip(*steps, strict=True)
        )
        seen = np.array([min(one.support, other.support) > 0 for one, other in steps])
        return camera_error(made, source, seen, sqrt(height * width), mean_radius(width / height))

    def _grey(self, picture: np.ndarray) -> np.ndarray:
        """(h, w) grey levels at the size that is looked at."""
        small = Image.fromarray(picture).resize(self._small, Image.Resampling.BILINEAR)
        return np.asarray(small).mean(axis=2, dtype=np.float32)
