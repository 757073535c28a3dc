"""Source file -> what is in it, and when exactly each of its frames is on screen."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel

from infinitetalk_cli.config.base import Settings
from infinitetalk_cli.config.job import Job
from infinitetalk_cli.errors import writing_to
from infinitetalk_cli.stages.stage import Inputs, Stage, StageContext


class DemuxSettings(Settings):
    """Nothing to set: the file alone decides."""


def _settings(job: Job) -> BaseModel:
    return DemuxSettings()


def demux(inputs: Inputs, settings: DemuxSettings, out_dir: Path, ctx: StageContext) -> None:
    """Write `media.json` (a `MediaInfo`) and `timeline.npz` (a `SourceTimeline`).

    Raises:
        InputError: not a readable video or image, or its end is missing.
    """
    from infinitetalk_cli.media.probe import probe, require_video
    from infinitetalk_cli.media.scan import scan_timeline

    source = inputs["source_video"]
    info = probe(source)
    video = require_video(source, info)
    if video.is_interlaced:
        ctx.progress.note(f"{source.name}: interlaced; it is deinterlaced on reading")
    timeline = scan_timeline(source, info, ctx.progress)
    with writing_to(out_dir):
        (out_dir / "media.json").write_text(info.model_dump_json(indent=1), encoding="utf-8")
        timeline.save(out_dir / "timeline.npz")


DEMUX = Stage(
    name="demux",
    version=2,
    inputs=("source_video",),
    outputs={"media": "media.json", "timeline": "timeline.npz"},
    settings=_settings,
    run=demux,
)
