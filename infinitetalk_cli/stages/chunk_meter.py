"""How far the chunk loop is: steps of all chunks, whoever makes them, and the pace so far."""

from __future__ import annotations

import time
from collections.abc import Sequence

from infinitetalk_cli.progress import Progress, SilentProgress
from infinitetalk_cli.stages.generate_settings import GenerateSettings, sampling_settings
from infinitetalk_cli.stages.keyframes import ChunkPlan
from infinitetalk_cli.stages.planned_chunk import PlannedChunk
from infinitetalk_cli.stages.sharing import Share
from infinitetalk_cli.units import frame_time


class ChunkMeter(SilentProgress):
    """Hears the steps of every chunk and reports them as progress of the whole, with the pace so far.

    `share` is told of them, and tells what others made.
    """

    def __init__(
        self,
        progress: Progress,
        plan: ChunkPlan,
        left: Sequence[PlannedChunk],
        settings: GenerateSettings,
        share: Share,
    ) -> None:
        self._progress, self._num_chunks, self._settings, self._share = progress, len(plan.chunks), settings, share
        every, to_do = (sum(map(self._num_steps, chunks)) for chunks in (plan.chunks, left))
        progress.start("generate", every, done=every - to_do)
        self._began_s, self._seconds_made, self._step = time.monotonic(), 0.0, 0
        self._where = self._skipped = ""

    def begin(self, chunk: PlannedChunk, attempt: int) -> None:
        """A chunk begins, or another attempt at it: its steps count again."""
        self._where = f"chunk {chunk.index + 1}/{self._num_chunks}"
        if attempt:
            self._where += f", attempt {attempt + 1}"
            self._count(-self._step)
        self._step, self._skipped = 0, ""
        self._steps = self._num_steps(chunk)

    def _num_steps(self, chunk: PlannedChunk) -> int:
        """Less where denoising starts from the source."""
        return len(sampling_settings(self._settings, chunk).sigmas()) - 1

    def detail(self, text: str) -> None:
        self._skipped = f", {text}"  # by step caching

    def advance(self, steps: int = 1) -> None:
        self._step += steps
        self._count(steps)
        speed = self._seconds_made / max(time.monotonic() - self._began_s, 1e-9)
        pace = f", {speed:.1f} x real time" if self._seconds_made else ""
        self._progress.detail(f"{self._where}, step {self._step}/{self._steps}{self._skipped}{pace}")

    def finish(self, chunk: PlannedChunk) -> None:
        """A chunk is committed."""
        num_frames = chunk.new_stop - chunk.new_start
        self._seconds_made += float(frame_time(num_frames))
        self.hear(self._share.report(frames=num_frames))

    def hear(self, made: tuple[int, int]) -> None:
        """Others made so many steps and frames meanwhile."""
        steps, frames = made
        self._seconds_made += float(frame_time(frames))
        if steps:
            self._progress.advance(steps)

    def _count(self, steps: int) -> None:
        self._progress.advance(steps)
        self.hear(self._share.report(steps=steps))
