"""How well nano dubs characters it never met, with voices and words it never heard: truth is known.

Every held-out clip gets the speech of the next one, so a model cannot score by copying its source's mouth.
Beside each figure stands what bounds it: the probe on true and on decoded frames, the audio encoder alone, the
correlation with a third clip's mouth, which a blind model would reach too (all clips begin with silence), and how
much a perfect dub's mouth resembles the source's.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor

from infinitetalk_cli.evaluate import lips
from infinitetalk_cli.models.chunking import plan_chunks, window_rows
from infinitetalk_cli.models.conditioning import audio_windows
from infinitetalk_cli.models.geometry import frames_from_pixels, pixels_from_frames
from infinitetalk_cli.models.mouth_probe import MouthProbe, read_mouths
from infinitetalk_cli.models.nano_audio import NanoAudioEncoder
from infinitetalk_cli.models.nano_codec import NanoCodec
from infinitetalk_cli.models.sampling import chunk_noise
from infinitetalk_cli.models.sampling_settings import SamplingSettings
from infinitetalk_cli.models.smoothing import hold_small_changes
from infinitetalk_cli.models.streaming import ChunkConditions, DubbingModel, generate_chunk
from infinitetalk_cli.models.transformer import InfiniteTalkTransformer3DModel
from infinitetalk_cli.progress import Progress
from infinitetalk_cli.train.codec_fit import mouth_map
from infinitetalk_cli.train.dataset import HELD_OUT_FIRST_SEED, spoken_clip
from infinitetalk_cli.train.world import Clip, render
from infinitetalk_cli.units import MODEL_RATE

CHUNK_FRAMES, CONTEXT_FRAMES = 81, 9
_FIRST_SEED = HELD_OUT_FIRST_SEED + 1000
_HEAD_MOTION = 0.03
_SIZE_PX = 96


class Settings(BaseModel):
    """What is measured."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    num_clips: int = 8
    num_chunks: int = 3
    num_steps: int = 4
    timestep_shift: float = 4.0
    audio_guidance_scale: float = 2.0
    temporal_smoothing: float = 0.75
    seed: int = 42

    @property
    def num_frames(self) -> int:
        """Frames of every clip."""
        return CHUNK_FRAMES + (self.num_chunks - 1) * (CHUNK_FRAMES - CONTEXT_FRAMES)


class Report(BaseModel):
    """Means over clips unless said otherwise; correlations are of mouth tracks, colours in levels of 255."""

    model_config = ConfigDict(frozen=True)

    settings: Settings
    lip_correlation: float
    lip_correlation_of_clips: list[float]
    lip_correlation_of_chunks: list[float]
    lip_correlation_shuffled: float
    lip_correlation_with_source: float
    true_correlation_with_source: float
    lag_curve: list[float]
    width_correlation: float
    amplitude: float
    probe_on_truth: tuple[float, float]
    probe_on_codec: tuple[float, float]
    audio_alone: tuple[float, float]
    color_error_of_chunks: list[float]
    color_error_worst_clip: float
    color_error_codec: float
    seam_over_boundaries: float | None
    seam_over_median_change: float | None
    boundary_over_mean_change: float
    boundary_over_mean_change_source: float
    change_over_source: float
    psnr_outside_mouth: float
    psnr_mouth: float
    psnr_mouth_codec: float
    psnr_mouth_still: float
    mouth_sharpness: float
    times_realtime: float


@dataclass(frozen=True)
class Nano:
    """The parts of the shipped model, and the judge."""

    model: DubbingModel
    encoder: NanoAudioEncoder
    probe: MouthProbe


@dataclass(frozen=True)
class Dub:
    """A held-out clip, the speech it is given, and the result; pixels (3, t, h, w)."""

    clip: Clip
    speaker: Clip
    waveform: np.ndarray
    pixels: Tensor
    seconds: float


def load_nano(folder: Path) -> Nano:
    """The model in `folder` (as shipped, or the `weights/` of a training run), on the CPU."""
    codec = NanoCodec.from_pretrained(folder / "codec", torch_dtype=torch.float32)
    transformer = InfiniteTalkTransformer3DModel.from_pretrained(folder / "transformer", torch_dtype=torch.float32)
    encoder = NanoAudioEncoder.from_pretrained(folder / "audio_encoder", torch_dtype=torch.float32)
    probe = MouthProbe.from_pretrained(folder / "probe", torch_dtype=torch.float32)
    return Nano(DubbingModel(transformer.eval(), codec.eval()), encoder.eval(), probe.eval())


def dub_clip(nano: Nano, frames_u8: np.ndarray, waveform: np.ndarray, settings: Settings) -> Tensor:
    """Pixels (3, t, h, w) of a dub as the pipeline makes it: one reference frame, chunks with context."""
    num_frames = len(frames_u8)
    sampling = SamplingSettings(
        num_steps=settings.num_steps,
        timestep_shift=settings.timestep_shift,
        last_timestep=None,
        audio_guidance_scale=settings.audio_guidance_scale,
    )
    rows = torch.cat(list(nano.encoder.encode(waveform, num_frames))).numpy()
    reference = pixels_from_frames(frames_u8[:1])
    codec = nano.model.codec
    height, width = (size // codec.spatial_stride for size in frames_u8.shape[1:3])
    shape = (1, codec.latent_channels, 1 + (CHUNK_FRAMES - 1) // codec.temporal_stride, height, width)
    kept: list[Tensor] = []
    for chunk in plan_chunks(num_frames, CHUNK_FRAMES, CONTEXT_FRAMES):
        windows = audio_windows([rows], [window_rows(chunk.start_frame, chunk.num_frames, num_frames)])
        context = None if chunk.is_first else torch.cat(kept, dim=2)[:, :, -CONTEXT_FRAMES:]
        noise = chunk_noise(settings.seed, chunk.scene, chunk.index, 0, shape)
        conditions = ChunkConditions(reference=reference, audio=windows, noise=noise, context=context)
        pixels = generate_chunk(nano.model, conditions, sampling)
        pixels = pixels[:, :, chunk.num_context : chunk.new_stop - chunk.start_frame]
        previous = kept[-1][:, :, -1] if kept else None
        pixels = hold_small_changes(pixels, previous, settings.temporal_smoothing)
        kept.append(pixels_from_frames(frames_from_pixels(pixels)))  # what a saved chunk gives back
    return torch.cat(kept, dim=2)[0]


def dub_held_out(nano: Nano, settings: Settings, progress: Progress) -> list[Dub]:
    """Each held-out clip with the speech of the next."""
    progress.start("rendering held-out characters", settings.num_clips)
    made = []
    for index in range(settings.num_clips):
        seed = _FIRST_SEED + index
        made.append(spoken_clip(seed, settings.num_frames, _SIZE_PX, _SIZE_PX, _HEAD_MOTION, held_out=True))
        progress.advance()
    progress.start("dubbing them", settings.num_clips)
    dubs = []
    for index, (clip, _) in enumerate(made):
        speaker, waveform = made[(index + 1) % len(made)]
        started = time.perf_counter()
        pixels = dub_clip(nano, clip.frames_u8, waveform, settings)
        dubs.append(Dub(clip, speaker, waveform, pixels, time.perf_counter() - started))
        progress.advance()
    return dubs


def measure(folder: Path, settings: Settings, progress: Progress) -> Report:
    """All figures of the weights in `folder`."""
    nano = load_nano(folder)
    dubs = dub_held_out(nano, settings, progress)
    third = [dubs[(index + 1) % len(dubs)].speaker for index in range(len(dubs))]
    progress.start("measuring", len(dubs))
    rows = []
    for dub, other in zip(dubs, third, strict=True):
        rows.append(_lip_figures(nano, dub, other, settings) | _picture_figures(nano, dub, settings))
        progress.advance()

    def average(name: str) -> float:
        return mean(row[name] for row in rows)

    def averages(name: str) -> list[float]:
        return [mean(values) for values in zip(*(row[name] for row in rows), strict=True)]

    plain = [name for name, kind in Report.model_fields.items() if name in rows[0] and kind.annotation is float]
    listed = [name for name in Report.model_fields if name in rows[0] and isinstance(rows[0][name], (list, tuple))]
    values = {name: average(name) for name in plain} | {name: averages(name) for name in listed}
    for name in ("seam_over_boundaries", "seam_over_median_change"):
        values[name] = average(name) if settings.num_chunks > 1 else None
    return Report(
        settings=settings,
        lip_correlation_of_clips=[row["lip_correlation"] for row in rows],
        color_error_worst_clip=max(mean(row["color_error_of_chunks"]) for row in rows),
        times_realtime=len(dubs) * settings.num_frames / float(MODEL_RATE) / sum(dub.seconds for dub in dubs),
        **values,
    )


def _chunk_spans(settings: Settings) -> list[slice]:
    plan = plan_chunks(settings.num_frames, CHUNK_FRAMES, CONTEXT_FRAMES)
    return [slice(chunk.new_start, chunk.new_stop) for chunk in plan]


def _lip_figures(nano: Nano, dub: Dub, third: Clip, settings: Settings) -> dict[str, float | list[float]]:
    where = torch.from_numpy(dub.clip.mouth_px)
    spoken = torch.from_numpy(dub.speaker.mouth.stacked())
    own = torch.from_numpy(dub.clip.mouth.stacked())
    source = pixels_from_frames(dub.clip.frames_u8)
    with torch.inference_mode():
        decoded = nano.model.codec.decode(nano.model.codec.encode(source))[0]
        rows = torch.cat(list(nano.encoder.encode(dub.waveform, len(spoken))))[:, 0]
        heard = nano.encoder.mouth(rows)
    seen = read_mouths(nano.probe, dub.pixels, where)
    on_truth = read_mouths(nano.probe, source[0], where)
    on_codec = read_mouths(nano.probe, decoded, where)
    openness, width = seen.unbind(1)
    chunks = _chunk_spans(settings)
    return {
        "lip_correlation": lips.correlation(openness, spoken[:, 0]),
        "lip_correlation_of_chunks": [lips.correlation(openness[s], spoken[s, 0]) for s in chunks],
        "lip_correlation_shuffled": lips.correlation(openness, torch.from_numpy(third.mouth.openness)),
        "lip_correlation_with_source": lips.correlation(openness, own[:, 0]),
        "true_correlation_with_source": lips.correlation(spoken[:, 0], own[:, 0]),
        "lag_curve": lips.lag_curve(openness, spoken[:, 0]),
        "width_correlation": lips.correlation(width, spoken[:, 1]),
        "amplitude": float(openness.std() / spoken[:, 0].std()),
        "probe_on_truth": [lips.correlation(on_truth[:, i], own[:, i]) for i in (0, 1)],
        "probe_on_codec": [lips.correlation(on_codec[:, i], own[:, i]) for i in (0, 1)],
        "audio_alone": [lips.correlation(heard[i], spoken[:, i]) for i in (0, 1)],
    }


def _picture_figures(nano: Nano, dub: Dub, settings: Settings) -> dict[str, float | list[float]]:
    source = pixels_from_frames(dub.clip.frames_u8)
    with torch.inference_mode():
        decoded = nano.model.codec.decode(nano.model.codec.encode(source))[0]
    size = dub.clip.frames_u8.shape[1:3]
    half = torch.tensor([dub.clip.mouth_half_px])
    bumps = mouth_map(torch.from_numpy(dub.clip.mouth_px).float(), half, *size)
    keep, mouth = lips.outside(bumps.amax(0)), (bumps > 0.5).float()
    # What the dub should look like: the same head and motion, the new mouth.
    wanted = render(dub.clip.character, dub.speaker.mouth, dub.clip.motion, *size)
    truth = pixels_from_frames(wanted.frames_u8)
    with torch.inference_mode():
        truth_decoded = nano.model.codec.decode(nano.model.codec.encode(truth))[0]
    still = truth[0][:, :1].expand_as(truth[0])
    chunks = _chunk_spans(settings)
    changes, source_changes = lips.frame_changes(dub.pixels), lips.frame_changes(source[0])
    joints = lips.boundary_changes(changes, [chunk.start for chunk in chunks[1:]])
    figures = {
        "color_error_of_chunks": [lips.color_error(dub.pixels[:, s], source[0][:, s], keep) for s in chunks],
        "color_error_codec": lips.color_error(decoded, source[0], keep),
        "boundary_over_mean_change": joints["group"],
        "boundary_over_mean_change_source": lips.boundary_changes(source_changes, [])["group"],
        "change_over_source": float(changes.mean() / source_changes.mean()),
        "psnr_outside_mouth": lips.psnr(dub.pixels, source[0], keep.float()),
        "psnr_mouth": lips.psnr(dub.pixels, truth[0], mouth),
        "psnr_mouth_codec": lips.psnr(truth_decoded, truth[0], mouth),
        "psnr_mouth_still": lips.psnr(still, truth[0], mouth),
        "mouth_sharpness": lips.sharpness(dub.pixels, mouth) / lips.sharpness(truth[0], mouth),
    }
    if "seam" in joints:
        figures |= {"seam_over_boundaries": joints["seam"], "seam_over_median_change": joints["seam_median"]}
    return figures
