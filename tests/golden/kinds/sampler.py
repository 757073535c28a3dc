"""`sampler`: whole videos through the product's chunk loop; codec, encoders and reader are stand-ins.

The published behaviours that we do not share are asked for by name: `published_plan` (when to stop, mirrored
tail, length of the last person), sizes from a bucket table with a centre crop, colours matched to source
frame 0.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cached_property, lru_cache, partial
from typing import Any

import torch
from torch import Tensor

from infinitetalk_cli.models.chunking import Chunk, PublishedPlan, published_plan, window_rows
from infinitetalk_cli.models.conditioning import audio_windows, latent_masks, person_masks
from infinitetalk_cli.models.dubbing_model import ChunkConditions, DubbingModel
from infinitetalk_cli.models.geometry import (
    choose_bucket,
    cover_and_crop,
    cover_and_crop_masks,
    pixels_from_frames,
)
from infinitetalk_cli.models.sampling import Forward
from infinitetalk_cli.models.sampling_settings import ProjectionSettings, SamplingSettings
from infinitetalk_cli.models.streaming import generate_chunk
from infinitetalk_cli.models.transformer import InfiniteTalkTransformer3DModel

from ..harness import Case, Comparison, Golden, GoldenError, check_settings
from .dit import build_transformer
from .stand_ins import BlockCodec, coarse_colors

_LOOP_SETTINGS = ("frame_num", "motion_frame", "sampling_steps", "shift", "max_frames")
_MODE_SETTINGS = (
    *_LOOP_SETTINGS, "text", "audio", "color", "apg", "mom", "thr", "people", "clip", "image", "bbox",
    "chunks", "timesteps_seen_by_model", "source_frame_index_per_chunk", "forwards_per_step", "output_shape",
)  # fmt: skip
_FIXTURES = (
    "source_frames", "audio1", "audio2", "text_cond", "text_null", "clip_matrix",
    "vae_enc", "vae_enc_bias", "vae_enc_tweights", "vae_dec", "vae_dec_tgains",
)  # fmt: skip
_MODE_TENSORS = (
    r"noise|latents|final_latents|frames_lowres|chunk_frames_decoded_lowres|y|audio_windows|ref_target_masks|clip_fea"
    r"|context_latents_chunk\d+|chunk0_step0_forward\d+|unused_motion_noise"
)
_PUBLISHED_LIMIT_FRAMES = 1000
_TIMESTEP_TOLERANCE = 1e-3
"""On the scale of 1000: float32 rounding of one multiplication is 6e-5."""

_FORWARD = re.compile(r"(?P<text>null_)?text\+(?P<audio>null_)?audio(\(B_audio=(?P<people>\d+)\))?")


def cases(golden: Golden) -> list[Case]:
    """One case per mode."""
    modes = golden.setting("modes")
    names = "|".join(re.escape(mode) for mode in modes)
    golden.check_tensors((rf"fixture\.({'|'.join(_FIXTURES)})", rf"({names})\.({_MODE_TENSORS})"))
    loop = golden.setting("loop")
    check_settings(
        f"{golden.path}: loop",
        loop,
        (*_LOOP_SETTINGS, "bucket_table", "bucket_note", "audio_frames_person1", "audio_frames_person2"),
    )
    for name, mode in modes.items():
        check_settings(f"{golden.path}: mode {name}", mode, _MODE_SETTINGS)
    weights = golden.setting("transformer", "weights")
    transformer = lru_cache(partial(build_transformer, golden, golden.setting("transformer", "model"), weights))
    return [Case(name, partial(_compare, golden, transformer, name)) for name in modes]


@dataclass
class ModelCalls:
    """What the transformer was given and gave back, by denoising step of one chunk."""

    latents: list[Tensor] = field(default_factory=list)
    timesteps: list[float] = field(default_factory=list)
    first_outputs: list[Tensor] = field(default_factory=list)
    condition: Tensor | None = None

    def record(self, _module: object, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        latents, timestep = args
        if not self.timesteps or timestep.item() != self.timesteps[-1]:
            self.timesteps.append(timestep.item())
            self.latents.append(latents[0].clone())
        if len(self.timesteps) == 1:
            self.first_outputs.extend(output.sample)
        self.condition = kwargs["condition"][0]


@dataclass(frozen=True, eq=False)
class Mode:
    """One mode of a golden as the product's settings and inputs."""

    golden: Golden
    name: str
    transformer: InfiniteTalkTransformer3DModel

    @cached_property
    def settings(self) -> dict[str, Any]:
        """The loop's settings, with those of the mode on top."""
        return {**self.golden.setting("loop"), **self.golden.setting("modes", self.name)}

    @cached_property
    def fixtures(self) -> dict[str, Tensor]:
        """Shared inputs."""
        names = [f"fixture.{name}" for name in _FIXTURES if f"fixture.{name}" in self.golden.tensors]
        return {name.removeprefix("fixture."): self.golden.tensors[name] for name in names}

    @cached_property
    def noise(self) -> Tensor:
        """Initial noise (chunks, c, t_lat, h_lat, w_lat)."""
        return self.golden.tensor(f"{self.name}.noise")

    @cached_property
    def audio(self) -> list[Any]:
        """Embedding (n, layers, channels) of each person."""
        return [self.fixtures[f"audio{person + 1}"].numpy() for person in range(self.settings["people"])]

    @cached_property
    def source_size(self) -> tuple[int, int]:
        return tuple(self.fixtures["source_frames"].shape[1:3])

    @cached_property
    def size(self) -> tuple[int, int]:
        """Bucket of the source."""
        buckets = {key: tuple(size) for key, size in self.settings["bucket_table"].items()}
        return buckets[choose_bucket(self.source_size, buckets)]

    @cached_property
    def codec(self) -> BlockCodec:
        return BlockCodec(self.fixtures, spatial_stride=self.size[0] // self.noise.shape[-2])

    @cached_property
    def model(self) -> DubbingModel:
        return DubbingModel(
            transformer=self.transformer,
            codec=self.codec,
            image_encoder=partial(coarse_colors, matrix=self.fixtures["clip_matrix"]),
            text=self.fixtures["text_cond"][None],
            negative_text=self.fixtures["text_null"][None],
        )

    @cached_property
    def sampling(self) -> SamplingSettings:
        settings = self.settings
        return SamplingSettings(
            num_steps=settings["sampling_steps"],
            timestep_shift=settings["shift"],
            text_guidance_scale=settings["text"],
            audio_guidance_scale=settings["audio"],
            projection=ProjectionSettings(settings["mom"], settings["thr"]) if settings["apg"] else None,
            color_strength=settings["color"],
        )

    @cached_property
    def plan(self) -> PublishedPlan:
        settings = self.settings
        limit = settings.get("max_frames")
        if settings.get("clip"):
            limit = settings["frame_num"]
        elif not isinstance(limit, int):  # the public goldens describe the limit in words
            words = re.search(r"\d+", str(limit))
            limit = int(words[0]) if words else _PUBLISHED_LIMIT_FRAMES
        lengths = [len(embedding) for embedding in self.audio]
        return published_plan(lengths, settings["frame_num"], settings["motion_frame"], limit)

    def source_index(self, chunk: Chunk) -> int:
        """The source frame that is the reference of `chunk`."""
        return 0 if self.settings.get("image") else min(chunk.start_frame, len(self.fixtures["source_frames"]) - 1)

    def source_pixels(self, index: int) -> Tensor:
        frame = cover_and_crop(self.fixtures["source_frames"][index].numpy(), self.size)
        return pixels_from_frames(frame[None])

    @cached_property
    def person_masks(self) -> Tensor:
        boxes = self.settings.get("bbox")
        ordered = None if boxes is None else [boxes[f"person{person + 1}"] for person in range(len(boxes))]
        masks = person_masks(self.source_size, self.settings["people"], ordered)
        return latent_masks(cover_and_crop_masks(masks, self.size), tuple(self.noise.shape[-2:]))

    def conditions(self, chunk: Chunk, context: Tensor | None) -> ChunkConditions:
        """What the product needs for `chunk`."""
        radius = self.transformer.config.audio_window // 2
        rows = [self.plan.rows(chunk, len(embedding)) for embedding in self.audio]
        windows = [window_rows(chunk.start_frame, chunk.num_frames, person_rows, radius) for person_rows in rows]
        return ChunkConditions(
            reference=self.source_pixels(self.source_index(chunk)),
            audio=audio_windows(self.audio, windows),
            noise=self.noise[chunk.index][None],
            context=context,
            person_masks=self.person_masks,
            color_reference=self.source_pixels(0),
        )


def _compare(golden: Golden, transformer: Any, name: str, comparison: Comparison) -> None:
    mode = Mode(golden, name, transformer())
    chunks = mode.plan.chunks
    comparison.equal("chunks", len(chunks), mode.noise.shape[0])
    comparison.equal("chunks", len(chunks), mode.settings["chunks"])
    expected_indices = mode.settings["source_frame_index_per_chunk"][: len(chunks)]
    comparison.equal("reference indices", [mode.source_index(chunk) for chunk in chunks], expected_indices)
    context, kept = None, []
    for chunk in chunks:
        conditions, calls = mode.conditions(chunk, context), ModelCalls()
        hook = mode.transformer.register_forward_hook(calls.record, with_kwargs=True)
        try:
            pixels = generate_chunk(mode.model, conditions, mode.sampling)
        finally:
            hook.remove()
        _compare_chunk(mode, chunk, conditions, calls, comparison)
        kept.append(pixels[0, :, chunk.num_context :])
        context = pixels[:, :, -mode.settings["motion_frame"] :]
    video = torch.cat(kept, dim=1)[:, : mode.plan.num_kept]
    comparison.equal("output shape", list(video.shape), mode.settings["output_shape"])
    stride = mode.codec.spatial_stride
    _recorded(mode, comparison, "frames_lowres", video[:, :, ::stride, ::stride], "frames", required=True)


def _compare_chunk(
    mode: Mode, chunk: Chunk, conditions: ChunkConditions, calls: ModelCalls, comparison: Comparison
) -> None:
    index, stride = chunk.index, mode.codec.spatial_stride
    final_latents = mode.codec.decoded_latents[index]
    decoded = mode.codec.decoded_pixels[index][:, :, ::stride, ::stride]
    image_tokens = mode.model.image_encoder(conditions.reference)[0]
    for name, ours, tolerance in (
        ("audio_windows", conditions.audio, "y_clip_audio"),
        ("ref_target_masks", conditions.person_masks, "masks_and_indices"),
        ("clip_fea", image_tokens, "y_clip_audio"),
        ("y", calls.condition, "y_clip_audio"),
        ("latents", torch.stack((*calls.latents, final_latents)), "latents"),
        ("chunk_frames_decoded_lowres", decoded, "frames"),
    ):
        _recorded(mode, comparison, name, ours, tolerance, index)
    _recorded(mode, comparison, "final_latents", final_latents, "latents", index, required=True)
    clean_name = f"context_latents_chunk{index}"
    if f"{mode.name}.{clean_name}" in mode.golden.tensors:
        num_clean = mode.golden.tensors[f"{mode.name}.{clean_name}"].shape[1]
        _recorded(mode, comparison, clean_name, calls.latents[0][:, :num_clean], "latents")
    timesteps = torch.tensor(mode.settings["timesteps_seen_by_model"])
    comparison.close("timesteps", torch.tensor(calls.timesteps), timesteps, _TIMESTEP_TOLERANCE)
    if chunk.is_first:
        _compare_forwards(mode, calls, comparison)


def _compare_forwards(mode: Mode, calls: ModelCalls, comparison: Comparison) -> None:
    """Which evaluations a step consists of, and what the first ones gave.

    The published loop also evaluates what a guidance scale of 1 multiplies by zero; we do not.
    """
    recorded = [_parse_forward(label) for label in mode.settings["forwards_per_step"]]
    ours = mode.sampling.forwards(has_text=True)
    needed = [forward for forward, _ in recorded if forward in ours]
    comparison.equal("forwards", list(ours), needed)
    for index, (forward, people) in enumerate(recorded):
        if people is not None:
            comparison.equal("people heard", mode.settings["people"] if forward.audio else 1, people)
        if forward in ours:
            output = calls.first_outputs[ours.index(forward)]
            _recorded(mode, comparison, f"chunk0_step0_forward{index}", output, "latents")


def _parse_forward(label: str) -> tuple[Forward, int | None]:
    match = _FORWARD.fullmatch(label)
    if match is None:
        raise GoldenError(f"unknown kind of forward: '{label}'")
    return Forward(text=not match["text"], audio=not match["audio"]), int(match["people"]) if match["people"] else None


def _recorded(
    mode: Mode,
    comparison: Comparison,
    name: str,
    ours: Tensor,
    tolerance: str,
    chunk_index: int | None = None,
    required: bool = False,
) -> None:
    """Compare with the tensor `name` of this mode, or its part for one chunk, if it was recorded."""
    full_name = f"{mode.name}.{name}"
    if not required and full_name not in mode.golden.tensors:
        return
    expected = mode.golden.tensor(full_name)
    if chunk_index is not None:
        comparison.equal(f"{name}: chunks", len(expected), len(mode.plan.chunks))
        expected = expected[chunk_index]
    allowed = mode.golden.setting("tolerance", tolerance)
    if isinstance(allowed, dict):
        comparison.close(name, ours, expected, allowed["max_abs"], allowed["mean_abs"])
    else:
        comparison.close(name, ours, expected, 0.0 if allowed == "exact" else float(allowed))
