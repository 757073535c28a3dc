"""What the steps of a run share: their order among processes, what they find, and where clips come from."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from accelerate import PartialState

from infinitetalk_cli.errors import InputError, ProfileError
from infinitetalk_cli.train.settings import TrainSettings
from infinitetalk_cli.train.videos import SUFFIXES

log = logging.getLogger(__name__)


def run_steps(recipe: object, steps: Sequence[str], together: Sequence[str], cpu: bool) -> None:
    """Run the methods `steps` of `recipe`; of several processes only the main one, but for those `together`."""
    state = PartialState(cpu=cpu)
    for name in steps:
        if name in together or state.is_main_process:
            log.info("step %s", name)
            getattr(recipe, name)()
        state.wait_for_everyone()


def shards_in(folder: Path) -> list[Path]:
    """The shards of a step before this one, in order; `InputError` if there are none."""
    paths = sorted(folder.glob("shard-*.safetensors"))
    if not paths:
        raise InputError(f"{folder}: holds no shards; run the steps before this one first")
    return paths


def wants_videos(settings: TrainSettings, data: Path | None) -> bool:
    """Whether clips come from the videos in `data`."""
    if settings.world is None and data is None:
        raise ProfileError(f"configuration {settings.name} trains on your videos; name their folder with --data DIR")
    if data is None:
        return False
    has_videos = data.is_dir() and any(path.suffix.lower() in SUFFIXES for path in data.rglob("*"))
    if settings.videos is None and has_videos:
        raise ProfileError(
            f"{data}: holds videos, and configuration {settings.name} has no section videos; use finetune-nano, or add "
            "videos and parts_from (codec and audio encoder learn from rendered clips, whose mouths are known)"
        )
    if has_videos and settings.parts_from is None:
        raise ProfileError(
            f"{data}: holds videos; the codec and audio encoder of configuration {settings.name} learn from rendered "
            "clips, whose mouths are known: take trained ones with parts_from: nano"
        )
    return settings.world is None or has_videos
