"""A chunk that is interrupted after any step goes on to the very same latents."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest
import torch
from tiny_models import NANO, PUBLISHED, MeanCodec, make_transformer
from torch import Tensor

from infinitetalk_cli.models.dubbing_model import ChunkConditions, DubbingModel
from infinitetalk_cli.models.sampler_state import SamplerState, conditions_key
from infinitetalk_cli.models.sampling import chunk_noise
from infinitetalk_cli.models.sampling_settings import ProjectionSettings, SamplingSettings
from infinitetalk_cli.models.step_cache import StepCacheSettings
from infinitetalk_cli.models.streaming import generate_chunk
from infinitetalk_cli.progress import SilentProgress

NUM_FRAMES, HEIGHT, WIDTH = 9, 16, 32
LATENT_SIZE = (3, 2, 4)
NUM_STEPS = 5
PLAIN = SamplingSettings(num_steps=NUM_STEPS, timestep_shift=3.0)
GUIDED = replace(PLAIN, text_guidance_scale=5.0, audio_guidance_scale=4.0)
PROJECTED = replace(GUIDED, projection=ProjectionSettings(momentum=-0.75, norm_threshold=5.0))
CACHED = replace(PROJECTED, step_cache=StepCacheSettings(1.0, (0.0, 0.6), warmup_steps=1))  # runs, skips, runs ...
MODES = {
    "no guidance": PLAIN,
    "audio guidance": replace(PLAIN, audio_guidance_scale=4.0),
    "text guidance": replace(PLAIN, text_guidance_scale=5.0),
    "both": GUIDED,
    "projected": PROJECTED,
    "camera lock": replace(PROJECTED, sdedit_t0=0.6),
    "step cache": CACHED,
    "step cache that only skips": replace(CACHED, step_cache=StepCacheSettings(9.0, (0.0, 0.6), warmup_steps=2)),
    "one batch": replace(PROJECTED, batch_guidance=True),
    "all at once": replace(CACHED, batch_guidance=True, sdedit_t0=0.9, color_strength=1.0),
}


@dataclass
class Memory:
    """Keeps a copy of every state; gives back the one after `resume_after` steps."""

    resume_after: int = 0
    states: dict[int, dict[str, Tensor]] = field(default_factory=dict)

    def kept(self, _key: Callable[[], str]) -> SamplerState | None:
        if self.resume_after not in self.states:
            return None
        copies = {name: tensor.clone() for name, tensor in self.states[self.resume_after].items()}
        return SamplerState.from_tensors(self.resume_after, copies)

    def offer(self, _key: Callable[[], str], state: SamplerState) -> None:
        self.states[state.num_done] = {name: tensor.clone() for name, tensor in state.tensors().items()}


class Counter(SilentProgress):
    """Counts steps, and how they came."""

    def __init__(self) -> None:
        self.advances: list[int] = []

    def advance(self, steps: int = 1) -> None:
        self.advances.append(steps)


def random_pixels(seed: int, num_frames: int) -> Tensor:
    return torch.rand(1, 3, num_frames, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def published_model() -> DubbingModel:
    """A fresh one each time: nothing that a model remembers may be needed to go on."""
    generator = torch.Generator().manual_seed(5)
    return DubbingModel(
        make_transformer(**PUBLISHED),
        MeanCodec(),
        image_encoder=lambda pixels: pixels.mean(dim=(1, 3, 4))[..., None].expand(1, 9, 8),
        text=torch.randn(1, 5, 10, generator=generator),
        negative_text=torch.randn(1, 2, 10, generator=generator),
    )


def make_conditions(num_people: int = 1) -> ChunkConditions:
    masks = torch.zeros(3, *LATENT_SIZE[1:])
    masks[0, :, :2], masks[1, :, 2:3], masks[2, :, 3:] = 1, 1, 1
    voices = torch.randn(num_people, NUM_FRAMES, 5, 2, 6, generator=torch.Generator().manual_seed(6))
    return ChunkConditions(
        reference=random_pixels(0, 1),
        audio=voices,
        noise=chunk_noise(1, 0, 0, 0, (1, 4, *LATENT_SIZE)),
        context=random_pixels(1, 5),
        person_masks=masks if num_people == 2 else None,
        source=random_pixels(2, NUM_FRAMES),
    )


def assert_resumes_after_every_step(
    make_model: Callable[[], DubbingModel], conditions: ChunkConditions, settings: SamplingSettings
) -> None:
    expected = generate_chunk(make_model(), conditions, settings)
    memory = Memory()
    assert torch.equal(generate_chunk(make_model(), conditions, settings, keeper=memory), expected)
    num_steps = len(settings.sigmas()) - 1
    assert sorted(memory.states) == list(range(1, num_steps + 1))
    for num_done in range(1, num_steps + 1):
        counter, again = Counter(), Memory(num_done, memory.states)
        resumed = generate_chunk(make_model(), conditions, settings, counter, again)
        assert torch.equal(resumed, expected), f"after step {num_done}"
        assert counter.advances == [num_done] + [1] * (num_steps - num_done)


@pytest.mark.parametrize("num_people", [1, 2])
@pytest.mark.parametrize("mode", MODES)
def test_chunk_goes_on_after_every_step(mode: str, num_people: int) -> None:
    assert_resumes_after_every_step(published_model, make_conditions(num_people), MODES[mode])


@pytest.mark.parametrize("mode", ["no guidance", "audio guidance", "projected", "camera lock", "step cache"])
def test_first_chunk_of_nano_goes_on_after_every_step(mode: str) -> None:
    conditions = replace(make_conditions(), context=None)
    assert_resumes_after_every_step(
        lambda: DubbingModel(make_transformer(**NANO), MeanCodec()), conditions, MODES[mode]
    )


def test_state_holds_what_is_read_again_and_no_more() -> None:
    memory = Memory()
    generate_chunk(published_model(), make_conditions(), CACHED, keeper=memory)
    guided = ["guidance.audio", "guidance.text", "latents"]
    residuals = [f"residual.{branch}" for branch in range(3)]
    assert [sorted(memory.states[step]) for step in (1, 2, 3, 4, 5)] == [
        guided + residuals,  # the next step skips the blocks
        guided,
        guided + residuals,
        guided,
        ["latents"],
    ]


@pytest.mark.parametrize("name", ["guidance.audio", "guidance.text", "latents", "residual.2"])
def test_every_part_of_the_state_matters(name: str) -> None:
    """So that the tests above cannot pass because a part is never read."""
    memory = Memory()
    expected = generate_chunk(published_model(), make_conditions(), CACHED, keeper=memory)
    memory.states[3][name] += 1.0
    assert not torch.equal(
        generate_chunk(published_model(), make_conditions(), CACHED, keeper=replace(memory, resume_after=3)), expected
    )


def test_finished_latents_are_only_decoded() -> None:
    memory, model = Memory(), published_model()
    expected = generate_chunk(model, make_conditions(), CACHED, keeper=memory)
    calls: list[int] = []
    model.transformer.register_forward_pre_hook(lambda *_args: calls.append(1))
    resumed = generate_chunk(model, make_conditions(), CACHED, keeper=replace(memory, resume_after=NUM_STEPS))
    assert torch.equal(resumed, expected) and not calls


@pytest.mark.parametrize("name", ["reference", "audio", "noise", "context", "source"])
def test_key_changes_with_one_number_of_what_a_chunk_is_made_from(name: str) -> None:
    conditions, runs = make_conditions(), [True] * NUM_STEPS
    tensor = getattr(conditions, name).clone()
    tensor.flatten()[-1] += 1e-6
    changed = replace(conditions, **{name: tensor})
    assert conditions_key(changed, PLAIN, runs) != conditions_key(conditions, PLAIN, runs)


def test_key_changes_with_settings_and_schedule_and_with_nothing_else() -> None:
    runs = [True] * NUM_STEPS
    key = conditions_key(make_conditions(), PLAIN, runs)
    assert conditions_key(make_conditions(), PLAIN, runs) == key
    without = replace(make_conditions(), context=None)
    others = (
        conditions_key(make_conditions(), GUIDED, runs),
        conditions_key(make_conditions(), PLAIN, [True, False] * 2),
        conditions_key(without, PLAIN, runs),
        conditions_key(replace(without, color_reference=make_conditions().context), PLAIN, runs),
    )
    assert len({key, *others}) == 5


@dataclass
class Two:
    """Conditions with a group of tensors."""

    frames: tuple[Tensor, ...]


def test_key_looks_into_groups_of_tensors() -> None:
    one, other = torch.zeros(2000), torch.zeros(2000)
    other[1000] = 1.0  # where the printed form has dots
    assert conditions_key(Two((one, one)), PLAIN, []) != conditions_key(Two((one, other)), PLAIN, [])
