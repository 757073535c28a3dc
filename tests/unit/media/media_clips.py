"""What the media tests share: clips, each made once, and a look at a source."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from synthetic import Clip, make_clip

from infinitetalk_cli.media.info import MediaInfo
from infinitetalk_cli.media.probe import probe
from infinitetalk_cli.media.scan import scan_timeline
from infinitetalk_cli.media.timeline import SourceTimeline

MakeClip = Callable[[str, Clip], Path]


@pytest.fixture(scope="session")
def clip_file(tmp_path_factory: pytest.TempPathFactory) -> MakeClip:
    """Path of a clip by name and content; the same pair is made once."""
    made: dict[tuple[str, str], Path] = {}

    def make(name: str, clip: Clip) -> Path:
        key = (name, repr(clip))
        if key not in made:
            made[key] = make_clip(tmp_path_factory.mktemp("clip") / name, clip)
        return made[key]

    return make


def look_at(path: Path) -> tuple[MediaInfo, SourceTimeline]:
    """What a job learns about a source before it reads pictures."""
    info = probe(path)
    return info, scan_timeline(path, info)
