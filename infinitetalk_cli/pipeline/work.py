"""How much work one profile is beside another: operations of the transformer, which takes nearly all of the time."""

from __future__ import annotations

from infinitetalk_cli.config.profile import Profile
from infinitetalk_cli.models.chunking import mode_context_frames
from infinitetalk_cli.pipeline.footprint import Picture, num_branches, num_tokens
from infinitetalk_cli.pipeline.model_sizes import ModelSize

EXACT_SIDE = 16
"""Both sides of a square picture are rounded to whole patches of the published model."""


def square_picture(profile: Profile) -> Picture:
    """A square source's picture under `profile`, to compare profiles by."""
    side = round(profile.geometry.area_px**0.5 / EXACT_SIDE) * EXACT_SIDE
    return Picture(side, side, profile.chunks.num_frames, profile.model.max_people)


def operations_per_frame(profile: Profile, size: ModelSize, picture: Picture) -> float:
    """Multiplications and additions of the transformer for one new frame of video; step caching is not counted."""
    tokens, transformer = num_tokens(picture, size), size.transformer
    matrices = 2 * tokens * transformer.block_matrix_weights
    attention = 4 * tokens**2 * transformer.dim
    forward = transformer.num_layers * (matrices + attention)
    chunks = profile.chunks
    new_frames = chunks.num_frames - mode_context_frames(chunks.conditioning, chunks.context_frames)
    return profile.sampling.num_steps * num_branches(profile) * forward / new_frames
