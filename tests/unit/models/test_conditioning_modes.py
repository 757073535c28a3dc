"""What holds a chunk in each conditioning mode, on both layouts: which latents are clean, what the mask says.

And the camera lock, which has to leave all of that alone.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from tiny_models import NANO, PUBLISHED, MeanCodec, make_transformer
from torch import Tensor

from infinitetalk_cli.models.chunking import ending_frames, mode_context_frames, plan_chunks
from infinitetalk_cli.models.dubbing_model import ChunkConditions, DubbingModel
from infinitetalk_cli.models.sampling import add_noise, chunk_noise, make_sigmas
from infinitetalk_cli.models.sampling_settings import ProjectionSettings, SamplingSettings
from infinitetalk_cli.models.step_cache import StepCacheSettings
from infinitetalk_cli.models.streaming import generate_chunk

NUM_FRAMES, LATENT_SIZE = 13, (4, 4, 6)
SETTINGS = SamplingSettings(num_steps=3, timestep_shift=3.0)
GUIDANCE = {
    "plain": {},
    "sound": {"audio_guidance_scale": 3.0},
    "text and sound": {"text_guidance_scale": 5.0, "audio_guidance_scale": 4.0},
    "projected": {
        "text_guidance_scale": 5.0, "audio_guidance_scale": 4.0, "projection": ProjectionSettings(-0.5, 0.5)
    },
    "batched": {"text_guidance_scale": 5.0, "audio_guidance_scale": 4.0, "batch_guidance": True},
    "step cache": {"audio_guidance_scale": 3.0, "step_cache": StepCacheSettings(1e9, (1.0, 0.0), warmup_steps=1)},
}  # fmt: skip


def pixels(seed: int, num_frames: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, 3, num_frames, *LATENT_SIZE[1:], generator=generator) * 2 - 1
    return coarse.repeat_interleave(8, dim=3).repeat_interleave(8, dim=4)


@pytest.fixture(params=["nano", "published"])
def model(request: pytest.FixtureRequest) -> DubbingModel:
    """A model of either make."""
    if request.param == "nano":
        return DubbingModel(make_transformer(**NANO), MeanCodec())
    generator = torch.Generator().manual_seed(5)
    return DubbingModel(
        make_transformer(**PUBLISHED),
        MeanCodec(),
        image_encoder=lambda frame: frame.mean(dim=(1, 3, 4))[..., None].expand(1, 9, 8),
        text=torch.randn(1, 5, 10, generator=generator),
        negative_text=torch.randn(1, 2, 10, generator=generator),
    )


def chunk_of(mode: str, people: int = 1) -> ChunkConditions:
    """A later chunk of each mode."""
    generated = pixels(1, 9)
    given = ChunkConditions(
        reference=generated[:, :, -1:] if mode == "i2v" else pixels(0, 1),
        audio=torch.randn(people, NUM_FRAMES, 5, 2, 6, generator=torch.Generator().manual_seed(6)),
        noise=chunk_noise(1, 0, 1, 0, (1, 4, *LATENT_SIZE)),
        context={"sparse": generated[:, :, -5:], "i2v": generated[:, :, -1:], "fl2v": None}[mode],
        ending=pixels(2, 9) if mode == "fl2v" else None,
        source=pixels(3, NUM_FRAMES),
    )
    if people == 1:
        return given
    masks = torch.zeros(3, *LATENT_SIZE[1:])
    masks[0, :, :2], masks[1, :, 4:], masks[2, :, 2:4] = 1, 1, 1
    return replace(given, person_masks=masks)


def record_calls(model: DubbingModel) -> list[dict[str, Any]]:
    calls: list[dict[str, Any]] = []

    def record(_module: object, args: tuple[Tensor, Tensor], kwargs: dict[str, Any]) -> None:
        calls.append({"latents": args[0].clone(), "timestep": args[1].item(), **kwargs})

    model.transformer.register_forward_pre_hook(record, with_kwargs=True)
    return calls


def known_of(model: DubbingModel, conditions: ChunkConditions) -> dict[int, Tensor]:
    """Latent frames that must be clean."""
    start = conditions.reference if conditions.context is None else conditions.context
    known = dict(enumerate(model.codec.encode(start)[0].unbind(1)))
    if conditions.ending is not None:
        known[LATENT_SIZE[0] - 1] = model.codec.encode(conditions.ending)[0, :, -1]
    return known


MASKS = {"sparse": [1, 1, 0, 0], "i2v": [1, 0, 0, 0], "fl2v": [1, 0, 0, 1]}


@pytest.mark.parametrize("lock", [1.0, 0.6])
@pytest.mark.parametrize("guidance", GUIDANCE)
@pytest.mark.parametrize("mode", MASKS)
def test_what_is_known_is_clean_at_every_step(model: DubbingModel, mode: str, guidance: str, lock: float) -> None:
    given = chunk_of(mode)
    settings = replace(SETTINGS, sdedit_t0=lock, **GUIDANCE[guidance])
    calls = record_calls(model)
    result = generate_chunk(model, given, settings)
    known = known_of(model, given)
    assert sorted(known) == [place for place, is_known in enumerate(MASKS[mode]) if is_known]
    sigmas = settings.sigmas()
    assert [call["timestep"] for call in calls] == pytest.approx((1000 * sigmas[:-1]).tolist())
    for call in calls:
        for place, clean in known.items():
            assert torch.equal(call["latents"][0, :, place], clean)
    start = add_noise(model.codec.encode(given.source), given.noise, sigmas[0]) if lock < 1 else given.noise
    free = [place for place in range(LATENT_SIZE[0]) if place not in known]
    torch.testing.assert_close(calls[0]["latents"][:, :, free], start[:, :, free])
    for place, clean in known.items():
        decoded = model.codec.decode(clean[None, :, None])[:, :, 0]
        torch.testing.assert_close(result[:, :, 4 * place], decoded, atol=1e-5, rtol=0)


@pytest.mark.parametrize("mode", MASKS)
def test_mask_of_the_condition(model: DubbingModel, mode: str) -> None:
    calls = record_calls(model)
    given = chunk_of(mode)
    generate_chunk(model, given, SETTINGS)
    condition = calls[0]["condition"][0]
    if model.transformer.condition_layout == "repeat":
        assert condition[0].mean(dim=(1, 2)).tolist() == MASKS[mode]
        reference = model.codec.encode(given.reference)[0]
        assert torch.equal(condition[1:], reference.expand_as(condition[1:]))
        return
    # Wan's: a channel per frame of the group. The last latent frame joins four frames; the last of them is given.
    assert condition[:4, 0].unique().tolist() == [1]
    assert condition[:4, 1:-1].max() == 0
    assert condition[:4, -1].mean(dim=(1, 2)).tolist() == ([0, 0, 0, 1] if mode == "fl2v" else [0, 0, 0, 0])
    frames = torch.zeros(1, 3, NUM_FRAMES, 32, 48)
    frames[:, :, :1] = given.reference
    if mode == "fl2v":
        frames[:, :, -1] = given.ending[:, :, -1]
    assert torch.equal(condition[4:], model.codec.encode(frames)[0])


@pytest.mark.parametrize("mode", MASKS)
@pytest.mark.parametrize("lock", [1.0, 0.5])
def test_two_people_in_every_mode(model: DubbingModel, mode: str, lock: float) -> None:
    settings = replace(SETTINGS, audio_guidance_scale=3.0, sdedit_t0=lock)
    given = chunk_of(mode, people=2)
    result = generate_chunk(model, given, settings)
    swapped = generate_chunk(model, replace(given, audio=given.audio.flip(0)), settings)
    assert result.isfinite().all() and not torch.allclose(result, swapped)
    for place, clean in known_of(model, given).items():
        decoded = model.codec.decode(clean[None, :, None])[:, :, 0]
        torch.testing.assert_close(result[:, :, 4 * place], decoded, atol=1e-5, rtol=0)


@pytest.mark.parametrize("guidance", GUIDANCE)
def test_lock_shows_the_source_and_in_full_is_the_source(model: DubbingModel, guidance: str) -> None:
    given = chunk_of("sparse")
    other = replace(given, source=-given.source)
    locked = replace(SETTINGS, sdedit_t0=0.5, **GUIDANCE[guidance])
    assert not torch.allclose(generate_chunk(model, given, locked), generate_chunk(model, other, locked))
    calls = record_calls(model)
    whole = generate_chunk(model, given, replace(locked, sdedit_t0=0.0))
    source = model.codec.decode(model.codec.encode(given.source))
    torch.testing.assert_close(whole[:, :, 5:], source[:, :, 5:])
    assert calls == []


@pytest.mark.parametrize(("shift", "t0", "steps"), [(1.0, 0.5, 20), (7.0, 0.5, 6), (7.0, 0.9, 23), (11.0, 0.9, 19)])
def test_number_of_steps_counts_from_the_nearest_sigma_after_the_shift(shift: float, t0: float, steps: int) -> None:
    settings = SamplingSettings(num_steps=40, timestep_shift=shift, sdedit_t0=t0)
    sigmas = make_sigmas(40, shift)
    nearest = int((sigmas[:-1] - t0).abs().argmin())
    assert len(settings.sigmas()) - 1 == 40 - nearest == steps


@pytest.mark.parametrize(("mode", "starts", "frames"), [
    ("sparse", [0, 12, 24, 36], [17, 17, 17, 17]), ("i2v", [0, 16, 32], [17, 17, 17]), ("fl2v", [0, 17, 34], [17] * 3),
])  # fmt: skip
def test_plan_of_each_mode(mode: str, starts: list[int], frames: list[int]) -> None:
    chunks = plan_chunks(48, 17, mode_context_frames(mode, 5))
    assert [chunk.start_frame for chunk in chunks] == starts
    assert [chunk.num_frames for chunk in chunks] == frames
    covered = [frame for chunk in chunks for frame in range(chunk.new_start, chunk.new_stop)]
    assert covered == list(range(48))


def test_pinned_end_is_the_chunks_own_and_holds_past_the_scene() -> None:
    first, last = plan_chunks(90, 81, 0, fit_last=True)
    assert ending_frames(first) == tuple(range(72, 81))
    assert last.num_frames == 21 and ending_frames(last) == (89,) * 9
    (short,) = plan_chunks(31, 81, 0, fit_last=True)
    assert short.num_frames == 33 and ending_frames(short) == (24, 25, 26, 27, 28, 29, 30, 30, 30)
