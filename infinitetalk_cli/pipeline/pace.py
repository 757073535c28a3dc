"""How long a chunk took on this machine before: the only ground on which a time is forecast."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from infinitetalk_cli.cache.files import write_text_atomic
from infinitetalk_cli.cache.fingerprint import fingerprint
from infinitetalk_cli.checkpoints.files import TRANSFORMER
from infinitetalk_cli.errors import InfiniteTalkError

if TYPE_CHECKING:
    from pathlib import Path

    from infinitetalk_cli.pipeline.request import Prepared

logger = logging.getLogger(__name__)

_CHANGES_NO_TIME = ("seed", "prompt", "negative_prompt")


class Pace(BaseModel):
    """The longest unbroken run of `generate` with equal settings: its chunks, and all of its seconds, loading too."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    num_chunks: int = Field(ge=1)
    seconds: float = Field(gt=0)

    @property
    def seconds_per_chunk(self) -> float:
        """What a chunk took."""
        return self.seconds / self.num_chunks


def known_pace(prepared: Prepared, picture_size: tuple[int, int]) -> Pace | None:
    """What was measured on this device with these settings, at this (width, height)."""
    try:
        return Pace.model_validate_json(_path(prepared, picture_size).read_bytes())
    except (OSError, ValidationError):
        return None


def remember_pace(prepared: Prepared, picture_size: tuple[int, int], num_chunks: int, seconds: float) -> None:
    """Keep what a run that made all chunks took, unless a longer one is known."""
    known = known_pace(prepared, picture_size)
    if seconds <= 0 or (known is not None and known.num_chunks > num_chunks):
        return
    path = _path(prepared, picture_size)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text_atomic(path, Pace(num_chunks=num_chunks, seconds=seconds).model_dump_json())
    except (OSError, InfiniteTalkError) as exc:  # a job does not fail for want of a forecast
        logger.debug("%s: not kept (%s)", path, exc)


def _path(prepared: Prepared, picture_size: tuple[int, int]) -> Path:
    """Named by all that decides how long a chunk takes."""
    profile = prepared.job.profile
    sampling = {key: value for key, value in profile.sampling.model_dump().items() if key not in _CHANGES_NO_TIME}
    shared = {"processes": prepared.request.num_processes} if prepared.request.num_processes > 1 else {}
    key = fingerprint(
        {
            **shared,
            "device": prepared.device.facts.name,
            "transformer": prepared.weights.revisions.get(TRANSFORMER),
            "size": list(picture_size),
            "people": 1 if prepared.job.people is None else 2,
            "sampling": sampling,
            "chunks": profile.chunks.model_dump(),
            "camera": profile.camera.lock,  # chunks that are not locked have more steps
            "compute": profile.compute.model_dump(),
            "memory": profile.memory.model_dump(),
        }
    )
    return prepared.store.root / "pace" / f"{key}.json"
