"""Whether a result can be scored: it must have the source's frames, rate and size, and sound."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np

from infinitetalk_cli.errors import InputError
from infinitetalk_cli.evaluate.splits.prepare import PreparedClip
from infinitetalk_cli.media.probe import probe, require_audio, require_video
from infinitetalk_cli.media.scan import scan_timeline
from infinitetalk_cli.units import MODEL_RATE

_RATE_SLACK = Fraction(1, 1000)


def check_result(path: Path, clip: PreparedClip, size: int, *, lenient: bool) -> list[str]:
    """What differs from what was asked; `InputError` without sound, or if anything differs and not `lenient`."""
    info = probe(path)
    video = require_video(path, info)
    require_audio(path, info)
    timeline = scan_timeline(path, info)
    found = []
    if timeline.num_frames != clip.num_frames:
        found.append(f"{timeline.num_frames} frames, the source has {clip.num_frames}")
    steps = np.diff(timeline.pts)
    rate = 1 / (Fraction(int(np.median(steps))) * timeline.time_base) if len(steps) else MODEL_RATE
    if abs(rate / MODEL_RATE - 1) > _RATE_SLACK:
        found.append(f"{float(rate):.5g} frames per second, not 25")
    if video.display_size != (size, size):
        found.append(f"{video.display_size[0]}x{video.display_size[1]}, not {size}x{size}")
    if found and not lenient:
        raise InputError(f"{path}: {'; '.join(found)}; make it so, or score what fits with --lenient")
    return found
