"""The camera branch in the chunk loop: when it runs, what it sees, what it leaves alone. Its numbers: the goldens."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest
import torch
from tiny_models import NANO, PUBLISHED, MeanCodec, make_control, make_transformer
from torch import Tensor

from infinitetalk_cli.models.camera_control import ControlSettings, ControlVideo, switches
from infinitetalk_cli.models.camera_path import camera_embedding
from infinitetalk_cli.models.dubbing_model import ChunkConditions, DubbingModel
from infinitetalk_cli.models.offload import offload_layers
from infinitetalk_cli.models.sampler_state import SamplerState
from infinitetalk_cli.models.sampling import chunk_noise
from infinitetalk_cli.models.sampling_settings import ProjectionSettings, SamplingSettings
from infinitetalk_cli.models.step_cache import StepCacheSettings
from infinitetalk_cli.models.streaming import generate_chunk
from infinitetalk_cli.models.uni3c import Uni3CControlNet

NUM_FRAMES, LATENT_SIZE = 9, (3, 4, 6)
STEERED = SamplingSettings(num_steps=4, timestep_shift=3.0, control=ControlSettings())
GUIDED = replace(STEERED, text_guidance_scale=5.0, audio_guidance_scale=4.0)
SKIPS = StepCacheSettings(9.0, (0.0, 0.6), warmup_steps=1)
MODES = {
    "plain": STEERED,
    "three forwards": GUIDED,
    "one batch": replace(GUIDED, batch_guidance=True),
    "projected": replace(GUIDED, projection=ProjectionSettings(-0.75, 5.0)),
    "step cache": replace(GUIDED, step_cache=SKIPS),
    "some of the steps": replace(GUIDED, step_cache=SKIPS, control=ControlSettings(0.7, 0.25, 0.6)),
    "with SDEdit": replace(GUIDED, sdedit_t0=0.8),
}


def pixels(seed: int, num_frames: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, 3, num_frames, *LATENT_SIZE[1:], generator=generator) * 2 - 1
    return coarse.repeat_interleave(8, dim=3).repeat_interleave(8, dim=4)


def make_model(kind: str) -> DubbingModel:
    if kind == "nano":
        control = make_control(in_channels=9, add_channels=None)
        return DubbingModel(make_transformer(**NANO), MeanCodec(), control=control)
    generator = torch.Generator().manual_seed(5)
    return DubbingModel(
        make_transformer(**PUBLISHED),
        MeanCodec(),
        image_encoder=lambda frame: frame.mean(dim=(1, 3, 4))[..., None].expand(1, 9, 8),
        text=torch.randn(1, 5, 10, generator=generator),
        negative_text=torch.randn(1, 2, 10, generator=generator),
        control=make_control(),
    )


@pytest.fixture(params=["nano", "published"])
def model(request: pytest.FixtureRequest) -> DubbingModel:
    """A model of either make with a camera branch; nano's reads no masks."""
    return make_model(request.param)


@pytest.fixture
def conditions() -> ChunkConditions:
    """A later chunk of one person, over a source that moves."""
    source = pixels(2, NUM_FRAMES)
    return ChunkConditions(
        reference=pixels(0, 1),
        audio=torch.randn(1, NUM_FRAMES, 5, 2, 6, generator=torch.Generator().manual_seed(6)),
        noise=chunk_noise(1, 0, 1, 0, (1, 4, *LATENT_SIZE)),
        context=pixels(1, 5),
        source=source,
        control=ControlVideo(source),
    )


def with_two_people(conditions: ChunkConditions) -> ChunkConditions:
    masks = torch.zeros(3, *LATENT_SIZE[1:])
    masks[0, :, :3], masks[1, :, 3:] = 1, 1
    return replace(conditions, audio=conditions.audio.repeat(2, 1, 1, 1, 1), person_masks=masks)


def control_calls(model: DubbingModel) -> list[Tensor]:
    """What the branch's first layer sees from now on."""
    seen: list[Tensor] = []
    layer = model.control.controlnet_patch_embedding
    layer.register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[0].clone()))
    return seen


@pytest.mark.parametrize("people", [1, 2])
@pytest.mark.parametrize("mode", MODES)
def test_it_runs_once_in_a_step_however_many_forwards(
    model: DubbingModel, conditions: ChunkConditions, mode: str, people: int
) -> None:
    conditions = with_two_people(conditions) if people == 2 else conditions
    settings, seen = MODES[mode], control_calls(model)
    steered = generate_chunk(model, conditions, settings)
    num_steps = len(settings.sigmas()) - 1
    expected = {"step cache": 1, "some of the steps": 1}.get(mode, num_steps)
    assert len(seen) == expected
    plain = generate_chunk(model, replace(conditions, control=None), settings)
    assert len(seen) == expected, "nothing to look at"
    assert not torch.equal(plain, steered)


def test_what_it_sees(conditions: ChunkConditions) -> None:
    """Noisy latents with the clean context, the mask of the condition and nothing else of it, the render."""
    model = make_model("published")
    seen = control_calls(model)
    generate_chunk(model, conditions, STEERED)
    context, render = model.codec.encode(conditions.context), model.codec.encode(conditions.control.render)
    for latents in seen:
        assert latents.shape == (1, 4 + 4 + 4, *LATENT_SIZE)
        assert torch.equal(latents[:, :4, :2], context)
        assert latents[:, 4:8, 0].eq(1).all() and not latents[:, 4:8, 1:].any()
        assert torch.equal(latents[:, 8:], render)
    assert torch.equal(seen[0][:, :4, 2:], conditions.noise[:, :, 2:])


def test_strength_nothing_is_no_branch_at_all(model: DubbingModel, conditions: ChunkConditions) -> None:
    plain = generate_chunk(model, conditions, replace(STEERED, control=None))
    seen = control_calls(model)
    for control in (ControlSettings(strength=0.0), ControlSettings(end=0.0)):
        assert torch.equal(generate_chunk(model, conditions, replace(STEERED, control=control)), plain)
    assert not seen
    weak, strong = (
        (generate_chunk(model, conditions, replace(STEERED, control=ControlSettings(strength))) - plain).abs().mean()
        for strength in (0.01, 0.3)
    )
    assert 0 < weak < strong


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (ControlSettings(), [True] * 5),
        (ControlSettings(start=0.4), [False, False, True, True, True]),
        (ControlSettings(end=0.4), [True, True, True, False, False]),
        (ControlSettings(end=0.01), [True, False, False, False, False]),
        (ControlSettings(start=0.2, end=0.2), [False, True, False, False, False]),
        (ControlSettings(end=0.0), [False] * 5),
    ],
)
def test_steps_in_which_it_steers(settings: ControlSettings, expected: list[bool]) -> None:
    assert settings.steers(5) == expected


def test_the_blocks_run_where_it_begins_and_ends(model: DubbingModel, conditions: ChunkConditions) -> None:
    """What a skipped step would add again was made with the branch, or without it."""
    settings = replace(STEERED, num_steps=8, step_cache=SKIPS, control=ControlSettings(1.0, 0.25, 0.5))
    assert switches(settings.control.steers(8)) == {2, 5}
    ran: list[float] = []

    def note(_module: object, args: tuple[Tensor, Tensor], kwargs: dict[str, bool]) -> None:
        if not kwargs["reuse_residuals"]:
            ran.append(args[1].item())

    model.transformer.register_forward_pre_hook(note, with_kwargs=True)
    seen = control_calls(model)
    generate_chunk(model, conditions, settings)
    timesteps = (1000 * settings.sigmas()[:-1]).tolist()
    assert [timesteps.index(pytest.approx(time)) for time in ran] == [0, 2, 5]
    assert len(seen) == 1


@dataclass
class Keeper:
    """Keeps a copy of every state; gives back the one after `resume_after` steps."""

    resume_after: int = 0
    states: dict[int, dict[str, Tensor]] = field(default_factory=dict)
    keys: set[str] = field(default_factory=set)

    def kept(self, key: Callable[[], str]) -> SamplerState | None:
        self.keys.add(key())
        if self.resume_after not in self.states:
            return None
        copies = {name: tensor.clone() for name, tensor in self.states[self.resume_after].items()}
        return SamplerState.from_tensors(self.resume_after, copies)

    def offer(self, _key: Callable[[], str], state: SamplerState) -> None:
        self.states[state.num_done] = {name: tensor.clone() for name, tensor in state.tensors().items()}


@pytest.mark.parametrize("mode", MODES)
def test_an_interrupted_chunk_goes_on_to_the_same_bits(mode: str, conditions: ChunkConditions) -> None:
    model, keeper = make_model("published"), Keeper()
    whole = generate_chunk(model, conditions, MODES[mode], keeper=keeper)
    for done in sorted(keeper.states):
        keeper.resume_after = done
        assert torch.equal(generate_chunk(model, conditions, MODES[mode], keeper=keeper), whole), done
    assert len(keeper.keys) == 1


def test_a_state_belongs_to_what_was_looked_at(model: DubbingModel, conditions: ChunkConditions) -> None:
    other = ControlVideo(conditions.control.render.flip(2))
    keeper = Keeper(resume_after=99)
    for given, settings in (
        (conditions, STEERED),
        (replace(conditions, control=other), STEERED),
        (conditions, replace(STEERED, control=ControlSettings(0.5))),
        (replace(conditions, control=None), STEERED),
    ):
        generate_chunk(model, given, settings, keeper=keeper)
    assert len(keeper.keys) == 4


def path(num_frames: int, shift: float) -> tuple[Tensor, Tensor]:
    intrinsic = torch.tensor([[40.0, 0.0, 24.0], [0.0, 40.0, 16.0], [0.0, 0.0, 1.0]])
    w2c = torch.eye(4).repeat(num_frames, 1, 1)
    w2c[:, 0, 3] = shift * torch.arange(num_frames)
    return intrinsic, w2c


def test_mask_and_camera_count_where_they_are_given(conditions: ChunkConditions) -> None:
    model, size = make_model("published"), (32, 48)
    holes = torch.zeros(1, 1, NUM_FRAMES, *size)
    camera = camera_embedding(*path(NUM_FRAMES, 0.1), size)
    render = conditions.control.render
    videos = {
        "skipped": ControlVideo(render),
        "no holes": ControlVideo(render, holes, camera),
        "holes": ControlVideo(render, holes.index_fill(4, torch.arange(8), 1.0), camera),
        "another path": ControlVideo(render, holes, camera_embedding(*path(NUM_FRAMES, -0.1), size)),
        "zeros": ControlVideo(render, holes, torch.zeros_like(camera)),
    }
    made = {name: generate_chunk(model, replace(conditions, control=video), STEERED) for name, video in videos.items()}
    names = list(made)
    assert all(not torch.equal(made[a], made[b]) for i, a in enumerate(names) for b in names[:i])


def test_a_still_camera_has_no_moment() -> None:
    embedding = camera_embedding(*path(5, 0.0), (16, 24))
    assert embedding.shape == (1, 6, 5, 16, 24)
    assert not embedding[:, 3:].any()
    assert torch.equal(embedding[:, :, 0], embedding[:, :, 4])
    assert torch.allclose(embedding[:, :3].norm(dim=1), torch.ones(1, 5, 16, 24))


def test_a_panning_camera_starts_two_away_from_the_middle() -> None:
    embedding = camera_embedding(*path(9, 0.3), (4, 4))[0]
    directions, moments = embedding[:3].movedim(0, -1), embedding[3:].movedim(0, -1)
    origins = torch.linalg.cross(directions, moments)  # the point of each ray nearest to the middle
    assert origins[0].norm(dim=-1).max() <= 2 + 1e-5
    assert (moments[0] + moments[8]).abs().max() < 1e-5 and moments[0].abs().max() > 0.5


@pytest.mark.parametrize("frames", [NUM_FRAMES - 4, NUM_FRAMES + 4])
def test_a_video_of_another_length_is_refused(frames: int, model: DubbingModel, conditions: ChunkConditions) -> None:
    with pytest.raises(ValueError, match="the camera's video has latents of"):
        generate_chunk(model, replace(conditions, control=ControlVideo(pixels(3, frames))), STEERED)


def test_layers_that_wait_elsewhere_compute_the_same(conditions: ChunkConditions) -> None:
    model = make_model("published")
    before = generate_chunk(model, conditions, GUIDED)
    offload_layers(model.control, torch.device("cpu"))
    assert any(hasattr(module, "_diffusers_hook") for module in model.control.modules())
    assert torch.equal(generate_chunk(model, conditions, GUIDED), before)


def test_half_precision_keeps_the_embeddings_in_float32(conditions: ChunkConditions) -> None:
    exact = make_model("published")
    narrow = make_model("published")
    narrow.control.controlnet.to(torch.bfloat16)
    assert narrow.control.stream_dtype == torch.bfloat16
    one, other = (generate_chunk(model, conditions, STEERED) for model in (exact, narrow))
    assert 0 < (one - other).abs().mean() < 0.02


def test_an_untrained_branch_adds_nothing(model: DubbingModel, conditions: ChunkConditions) -> None:
    plain = generate_chunk(model, replace(conditions, control=None), STEERED)
    model.control.reset_parameters()
    assert torch.equal(generate_chunk(model, conditions, STEERED), plain)
    assert all(parameter.isfinite().all() for parameter in model.control.parameters())


def test_the_published_size() -> None:
    with torch.device("meta"):
        network = Uni3CControlNet()
    shapes = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    assert len(shapes) == 490 and sum(map(math.prod, shapes.values())) == 997_887_744
    assert network.config.dim // network.config.num_heads == 64
