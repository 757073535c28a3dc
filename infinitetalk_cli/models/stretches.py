"""Which frames are generated in one stream: scenes, and where in them somebody speaks. Plain integers.

Frames are those of the model's timeline.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

BLEND_FRAMES = 8
"""Generated frames over which the picture goes over from the source's own frames, or back to them."""


@dataclass(frozen=True)
class Stretch:
    """Frames `[start, stop)` of scene `scene` that are generated in one stream, from their own first frame on.

    At an edge that `blends` the source's own frames lie beyond it, in the same scene.
    """

    scene: int
    start: int
    stop: int
    blends_in: bool = False
    blends_out: bool = False

    def share(self, frame: float) -> float:
        """How much of the picture at `frame`, perhaps between two frames, is generated: 0 none, 1 all."""
        steps = [1.0]
        if self.blends_in:
            steps.append((frame - self.start + 1) / (BLEND_FRAMES + 1))
        if self.blends_out:
            steps.append((self.stop - frame) / (BLEND_FRAMES + 1))
        linear = max(0.0, min(steps))
        return linear * linear * (3 - 2 * linear)


def scene_spans(starts: Iterable[int], num_frames: int) -> list[tuple[int, int]]:
    """Scenes `[start, stop)` that cover `[0, num_frames)`; starts outside of it, and repeated ones, do not count."""
    inside = sorted({0, *(start for start in starts if 0 < start < num_frames)})
    return list(zip(inside, [*inside[1:], num_frames], strict=True))


def whole_scenes(scenes: Sequence[tuple[int, int]]) -> list[Stretch]:
    """Everything is generated, one stream per scene."""
    return [Stretch(scene, start, stop) for scene, (start, stop) in enumerate(scenes)]


def spoken_stretches(
    scenes: Sequence[tuple[int, int]], speech: Sequence[tuple[int, int]], margin: int, min_gap: int
) -> list[Stretch]:
    """Only what is near `speech` (frame spans, in order, apart) is generated.

    Each span is widened by `margin` frames, though never past its scene. What then lies between two of them, or between
    one and the edge of its scene, is generated as well if it is shorter than `min_gap`. A scene without speech is kept
    whole.
    """
    stretches: list[Stretch] = []
    min_gap = max(1, min_gap)
    for scene, (start, stop) in enumerate(scenes):
        inside = [
            (max(start, first - margin), min(stop, last + margin))
            for first, last in speech
            if first < stop and last > start
        ]
        joined: list[tuple[int, int]] = []
        for first, last in inside:
            edge = joined[-1][1] if joined else start
            if first - edge < min_gap:
                first = joined.pop()[0] if joined else start
            joined.append((first, last))
        if joined and stop - joined[-1][1] < min_gap:
            joined[-1] = (joined[-1][0], stop)
        stretches += [Stretch(scene, first, last, first > start, last < stop) for first, last in joined]
    return stretches


def kept_spans(stretches: Sequence[Stretch], num_frames: int) -> list[tuple[int, int]]:
    """What lies between `stretches`: frames `[start, stop)` that stay as they are."""
    edges = [0, *(edge for stretch in stretches for edge in (stretch.start, stretch.stop)), num_frames]
    return [(start, stop) for start, stop in zip(edges[::2], edges[1::2], strict=True) if start < stop]
