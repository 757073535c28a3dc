"""What a rendered world is like: how many characters, in what pictures, how restless."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, PositiveInt

Share = Annotated[float, Field(ge=0, le=1)]


class Settings(BaseModel):
    """Base of all settings here: frozen, no unknown keys, no silent conversions."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class PictureSize(Settings):
    """One size of the rendered clips, and how many of all clips have it."""

    height: Annotated[int, Field(gt=0, multiple_of=16)]
    width: Annotated[int, Field(gt=0, multiple_of=16)]
    share: Share


class WorldSettings(Settings):
    """The rendered clips: how many characters, how long, how restless.

    head_motion and camera_motion: range of the amplitude, 0 still .. 1 free, drawn for each clip; camera_pan,
    camera_zoom and camera_shake: how much of the camera's amplitude each gets. hands: share of characters that
    gesture. twins: every clip is drawn twice, with other words in the mouth, for the camera branch.
    """

    num_clips: PositiveInt
    clips_per_shard: PositiveInt
    clip_frames: Annotated[int, Field(ge=5)]
    sizes: Annotated[tuple[PictureSize, ...], Field(min_length=1)]
    head_motion: tuple[Share, Share]
    camera_motion: tuple[Share, Share]
    camera_pan: Share = 1.0
    camera_zoom: Share = 1.0
    camera_shake: Share = 0.5
    hands: Share = 0.0
    twins: bool = False
    seed: int


class WorldRange(Settings):
    """Another world of the same make: what differs from the section `world`."""

    head_motion: tuple[Share, Share] | None = None
    camera_motion: tuple[Share, Share] | None = None
    camera_pan: Share | None = None
    camera_zoom: Share | None = None
    camera_shake: Share | None = None
    hands: Share | None = None
    num_clips: PositiveInt | None = None
    seed: int | None = None

    def of(self, world: WorldSettings) -> WorldSettings:
        """`world` with these differences."""
        return world.model_copy(update=self.model_dump(exclude_none=True))
