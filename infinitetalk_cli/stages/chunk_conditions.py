"""What one chunk is generated from: reference, context, voices, noise, and the source where it is followed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from infinitetalk_cli.stages.camera_render import CameraRender
from infinitetalk_cli.stages.chunk_files import read_kept_frames
from infinitetalk_cli.stages.generate_settings import GenerateSettings, TwoPeopleSettings, sampling_settings
from infinitetalk_cli.stages.keyframes import ChunkPlan
from infinitetalk_cli.stages.planned_chunk import PlannedChunk
from infinitetalk_cli.stages.regions import person_regions
from infinitetalk_cli.stages.source_pixels import SourcePixels
from infinitetalk_cli.units import FrameSpan

if TYPE_CHECKING:
    from torch import Tensor

    from infinitetalk_cli.media.probe import VideoInfo
    from infinitetalk_cli.models.camera_control import ControlVideo
    from infinitetalk_cli.models.dubbing_model import ChunkConditions, DubbingModel

PREVIOUS_FRAMES = 9
"""As many as the published context: enough to tell the usual change from frame to frame."""


def read_context(folder: Path, plan: ChunkPlan, chunk: PlannedChunk) -> np.ndarray | None:
    """Frames (c, h, w, 3) that the chunk continues from; None where a scene begins."""
    if chunk.new_start == chunk.start_frame:
        return None
    return np.stack(list(read_kept_frames(folder, plan, FrameSpan(chunk.start_frame, chunk.new_start))))


def read_previous(folder: Path, plan: ChunkPlan, chunk: PlannedChunk, context: np.ndarray | None) -> np.ndarray:
    """The last frames (k, h, w, 3) before the chunk's new ones; none where a stream begins. See `read_context`."""
    if context is not None:
        return context
    if chunk.index_in_scene == 0:
        return np.empty((0, 1, 1, 3), np.uint8)
    span = FrameSpan(max(plan.chunks[chunk.index - 1].new_start, chunk.new_start - PREVIOUS_FRAMES), chunk.new_start)
    return np.stack(list(read_kept_frames(folder, plan, span)))


def person_masks(
    video: VideoInfo, size: tuple[int, int], settings: GenerateSettings, spatial_stride: int
) -> Tensor | None:
    """Where the two people are in the latents; None for one person, who is everywhere."""
    if not isinstance(settings, TwoPeopleSettings):
        return None
    grid = (size[0] // spatial_stride, size[1] // spatial_stride)
    return person_regions(video, settings.boxes, settings.geometry, size, grid)


def chunk_conditions(
    model: DubbingModel,
    chunk: PlannedChunk,
    source: SourcePixels,
    context: np.ndarray | None,
    embeddings: np.ndarray,
    masks: Tensor | None,
    settings: GenerateSettings,
    attempt: int = 0,
    render: CameraRender | None = None,
) -> ChunkConditions:
    """What the model is given for `chunk`; `context` comes from `read_context`, `masks` from `person_masks`.

    Every `attempt` at a chunk has its own noise. The camera branch looks at `render`, or at the source without one.
    """
    from infinitetalk_cli.models import chunking
    from infinitetalk_cli.models.conditioning import audio_windows
    from infinitetalk_cli.models.dubbing_model import ChunkConditions
    from infinitetalk_cli.models.geometry import pixels_from_frames
    from infinitetalk_cli.models.sampling import chunk_noise

    num_frames, codec = chunk.num_frames, model.codec
    voices = [embeddings] if masks is None else list(embeddings)
    rows: np.ndarray | int = len(voices[0])
    if settings.chunks.tail == "mirror":
        rows = chunking.mirrored_rows(rows, chunk.start_frame + num_frames)
    window = chunking.window_rows(chunk.start_frame, num_frames, rows)
    noise_shape = (
        1,
        codec.latent_channels,
        chunking.latent_frames(num_frames, codec.temporal_stride),
        *(side // codec.spatial_stride for side in source.size),
    )
    first_frame = settings.post.color_match_reference == "first_frame"
    start, control = _followed(chunk, source, settings, render)
    context_pixels = None if context is None else pixels_from_frames(context)
    return ChunkConditions(
        reference=_reference(chunk, source, context_pixels),
        audio=audio_windows(voices, [window] * len(voices)),
        noise=chunk_noise(settings.sampling.seed, chunk.scene, chunk.index_in_scene, attempt, noise_shape),
        context=context_pixels,
        person_masks=masks,
        source=start,
        ending=source.pixels(chunk.ending_indices) if chunk.ending_indices else None,  # by then it has been read
        color_reference=source.pixels([source.index_at(0)]) if first_frame else None,
        control=control,
    )


def _followed(
    chunk: PlannedChunk, source: SourcePixels, settings: GenerateSettings, render: CameraRender | None
) -> tuple[Tensor | None, ControlVideo | None]:
    """The source under `chunk` where denoising starts from it, and what the camera branch looks at.

    Both show at their frame k what belongs to the chunk's frame k, context frames included. Behind the source's end its
    last frame is held: unsteered, a chunk there would jump back to the view of its reference.
    """
    from infinitetalk_cli.models.camera_control import ControlVideo

    sampling = sampling_settings(settings, chunk)
    starts_there, steers = sampling.sdedit_t0 < 1, sampling.control is not None and sampling.control.is_on
    frames, indices = followed_frames(chunk, source)
    pixels = source.pixels(indices) if starts_there or (steers and render is None) else None
    control = None
    if steers and render is not None:
        control = render.window(frames, source.pixels(indices[:1]))
    elif steers:
        control = ControlVideo(pixels)
    return pixels if starts_there else None, control


def followed_frames(chunk: PlannedChunk, source: SourcePixels) -> tuple[list[int], list[int]]:
    """The model frames of `chunk`, and the source frames on screen there.

    What lies past the end of its new frames is dropped, and may belong to the next scene: the last one is held.
    """
    span = range(chunk.start_frame, chunk.start_frame + chunk.num_frames)
    frames = [min(frame, chunk.new_stop - 1) for frame in span]
    return frames, [source.index_at(frame) for frame in frames]


def _reference(chunk: PlannedChunk, source: SourcePixels, context: Tensor | None) -> Tensor:
    """The frame (1, 3, 1, h, w) that the chunk looks at: the source's, or the last one that was generated."""
    if chunk.reference == "previous":
        assert context is not None, "an i2v chunk goes on from the one before"
        return context[:, :, -1:]
    return source.pixels([chunk.reference_index])
