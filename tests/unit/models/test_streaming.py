from __future__ import annotations

import weakref
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import pytest
import torch
from tiny_models import MeanCodec
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from infinitetalk_cli.models.dubbing_model import ChunkConditions, DubbingModel
from infinitetalk_cli.models.sampler_state import KeepsNothing
from infinitetalk_cli.models.sampling import chunk_noise
from infinitetalk_cli.models.sampling_settings import ProjectionSettings, SamplingSettings
from infinitetalk_cli.models.step_cache import StepCacheSettings
from infinitetalk_cli.models.streaming import denoise, generate_chunk
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
        assert [len(call["prepared"]) for call in calls] == [expected] * settings.num_steps


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


GUIDED = replace(SETTINGS, text_guidance_scale=5.0, audio_guidance_scale=4.0)


def count_calls(module: torch.nn.Module) -> list[int]:
    """Grows by one with every call of `module` from now on."""
    calls: list[int] = []
    module.register_forward_pre_hook(lambda _module, _args: calls.append(1))
    return calls


def test_texts_and_silence_are_prepared_once_for_a_job(published: DubbingModel, conditions: ChunkConditions) -> None:
    transformer = published.transformer
    texts, sounds = count_calls(transformer.condition_embedder.text_embedder), count_calls(transformer.audio_proj)
    images = count_calls(transformer.condition_embedder.image_embedder)
    for seed in range(3):
        generate_chunk(published, replace(conditions, reference=random_pixels(seed, 1)), GUIDED)
    assert (len(texts), len(sounds), len(images)) == (2, 1 + 3, 3)


def test_silence_of_one_length_only_is_kept(published: DubbingModel) -> None:
    """At 480p the keys of each take half a gigabyte, and fitted last chunks have many lengths."""
    long, short = (torch.randn(2, num_frames, 5, 2, 6) for num_frames in (13, 9))
    first = published.keys.silence(long)
    assert published.keys.silence(long) is first
    kept = weakref.ref(first)
    del first
    assert kept() is not None
    published.keys.silence(short)
    assert kept() is None


def test_another_text_is_heard(published: DubbingModel, conditions: ChunkConditions) -> None:
    before = generate_chunk(published, conditions, GUIDED)
    other = replace(published, text=-published.text)
    assert not torch.allclose(generate_chunk(other, conditions, GUIDED), before)
    assert torch.equal(generate_chunk(published, conditions, GUIDED), before)


def test_chunk_does_not_depend_on_the_chunks_before(published: DubbingModel, conditions: ChunkConditions) -> None:
    """What is kept for the job must not carry anything of one chunk into the next: a resumed run has not seen it."""
    settings = replace(GUIDED, num_steps=6, step_cache=StepCacheSettings(0.5, (1.0, 0.0), warmup_steps=2))
    alone = generate_chunk(replace(published), conditions, settings)
    other = replace(conditions, reference=random_pixels(4, 1), audio=-conditions.audio, noise=-conditions.noise)
    generate_chunk(published, other, settings)
    assert torch.equal(generate_chunk(published, conditions, settings), alone)


@pytest.mark.parametrize("people", [1, 2])
def test_guidance_branches_as_one_batch_give_the_same(
    published: DubbingModel, conditions: ChunkConditions, people: int
) -> None:
    if people == 2:
        masks = torch.zeros(3, *LATENT_SIZE[1:])
        masks[0, :, :2], masks[1, :, 4:], masks[2, :, 2:4] = 1, 1, 1
        voices = torch.randn(2, NUM_FRAMES, 5, 2, 6, generator=torch.Generator().manual_seed(7))
        conditions = replace(conditions, audio=voices, person_masks=masks)
    plain = generate_chunk(published, conditions, GUIDED)
    batched = generate_chunk(published, conditions, replace(GUIDED, batch_guidance=True))
    torch.testing.assert_close(batched, plain, atol=1e-4, rtol=0)


class Listener(SilentProgress):
    """Remembers details."""

    def __init__(self) -> None:
        self.details: list[str] = []

    def detail(self, text: str) -> None:
        self.details.append(text)


def test_step_cache_skips_blocks_and_says_so(
    published: DubbingModel, conditions: ChunkConditions, caplog: pytest.LogCaptureFixture
) -> None:
    calls, listener = count_calls(published.transformer.blocks[1]), Listener()
    never_again = StepCacheSettings(1e9, (1.0, 0.0), warmup_steps=2)
    settings = replace(GUIDED, num_steps=5, step_cache=never_again)
    with caplog.at_level("INFO"):
        generate_chunk(published, conditions, settings, listener)
    assert len(calls) == 2
    assert [int(text.split()[0]) for text in listener.details] == [0, 0, 3, 6, 9]
    assert "skipped in 9 of 15 forwards" in caplog.text


def test_step_cache_that_skips_nothing_changes_nothing(published: DubbingModel, conditions: ChunkConditions) -> None:
    every_step = replace(GUIDED, step_cache=StepCacheSettings(1e-9, (1.0, 0.0), warmup_steps=1))
    expected = generate_chunk(published, conditions, GUIDED)
    assert torch.equal(generate_chunk(published, conditions, every_step), expected)


@pytest.mark.parametrize("sdedit_t0", [0.0, 0.2])
def test_step_cache_with_less_steps_than_its_warmup(
    nano: DubbingModel, conditions: ChunkConditions, sdedit_t0: float
) -> None:
    plain = replace(SETTINGS, sdedit_t0=sdedit_t0)
    cached = replace(plain, step_cache=StepCacheSettings(0.2, (1.0, 0.0), warmup_steps=5))
    given = replace(conditions, source=random_pixels(3, NUM_FRAMES))
    assert torch.equal(generate_chunk(nano, given, cached), generate_chunk(nano, given, plain))


class Transfers(TorchDispatchMode):
    """Counts copies from one device to another while it is active."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, _types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if func.overloadpacket in (torch.ops.aten._to_copy, torch.ops.aten.copy_):
            given = args[-1] if func.overloadpacket is torch.ops.aten.copy_ else args[0]
            self.count += given.device != result.device
        return result


@pytest.mark.parametrize("people", [1, 2])
@pytest.mark.parametrize("batched", [False, True], ids=["one by one", "batched"])
def test_nothing_moves_between_devices_from_step_to_step(
    published: DubbingModel,
    conditions: ChunkConditions,
    people: int,
    batched: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`meta` stands for an accelerator: reading a value back from it fails, and what is sent there can be counted."""
    monkeypatch.setattr(torch, "autocast", lambda *_args, **_kwargs: nullcontext())  # unknown to meta
    published.transformer.to("meta")
    transfers, seen = Transfers(), []
    published.transformer.register_forward_pre_hook(lambda _module, _args: seen.append(transfers.count))
    given = replace(conditions, audio=conditions.audio.expand(people, -1, -1, -1, -1))
    given = replace(given, person_masks=torch.ones(3, *LATENT_SIZE[1:]))
    settings = replace(GUIDED, projection=ProjectionSettings(), batch_guidance=batched)
    with transfers:
        denoise(published, given, settings, SilentProgress(), KeepsNothing())
    seen.append(transfers.count)
    assert seen[0] > 0  # the chunk's conditions arrive before the first step
    assert seen[1:] == [seen[1]] * settings.num_steps  # rotary tables and voices' places with its first forward
