"""All figures of one video about one clip, from the known truth. A copy of the source and the true dub are videos too.

Legend: t frames, k frames looked at, h rows, w columns; pixels (3, t, h, w) in [-1, 1]. Figures that end in
`_of_chunks` have a value per chunk of the profile's own plan, so that methods whose chunks differ are compared at the
same times.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from infinitetalk_cli.evaluate.synthetic import lips
from infinitetalk_cli.evaluate.synthetic.appearance import appearance
from infinitetalk_cli.evaluate.synthetic.clips import Case
from infinitetalk_cli.evaluate.synthetic.motion import camera_error, track_head, true_camera, true_head
from infinitetalk_cli.evaluate.synthetic.tracking import Track, centred_grid
from infinitetalk_cli.models.geometry import pixels_from_frames
from infinitetalk_cli.models.mouth_probe import MouthProbe, read_mouths
from infinitetalk_cli.quality.colour import palette, palette_distance
from infinitetalk_cli.quality.likeness import likeness
from infinitetalk_cli.stages.planned_chunk import PlannedChunk

VERSION = 3
"""Raised when equal videos would give other figures."""

Figures = dict[str, float | list[float]]

_REACH = 0.008
"""A head this near to the reference's place is at it, as a share of the picture's side (96 px: 0.77 px)."""


_EQUAL_DB = 99.0
"""Given for pictures without a difference."""


def figures_of(frames_u8: np.ndarray, case: Case, chunks: Sequence[PlannedChunk], probe: MouthProbe) -> Figures:
    """Every figure of a video (t, h, w, 3) made from `case` in `chunks`."""
    pixels = pixels_from_frames(frames_u8)[0]
    looked = pixels[:, torch.from_numpy(case.looked_at)]
    return (
        mouth_figures(pixels, case, probe)
        | picture_figures(pixels, case)
        | seam_figures(lips.frame_changes(pixels), chunks)
        | drift_figures(looked, frames_u8, case, chunks)
    )


def mouth_figures(pixels: Tensor, case: Case, probe: MouthProbe) -> Figures:
    """Openness and width as the probe reads them where the source's mouth is, against the speech's own."""
    spoken, own = (torch.from_numpy(mouth.stacked()) for mouth in (case.spoken, case.clip.mouth))
    openness, width = read_mouths(probe, pixels, torch.from_numpy(case.clip.mouth_px)).unbind(1)
    return {
        "lip": lips.correlation(openness, spoken[:, 0]),
        "lip_of_chunks": [lips.correlation(openness[s], spoken[s, 0]) for s in case.spans],
        "lip_shuffled": lips.correlation(openness, torch.from_numpy(case.third.openness)),
        "lip_with_source": lips.correlation(openness, own[:, 0]),
        "true_with_source": lips.correlation(spoken[:, 0], own[:, 0]),
        "width": lips.correlation(width, spoken[:, 1]),
        "amplitude": float(openness.std() / spoken[:, 0].std().clamp(min=1e-6)),
        "lag_curve": lips.lag_curve(openness, spoken[:, 0], lips.WIDE_LAGS),
    }


def picture_figures(pixels: Tensor, case: Case) -> Figures:
    """The picture beside the true dub and the source, place by place: of use where heads and camera hardly move."""
    mouth, keep = (case.mouth_bumps > 0.5).float(), lips.outside(case.mouth_bumps.amax(0))
    still = case.wanted[:, :1].expand_as(case.wanted)
    changes, source_changes = lips.frame_changes(pixels), lips.frame_changes(case.source)
    return {
        "color_error_of_chunks": [lips.color_error(pixels[:, s], case.source[:, s], keep) for s in case.spans],
        "change_over_source": float(changes.mean() / source_changes.mean()),
        "psnr_outside_mouth": min(_EQUAL_DB, lips.psnr(pixels, case.source, keep.float())),
        "psnr_mouth": min(_EQUAL_DB, lips.psnr(pixels, case.wanted, mouth)),
        "psnr_mouth_still": min(_EQUAL_DB, lips.psnr(still, case.wanted, mouth)),
        "mouth_sharpness": lips.sharpness(pixels, mouth) / lips.sharpness(case.wanted, mouth),
    }


def seam_figures(changes: Tensor, chunks: Sequence[PlannedChunk]) -> Figures:
    """How much the picture changes where a chunk begins, from `frame_changes` (t - 1,).

    Over the mean and the median of all other changes, and over those where groups of four frames begin inside chunks:
    a codec that joins them shows there a little too.
    """
    is_seam = torch.zeros(len(changes), dtype=torch.bool)
    is_group = torch.zeros_like(is_seam)
    for chunk in chunks:
        new = torch.arange(chunk.new_start, chunk.new_stop)
        begins = new[(new - chunk.start_frame) % lips.GROUP == 1]
        is_group[begins[begins > 0] - 1] = True
        if chunk.new_start:
            is_seam[chunk.new_start - 1] = True
    is_group &= ~is_seam
    inside, groups = changes[~is_seam], changes[is_group]
    figures: Figures = {"group_over_mean": float(groups.mean() / inside.mean())} if len(groups) else {}
    if is_seam.any():
        at_seam = changes[is_seam].mean()
        figures |= {"seam_over_mean": float(at_seam / inside.mean()), "seam_levels": float(at_seam)}
        figures["seam_over_median"] = float(at_seam / inside.median().clamp(min=1e-3))
        figures["seam_over_groups"] = float(at_seam / groups.mean())
    return figures


def drift_figures(looked: Tensor, frames_u8: np.ndarray, case: Case, chunks: Sequence[PlannedChunk]) -> Figures:
    """Looks of head and background, camera and head's place, by the frames looked at (3, k, h, w)."""
    first, regions, truth = case.source[:, 0], case.regions, case.looked_clip
    head, camera = track_head(looked, truth, regions), case.camera_of(looked)
    face = appearance(looked, head, first, regions.head, regions.before_head, case.looks)
    back = appearance(looked, camera, first, regions.background, regions.before_background, case.looks)
    figures: Figures = {
        "color_of_chunks": face.color,
        "likeness_of_chunks": face.likeness,
        "background_of_chunks": back.color,
        "background_likeness_of_chunks": back.likeness,
        "background_off": _background_off(looked, case),
    }
    figures |= _as_the_report_has_it(frames_u8, case)
    figures["background_likeness"] = float(np.mean(back.likeness))
    for name in ("color", "likeness", "background", "palette", "edges"):
        by_chunk = figures[f"{name}_of_chunks"]
        figures |= {f"{name}_slope": slope(by_chunk), f"{name}_last": by_chunk[-1], f"{name}_first": by_chunk[0]}
    if case.camera_moves:
        error = camera_error(camera, truth)
        figures |= {"pan_px": error.place_px, "zoom_percent": 100 * error.zoom, "roll_deg": error.roll_deg}
        figures["camera_followed"] = _followed(camera, true_camera(truth))
    return figures | _head_figures(head, case, chunks)


def _background_off(looked: Tensor, case: Case) -> float:
    """Mean difference from the source's background, place by place and at the same time, in levels of 255.

    What stands before it is left out, frame by frame. A camera that goes elsewhere shows here, and so does a background
    that is another one.
    """
    source = case.source[:, torch.from_numpy(case.looked_at)]
    behind = 1 - case.regions.before_background
    difference = (looked - source).abs().mean(0)
    return float((difference * behind).sum() / behind.sum().clamp(min=1)) * lips.LEVELS


def slope(by_chunk: Sequence[float]) -> float:
    """Rise per chunk of a straight line through the values; 0 for a single one."""
    if len(by_chunk) < 2:
        return 0.0
    return float(np.polyfit(np.arange(len(by_chunk)), by_chunk, 1)[0])


def _as_the_report_has_it(frames_u8: np.ndarray, case: Case) -> Figures:
    """Colours and edges as the report of a dub compares them: with the source's frame of the same time."""
    made, own = (frames[case.looked_at] for frames in (frames_u8, case.clip.frames_u8))
    distance = palette_distance(palette(made), palette(own))
    alike = np.array([likeness(one, other) for one, other in zip(made, own, strict=True)])
    return {
        "palette_of_chunks": [float(distance[s].mean()) for s in case.looks],
        "edges_of_chunks": [float(alike[s].mean()) for s in case.looks],
    }


def _followed(found: Track, truth: Track) -> float:
    """How much of the camera's true travel is made: 1 all, 0 nothing (projection of the found track on the true)."""
    one, other = (track.shift - track.shift.mean() for track in (found, truth))
    return float((one * other.conj()).real.sum() / other.abs().square().sum().clamp(min=1e-9))


@dataclass(frozen=True)
class _Path:
    """Where the middle of the head is, (k,) complex pixels from the middle of the picture."""

    place: Tensor

    @staticmethod
    def of(track: Track, region: Tensor) -> _Path:
        grid = centred_grid(*region.shape)
        middle = complex((grid * region).sum() / region.sum())
        return _Path(track.shift + track.factor * middle)

    @property
    def around(self) -> Tensor:
        return self.place - self.place.mean()


def _head_figures(head: Track, case: Case, chunks: Sequence[PlannedChunk]) -> Figures:
    """How the head moves: with the source's head, and how near to where it is in the reference frame."""
    truth, looked_at = case.looked_clip, case.looked_at
    found, true = (_Path.of(track, case.regions.head) for track in (head, true_head(truth)))
    products = (found.around * true.around.conj()).real.sum()
    sizes = found.around.abs().square().sum(), true.around.abs().square().sum()
    whole = _Path.of(true_head(case.clip), case.regions.head).place
    references = torch.stack([whole[_chunk_at(int(frame), chunks).reference_index] for frame in looked_at])
    away = (found.place - references).abs()
    at_end, in_middle = _ends_and_middles(looked_at, chunks)
    reach_px = _REACH * min(case.clip.frames_u8.shape[1:3])
    figures: Figures = {
        "head_off_px": float((found.place - true.place).abs().mean()),
        "head_with_source": float(products / (sizes[0] * sizes[1]).sqrt().clamp(min=1e-9)),
        "head_motion": float((sizes[0] / sizes[1].clamp(min=1e-9)).sqrt()),
        "at_reference": float((away < reach_px).float().mean()),
    }
    if at_end.any() and in_middle.any():
        figures["end_over_middle"] = float(away[at_end].mean() / away[in_middle].mean().clamp(min=1e-6))
    return figures


def _chunk_at(frame: int, chunks: Sequence[PlannedChunk]) -> PlannedChunk:
    return next(chunk for chunk in chunks if frame < chunk.new_stop)


def _ends_and_middles(looked_at: np.ndarray, chunks: Sequence[PlannedChunk]) -> tuple[Tensor, Tensor]:
    """(k,) bool: frames in the last eighth of their chunk, and in the middle half of it."""
    shares = []
    for frame in looked_at.tolist():
        chunk = _chunk_at(frame, chunks)
        shares.append((frame - chunk.new_start) / max(chunk.new_stop - 1 - chunk.new_start, 1))
    share = torch.tensor(shares)
    return share > 1 - 1 / 8, (share > 1 / 4) & (share < 3 / 4)
