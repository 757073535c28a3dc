from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from tiny_models import MeanCodec
from torch import Tensor

from infinitetalk_cli.models.sampling import chunk_noise
from infinitetalk_cli.models.streaming import (
    ChunkConditions,
    DubbingModel,
    ProjectionSettings,
    SamplingSettings,
    generate_chunk,
)
from infinitetalk_cli.models.transformer import InfiniteTalkTransformer3DModel
from infinitetalk_cli.progress import SilentProgress

NUM_FRAMES, HEIGHT, WIDTH = 13, 32, 48
LATENT_SIZE = (4, 4, 6)
SETTINGS = SamplingSettings(num_steps=3, timestep_shift=3.0)


@pytest.fixture
def nano(nano_transformer: InfiniteTalkTransformer3DModel, codec: MeanCodec) -> DubbingModel:
    """A model of nano's make."""
    return DubbingModel(nano_transformer, codec)


@pytest.fixture
def published(published_transformer: InfiniteTalkTransformer3DModel, codec: MeanCodec) -> DubbingModel:
    """A model of the published make."""
    generator = torch.Generator().manual_seed(5)
    return DubbingModel(
        published_transformer,
        codec,
        image_encoder=lambda pixels: pixels.mean(dim=(1, 3, 4))[..., None].expand(1, 9, 8),
        text=torch.randn(1, 5, 10, generator=generator),
        negative_text=torch.randn(1, 2, 10, generator=generator),
    )


def random_pixels(seed: int, num_frames: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, 3, num_frames, HEIGHT // 8, WIDTH // 8, generator=generator) * 2 - 1
    return coarse.repeat_interleave(8, dim=3).repeat_interleave(8, dim=4)


@pytest.fixture
def conditions() -> ChunkConditions:
    """What a first chunk is made from."""
    return ChunkConditions(
        reference=random_pixels(0, 1),
        audio=torch.randn(1, NUM_FRAMES, 5, 2, 6, generator=torch.Generator().manual_seed(6)),
        noise=chunk_noise(1, 0, 0, 0, (1, 4, *LATENT_SIZE)),
    )


def record_calls(model: DubbingModel) -> list[dict[str, Any]]:
    """Arguments of every evaluation of the transformer from now on."""
    calls: list[dict[str, Any]] = []

    def record(_module: object, args: tuple[Tensor, Tensor], kwargs: dict[str, Any]) -> None:
        calls.append({"latents": args[0].clone(), "timestep": args[1].item(), **kwargs})

    model.transformer.register_forward_pre_hook(record, with_kwargs=True)
    return calls


def test_chunk_is_pixels_of_the_right_shape_and_range(nano: DubbingModel, conditions: ChunkConditions) -> None:
    pixels = generate_chunk(nano, conditions, SETTINGS)
    assert pixels.shape == (1, 3, NUM_FRAMES, HEIGHT, WIDTH)
    assert pixels.dtype == torch.float32
    assert pixels.abs().max() <= 1


def test_same_conditions_give_the_same_pixels(nano: DubbingModel, conditions: ChunkConditions) -> None:
    first = generate_chunk(nano, conditions, SETTINGS)
    torch.manual_seed(9)
    generate_chunk(nano, replace(conditions, noise=-conditions.noise), SETTINGS)
    assert torch.equal(generate_chunk(nano, conditions, SETTINGS), first)


@pytest.mark.parametrize("context_frames", [5, 9])
def test_context_is_clean_at_every_step_and_in_the_result(
    nano: DubbingModel, conditions: ChunkConditions, context_frames: int
) -> None:
    context = nano.codec.decode(nano.codec.encode(random_pixels(2, context_frames)))
    calls = record_calls(nano)
    pixels = generate_chunk(nano, replace(conditions, context=context), SETTINGS)
    torch.testing.assert_close(pixels[:, :, :context_frames], context)
    latents = nano.codec.encode(context)
    num_clean = latents.shape[2]
    assert len(calls) == SETTINGS.num_steps
    for call in calls:
        assert torch.equal(call["latents"][:, :, :num_clean], latents)
        mask = call["condition"][0, 0].mean(dim=(1, 2))
        assert mask.tolist() == [1.0] * num_clean + [0.0] * (LATENT_SIZE[0] - num_clean)


def test_first_chunk_begins_with_the_reference(nano: DubbingModel, conditions: ChunkConditions) -> None:
    pixels = generate_chunk(nano, conditions, SETTINGS)
    torch.testing.assert_close(pixels[:, :, :1], conditions.reference)


def test_first_frame_can_be_left_free(nano: DubbingModel, conditions: ChunkConditions) -> None:
    calls = record_calls(nano)
    pixels = generate_chunk(nano, conditions, replace(SETTINGS, first_frame_is_reference=False))
    assert not torch.allclose(pixels[:, :, :1], conditions.reference)
    assert torch.equal(calls[0]["latents"], conditions.noise)
    assert calls[0]["condition"][0, 0].max() == 0


def test_residual_prediction_of_zero_gives_the_reference(nano: DubbingModel, conditions: ChunkConditions) -> None:
    torch.nn.init.zeros_(nano.transformer.proj_out.weight)
    torch.nn.init.zeros_(nano.transformer.proj_out.bias)
    pixels = generate_chunk(nano, conditions, SETTINGS)
    torch.testing.assert_close(pixels, conditions.reference.expand_as(pixels), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("text", "audio", "nano_forwards", "published_forwards"),
    [(1, 1, 1, 1), (1, 2, 2, 2), (5, 1, 1, 2), (5, 4, 2, 3)],
)
def test_evaluations_per_step(
    nano: DubbingModel,
    published: DubbingModel,
    conditions: ChunkConditions,
    text: float,
    audio: float,
    nano_forwards: int,
    published_forwards: int,
) -> None:
    settings = replace(SETTINGS, text_guidance_scale=text, audio_guidance_scale=audio)
    for model, expected in ((nano, nano_forwards), (published, published_forwards)):
        calls = record_calls(model)
        generate_chunk(model, conditions, settings)
        assert len(calls) == expected * settings.num_steps


def test_timesteps_are_the_schedule(nano: DubbingModel, conditions: ChunkConditions) -> None:
    calls = record_calls(nano)
    generate_chunk(nano, conditions, SETTINGS)
    assert [call["timestep"] for call in calls] == pytest.approx((1000 * SETTINGS.sigmas()[:-1]).tolist())


def test_sound_changes_the_picture(nano: DubbingModel, conditions: ChunkConditions) -> None:
    quiet = replace(conditions, audio=torch.zeros_like(conditions.audio))
    difference = generate_chunk(nano, conditions, SETTINGS) - generate_chunk(nano, quiet, SETTINGS)
    assert difference[:, :, 1:].abs().max() > 1e-3


def test_guidance_scale_of_one_is_no_guidance_and_zero_sound_cannot_be_guided(
    nano: DubbingModel, conditions: ChunkConditions
) -> None:
    quiet = replace(conditions, audio=torch.zeros_like(conditions.audio))
    plain = generate_chunk(nano, quiet, SETTINGS)
    guided = generate_chunk(nano, quiet, replace(SETTINGS, audio_guidance_scale=4.0))
    torch.testing.assert_close(guided, plain, atol=1e-5, rtol=0)


def test_projection_changes_guided_pixels_only(published: DubbingModel, conditions: ChunkConditions) -> None:
    projection = ProjectionSettings(momentum=-0.5, norm_threshold=0.5)
    guided = replace(SETTINGS, text_guidance_scale=5.0, audio_guidance_scale=4.0)
    changed = generate_chunk(published, conditions, replace(guided, projection=projection))
    assert not torch.allclose(changed, generate_chunk(published, conditions, guided))
    plain = generate_chunk(published, conditions, SETTINGS)
    assert torch.equal(generate_chunk(published, conditions, replace(SETTINGS, projection=projection)), plain)


def test_published_condition_is_the_same_with_and_without_context(
    published: DubbingModel, conditions: ChunkConditions
) -> None:
    calls = record_calls(published)
    generate_chunk(published, conditions, SETTINGS)
    generate_chunk(published, replace(conditions, context=random_pixels(2, 5)), SETTINGS)
    assert torch.equal(calls[0]["condition"], calls[-1]["condition"])


def test_full_camera_lock_returns_the_source(nano: DubbingModel, conditions: ChunkConditions) -> None:
    source = nano.codec.decode(nano.codec.encode(random_pixels(3, NUM_FRAMES)))
    calls = record_calls(nano)
    pixels = generate_chunk(
        nano, replace(conditions, source=source, reference=source[:, :, :1]), replace(SETTINGS, sdedit_t0=0.0)
    )
    torch.testing.assert_close(pixels, source)
    assert calls == []


def test_camera_lock_starts_from_the_noisy_source(nano: DubbingModel, conditions: ChunkConditions) -> None:
    source = random_pixels(3, NUM_FRAMES)
    settings = replace(SETTINGS, sdedit_t0=0.6, first_frame_is_reference=False)
    calls = record_calls(nano)
    generate_chunk(nano, replace(conditions, source=source), settings)
    start = 0.4 * nano.codec.encode(source) + 0.6 * conditions.noise
    torch.testing.assert_close(calls[0]["latents"], start)
    assert calls[0]["timestep"] == pytest.approx(600)
    assert len(calls) < SETTINGS.num_steps


def test_camera_lock_needs_the_source(nano: DubbingModel, conditions: ChunkConditions) -> None:
    with pytest.raises(ValueError, match="source frames"):
        generate_chunk(nano, conditions, replace(SETTINGS, sdedit_t0=0.5))


def test_without_camera_lock_the_source_is_not_looked_at(nano: DubbingModel, conditions: ChunkConditions) -> None:
    with_source = generate_chunk(nano, replace(conditions, source=random_pixels(3, NUM_FRAMES)), SETTINGS)
    assert torch.equal(with_source, generate_chunk(nano, conditions, SETTINGS))


def test_colors_are_matched_to_the_given_frame(nano: DubbingModel, conditions: ChunkConditions) -> None:
    settings = replace(SETTINGS, color_strength=1.0)
    own = generate_chunk(nano, conditions, settings)
    other = generate_chunk(nano, replace(conditions, color_reference=random_pixels(8, 1) * 0.1), settings)
    assert other.std() < 0.5 * own.std()


def test_progress_advances_once_per_step(nano: DubbingModel, conditions: ChunkConditions) -> None:
    class Counter(SilentProgress):
        steps = 0

        def advance(self, steps: int = 1) -> None:
            self.steps += steps

    counter = Counter()
    settings = replace(SETTINGS, audio_guidance_scale=3.0)
    generate_chunk(nano, conditions, settings, counter)
    assert counter.steps == len(settings.sigmas()) - 1 == 3


def test_two_people_hear_their_own_voices(published: DubbingModel, conditions: ChunkConditions) -> None:
    masks = torch.zeros(3, *LATENT_SIZE[1:])
    masks[0, :, :2], masks[1, :, 4:], masks[2, :, 2:4] = 1, 1, 1
    voices = torch.randn(2, NUM_FRAMES, 5, 2, 6, generator=torch.Generator().manual_seed(7))
    both = replace(conditions, audio=voices, person_masks=masks)
    swapped = replace(both, audio=voices.flip(0))
    settings = replace(SETTINGS, audio_guidance_scale=3.0)

    def result(chunk: ChunkConditions) -> Tensor:
        return generate_chunk(published, chunk, settings)

    assert not torch.allclose(result(both), result(swapped))
