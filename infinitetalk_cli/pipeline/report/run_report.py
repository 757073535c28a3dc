"""The report of a run: what it was made from, what became of every chunk, and how far the result drifts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from infinitetalk_cli import __version__
from infinitetalk_cli.config.profile import Profile
from infinitetalk_cli.pipeline.camera import scene_strengths
from infinitetalk_cli.pipeline.request import Prepared
from infinitetalk_cli.pipeline.runner import RunReport
from infinitetalk_cli.stages.attempts import ChunkRecord
from infinitetalk_cli.stages.audio_embedding import read_track
from infinitetalk_cli.stages.inspection import INSPECTION, Inspection, read_inspection, thumbnail_file
from infinitetalk_cli.stages.keyframes import ChunkPlan, read_plan
from infinitetalk_cli.stages.planned_chunk import PlannedChunk
from infinitetalk_cli.units import frame_time

SCHEMA = 1

ARTEFACTS = tuple(INSPECTION.outputs)
"""What a report is made from, besides what every job leaves."""


@dataclass(frozen=True)
class Report:
    """The content of `NAME.report.json`, and for the sheet the thumbnails of every chunk."""

    document: dict[str, Any]
    thumbnails: tuple[Path, ...]

    @property
    def num_flagged(self) -> int:
        """Chunks of which no attempt passed."""
        return self.document["summary"]["num_flagged"]


def make_report(prepared: Prepared, run: RunReport, seconds: float) -> Report:
    """The report of a finished run that took `seconds`."""
    plan, track = read_plan(run.artefacts["plan"]), read_track(run.artefacts["track"])
    inspection = read_inspection(run.artefacts["inspection"])
    chunks = [_chunk(chunk, record) for chunk, record in zip(plan.chunks, inspection.chunks, strict=True)]
    document = {
        "schema": SCHEMA,
        "made_by": f"infinitetalk {__version__}",
        "finished_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "output": prepared.destination.output.name,
        "sources": {
            name: {"file": source.path.name, "sha256": source.sha256} for name, source in prepared.sources.items()
        },
        "seconds": round(seconds, 3),
        "stages": [asdict(stage) for stage in run.stages],
        "summary": {
            "num_chunks": len(chunks),
            "num_drawn_again": sum(len(record.attempts) > 1 for record in inspection.chunks),
            "num_flagged": sum(record.is_flagged for record in inspection.chunks),
            "not_checked": sorted({gate for record in inspection.chunks for gate in record.not_checked}),
        },
        "plan": _plan(plan, float(track.duration_s)),
        "chunks": chunks,
        "drift": _drift(inspection),
        "camera": _camera(plan, inspection, prepared.job.profile),
        "profile": prepared.job.profile.model_dump(mode="json"),
    }
    folder = run.artefacts["thumbnails"]
    return Report(document, tuple(thumbnail_file(folder, chunk.index) for chunk in plan.chunks))


def _plan(plan: ChunkPlan, duration_s: float) -> dict[str, Any]:
    return {
        "duration_s": duration_s,
        "num_frames": plan.num_frames,
        "num_kept_frames": plan.num_kept,
        "scenes": [
            {
                "start_s": float(frame_time(scene.start_frame)),
                "begins": scene.kind,
                "num_chunks": plan.chunks_in(scene),
            }
            for scene in plan.scenes
        ],
    }


def _chunk(chunk: PlannedChunk, record: ChunkRecord) -> dict[str, Any]:
    return {
        "index": chunk.index,
        "start_s": float(frame_time(chunk.new_start)),
        "stop_s": float(frame_time(chunk.new_stop)),
        "stream": chunk.scene,
        "attempt": record.attempt,
        "flagged": record.is_flagged,
        "reasons": list(record.chosen.reasons),
        "attempts": [attempt.model_dump(mode="json") for attempt in record.attempts],
    }


def _drift(inspection: Inspection) -> dict[str, Any]:
    return {
        "delta_e": "mean CIEDE2000 between the palettes of the result's frame and the source's own at the same time",
        "likeness": "0-1, edges of the two frames compared cell by cell; knows no faces from each other",
        "num_unreadable": inspection.num_unreadable,
        "minutes": _plain(inspection.minutes),
        "samples": _plain(inspection.samples),
    }


def _camera(plan: ChunkPlan, inspection: Inspection, profile: Profile) -> dict[str, Any]:
    rows = []
    for found in inspection.camera:
        scene = plan.scenes[found.scene]
        sdedit, uni3c = scene_strengths(profile, scene)
        rows.append(
            {
                "start_s": float(frame_time(scene.start_frame)),
                "sdedit_strength": sdedit,
                "uni3c_strength": uni3c,
                **found.model_dump(mode="json", exclude={"scene"}),
            }
        )
    return {
        "error_px": "root mean square distance between where the result's camera and the source's show a point of the "
        "scene, both around their mean, at the size that is generated; null: no background to judge it by",
        "source_px": "the same for a camera that stands still: how far the source's moves",
        "scenes": rows,
    }


def _plain(rows: Sequence[Any]) -> list[dict[str, Any]]:
    """Rows as plain data, without what was not measured."""
    return [{name: value for name, value in asdict(row).items() if value is not None} for row in rows]
