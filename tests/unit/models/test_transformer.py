from __future__ import annotations

from typing import Any

import pytest
import torch
from tiny_models import NANO, PUBLISHED, make_transformer
from torch import Tensor

from infinitetalk_cli.models.attention import person_attention_map, person_positions, rotation_3d
from infinitetalk_cli.models.prepared import Attended, PreparedConditions
from infinitetalk_cli.models.step_cache import BlockResiduals
from infinitetalk_cli.models.transformer import InfiniteTalkTransformer3DModel

LATENT_FRAMES, HEIGHT, WIDTH = 3, 4, 6
"""Latent size; an area and sides that tell the axes apart."""


def inputs(transformer: InfiniteTalkTransformer3DModel, batch: int = 1, people: int = 1) -> dict[str, Tensor]:
    """Random inputs of a forward."""
    config, generator = transformer.config, torch.Generator().manual_seed(1)

    def random(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    grid = (LATENT_FRAMES, HEIGHT, WIDTH)
    num_frames = 1 + config.vae_temporal_stride * (LATENT_FRAMES - 1)
    found = {
        "latents": random(batch, config.out_channels, *grid),
        "timestep": torch.linspace(900, 20, batch),
        "condition": random(batch, config.in_channels - config.out_channels, *grid),
        "audio": random(batch * people, num_frames, config.audio_window, config.audio_layers, config.audio_channels),
    }
    if config.text_dim is not None:
        found["text"] = random(batch, 5, config.text_dim)
        found["image"] = random(batch, 9, config.image_dim)
    if people == 2:
        masks = torch.zeros(3, HEIGHT, WIDTH)
        masks[0, :, :2], masks[1, :, 4:], masks[2, :, 2:4] = 1, 1, 1
        found["person_masks"] = masks
    return found


@pytest.fixture(params=[PUBLISHED, NANO], ids=["published", "nano"])
def transformer(request: pytest.FixtureRequest) -> InfiniteTalkTransformer3DModel:
    """Either layout."""
    return make_transformer(**request.param)


@torch.no_grad()
def output(transformer: InfiniteTalkTransformer3DModel, **arguments: Any) -> Tensor:
    return transformer(**arguments).sample


def test_batch_equals_its_samples_one_by_one(transformer: InfiniteTalkTransformer3DModel) -> None:
    together = inputs(transformer, batch=3)
    batched = output(transformer, **together)
    for sample in range(3):
        alone = {name: tensor[sample : sample + 1] for name, tensor in together.items()}
        torch.testing.assert_close(output(transformer, **alone), batched[sample : sample + 1], atol=1e-5, rtol=1e-4)


def test_batch_of_two_people_equals_its_samples(
    published_transformer: InfiniteTalkTransformer3DModel,
) -> None:
    together = inputs(published_transformer, batch=2, people=2)
    batched = output(published_transformer, **together)
    for sample in range(2):
        alone = {
            name: tensor if name == "person_masks" else tensor.unflatten(0, (2, -1))[sample]
            for name, tensor in together.items()
        }
        single = output(published_transformer, **alone)
        torch.testing.assert_close(single, batched[sample : sample + 1], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("people", [1, 2])
def test_prepared_conditions_change_nothing(transformer: InfiniteTalkTransformer3DModel, people: int) -> None:
    arguments = inputs(transformer, people=people)
    expected = output(transformer, **arguments)
    given = {name: arguments.pop(name, None) for name in ("text", "image", "audio")}
    with torch.no_grad():
        prepared = [transformer.prepare_conditions(**given, num_people=people)]
    assert torch.equal(output(transformer, **arguments, prepared=prepared), expected)


def branches(transformer: InfiniteTalkTransformer3DModel, people: int) -> tuple[dict[str, Any], list[Any]]:
    """Arguments of a forward without text, image and audio, and those as three branches of guidance."""
    arguments = inputs(transformer, people=people)
    text, image, audio = (arguments.pop(name, None) for name in ("text", "image", "audio"))
    sound, silence = Attended(audio), Attended(torch.zeros_like(audio[:1]))
    prompt = negative = picture = None
    if text is not None:
        prompt, negative, picture = Attended(text), Attended(-text[:, :3]), Attended(image)
    return arguments, [
        PreparedConditions(prompt, picture, sound, people),
        PreparedConditions(negative, picture, sound, people),
        PreparedConditions(negative, picture, silence, 1),
    ]


@pytest.mark.parametrize("people", [1, 2])
def test_branches_in_one_call_equal_each_alone(transformer: InfiniteTalkTransformer3DModel, people: int) -> None:
    arguments, three = branches(transformer, people)
    alone = [output(transformer, **arguments, prepared=[branch]) for branch in three]
    assert not torch.allclose(alone[0], alone[2])
    assert torch.equal(output(transformer, **arguments, prepared=three), torch.cat(alone))
    together = output(transformer, **arguments, prepared=three, batch_branches=True)
    torch.testing.assert_close(together, torch.cat(alone), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("people", "batched", "expected"),
    [(1, False, [1, 1, 1]), (2, False, [1, 1, 1]), (1, True, [3]), (2, True, [2, 1])],
    ids=["one", "two", "one batched", "two batched"],
)
def test_first_self_attention_is_shared_and_equal_shapes_are_batched(
    published_transformer: InfiniteTalkTransformer3DModel, people: int, batched: bool, expected: list[int]
) -> None:
    arguments, three = branches(published_transformer, people)
    sizes: list[list[int]] = [[], []]
    for seen, block in zip(sizes, published_transformer.blocks, strict=True):
        block.attn1.register_forward_pre_hook(lambda _module, args, seen=seen: seen.append(args[0].shape[0]))
    output(published_transformer, **arguments, prepared=three, batch_branches=batched)
    assert sizes == [[1], expected]


def test_keys_are_made_once(published_transformer: InfiniteTalkTransformer3DModel) -> None:
    arguments, three = branches(published_transformer, people=2)
    last = published_transformer.blocks[1]
    counted = {"text": last.attn2.to_k, "image": last.attn2.add_k_proj, "audio": last.audio_cross_attn.kv_linear}
    calls: list[str] = []
    for name, module in counted.items():
        module.register_forward_pre_hook(lambda _module, _args, name=name: calls.append(name))
    for _ in range(3):
        output(published_transformer, **arguments, prepared=three)
    assert sorted(calls) == ["audio", "audio", "image", "text", "text"]  # with and without sound, two texts


def test_keys_are_not_kept_while_weights_learn(transformer: InfiniteTalkTransformer3DModel) -> None:
    arguments, three = branches(transformer, people=1)
    before = transformer(**arguments, prepared=three).sample
    with torch.no_grad():
        transformer.blocks[0].audio_cross_attn.kv_linear.weight.mul_(-2)
    assert not torch.allclose(transformer(**arguments, prepared=three).sample, before)


def test_no_weight_is_needed_outside_the_block_that_has_it(transformer: InfiniteTalkTransformer3DModel) -> None:
    arguments, three = branches(transformer, people=2 if transformer.config.text_dim else 1)
    expected = output(transformer, **arguments, prepared=three)
    _, fresh = branches(transformer, people=2 if transformer.config.text_dim else 1)
    calls: list[int] = []
    for block in transformer.blocks:  # as offloading does: weights arrive with the call, and leave
        kept = [parameter.detach().clone() for parameter in block.parameters()]

        def arrive(module: torch.nn.Module, _args: object, kept: list[Tensor] = kept) -> None:
            calls.append(1)
            for parameter, values in zip(module.parameters(), kept, strict=True):
                parameter.data.copy_(values)

        def leave(module: torch.nn.Module, _args: object, _output: object) -> None:
            for parameter in module.parameters():
                parameter.data.fill_(torch.nan)

        block.register_forward_pre_hook(arrive)
        block.register_forward_hook(leave)
        leave(block, None, None)
    assert torch.equal(output(transformer, **arguments, prepared=fresh), expected)
    assert len(calls) == len(transformer.blocks)  # once for all branches


def test_skipped_blocks_add_what_they_last_added(published_transformer: InfiniteTalkTransformer3DModel) -> None:
    arguments, three = branches(published_transformer, people=1)
    residuals = BlockResiduals()
    ran = output(published_transformer, **arguments, prepared=three, residuals=residuals)
    calls: list[int] = []
    published_transformer.blocks[0].register_forward_pre_hook(lambda _module, _args: calls.append(1))

    def again(**changed: Tensor) -> Tensor:
        given = {**arguments, **changed, "prepared": three, "residuals": residuals}
        return output(published_transformer, **given, reuse_residuals=True)

    torch.testing.assert_close(again(), ran, atol=1e-5, rtol=1e-4)
    assert not torch.allclose(again(latents=arguments["latents"] + 1), ran)  # embeddings and head still run
    assert calls == []


def test_batched_branches_need_one_sample(published_transformer: InfiniteTalkTransformer3DModel) -> None:
    arguments = inputs(published_transformer, batch=2)
    with pytest.raises(ValueError, match="single sample"):
        output(published_transformer, **arguments, batch_branches=True)


def test_rotary_tables_are_made_once_for_a_shape(nano_transformer: InfiniteTalkTransformer3DModel) -> None:
    rotation_3d.cache_clear()
    for _ in range(3):
        output(nano_transformer, **inputs(nano_transformer))
    assert rotation_3d.cache_info().misses == 1
    assert rotation_3d((1, 2, 3), 12, torch.device("cpu")).cos.dtype == torch.float32


def test_every_input_matters(published_transformer: InfiniteTalkTransformer3DModel) -> None:
    arguments = inputs(published_transformer, people=2)
    expected = output(published_transformer, **arguments)
    for name, tensor in arguments.items():
        changed = tensor.flip(0) if name == "person_masks" else tensor.square() + 1
        assert not torch.allclose(output(published_transformer, **{**arguments, name: changed}), expected), name


def test_sound_reaches_only_its_latent_frame_directly(
    nano_transformer: InfiniteTalkTransformer3DModel,
) -> None:
    windows = inputs(nano_transformer)["audio"]
    tokens = nano_transformer.audio_proj(windows)
    windows[:, 5:] += 1  # video frames 5..8, the group of latent frame 2
    changed = (nano_transformer.audio_proj(windows) != tokens).flatten(2).any(dim=-1)
    assert changed.tolist() == [[False, False, True]]


def test_grouped_windows_are_consecutive_rows(nano_transformer: InfiniteTalkTransformer3DModel) -> None:
    config = nano_transformer.config
    rows = torch.randn(13, config.audio_layers, config.audio_channels)
    windows = torch.stack([rows[frame : frame + 5] for frame in range(9)])[None]  # row 0 is two before frame 0
    seen: list[Tensor] = []
    nano_transformer.audio_proj.proj1_vf.register_forward_pre_hook(lambda _module, args: seen.append(args[0]))
    nano_transformer.audio_proj(windows)
    # Latent frame j covers frames 4j - 3 .. 4j and hears 4j - 5 .. 4j + 2.
    assert torch.equal(seen[0][0, 0], rows[1:9].flatten())
    assert torch.equal(seen[0][0, 1], rows[5:13].flatten())


def test_training_from_scratch_reaches_every_weight() -> None:
    torch.manual_seed(0)
    transformer = InfiniteTalkTransformer3DModel(**PUBLISHED)
    transformer.reset_parameters()
    arguments = inputs(transformer, batch=2)
    assert output(transformer, **arguments).abs().max() == 0
    optimizer = torch.optim.AdamW(transformer.parameters(), lr=1e-2)
    losses = []
    for _ in range(8):
        loss = (transformer(**arguments).sample - arguments["latents"]).square().mean()
        loss.backward()
        losses.append(loss.item())
        optimizer.step()
        gradients = {name: parameter.grad for name, parameter in transformer.named_parameters()}
        optimizer.zero_grad()
    assert losses[-1] < 0.8 * losses[0]
    assert [name for name, gradient in gradients.items() if gradient is None or not gradient.abs().max()] == []


def test_gradient_checkpointing_gives_the_same_gradients(transformer: InfiniteTalkTransformer3DModel) -> None:
    arguments = inputs(transformer, batch=2)

    def gradients() -> list[Tensor]:
        transformer.zero_grad()
        transformer(**arguments).sample.square().mean().backward()
        return [parameter.grad.clone() for parameter in transformer.parameters()]

    expected = gradients()
    transformer.train()
    transformer.enable_gradient_checkpointing()
    for ours, plain in zip(gradients(), expected, strict=True):
        torch.testing.assert_close(ours, plain)


def test_bfloat16_stays_near_float32(transformer: InfiniteTalkTransformer3DModel) -> None:
    arguments = inputs(transformer)
    expected = output(transformer, **arguments)
    half = output(transformer.to(torch.bfloat16), **arguments)
    assert half.dtype == torch.float32
    assert (half - expected).abs().mean() < 0.03 * expected.std()


def test_autocast_keeps_a_float32_stream_and_output(nano_transformer: InfiniteTalkTransformer3DModel) -> None:
    arguments = inputs(nano_transformer, batch=2)
    expected = output(nano_transformer, **arguments)
    streams: list[torch.dtype] = []
    nano_transformer.blocks[1].register_forward_pre_hook(lambda _module, args: streams.append(args[0][0].dtype))
    with torch.autocast("cpu", torch.bfloat16):
        half = output(nano_transformer, **arguments)
    assert streams == [torch.float32]
    assert half.dtype == torch.float32
    assert (half - expected).abs().mean() < 0.03 * expected.std()


def test_saved_and_loaded_again(transformer: InfiniteTalkTransformer3DModel, tmp_path) -> None:
    arguments = inputs(transformer)
    transformer.save_pretrained(tmp_path)
    loaded = InfiniteTalkTransformer3DModel.from_pretrained(tmp_path).eval()
    assert loaded.config.prediction_type == transformer.config.prediction_type
    assert torch.equal(output(loaded, **arguments), output(transformer, **arguments))


def test_condition_layouts(
    published_transformer: InfiniteTalkTransformer3DModel, nano_transformer: InfiniteTalkTransformer3DModel
) -> None:
    assert published_transformer.condition_layout == "published"
    assert nano_transformer.condition_layout == "repeat"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"condition": torch.zeros(1, 2, 3, 4, 6)}, "channels with the condition"),
        ({"audio": torch.zeros(1, 5, 5, 2, 6)}, "sound for 2 latent frames, picture has 3"),
        ({"audio": torch.zeros(1, 8, 5, 2, 6)}, "8 audio windows do not fill"),
        ({"audio": torch.zeros(3, 9, 5, 2, 6)}, "3 people"),
        ({"text": torch.zeros(1, 8, 10)}, "8 text tokens"),
        (
            {"latents": torch.zeros(1, 4, 3, 4, 5), "condition": torch.zeros(1, 8, 3, 4, 5)},
            "not whole patches",
        ),
    ],
)
def test_shapes_that_do_not_fit(
    published_transformer: InfiniteTalkTransformer3DModel, change: dict[str, Tensor], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        output(published_transformer, **{**inputs(published_transformer), **change})


@pytest.mark.parametrize(
    "config",
    [{"prediction_type": "noise"}, {"text_dim": None, "image_dim": 8}],
    ids=["prediction", "image alone"],
)
def test_configurations_that_make_no_sense(config: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"prediction_type|text branch"):
        InfiniteTalkTransformer3DModel(**{**PUBLISHED, **config})


def test_person_map_is_the_mean_attention_to_each_region() -> None:
    torch.manual_seed(0)
    q, k = torch.randn(1, 12, 3, 8), torch.randn(1, 6, 3, 8)
    masks = torch.tensor([[[1, 1, 0, 0, 0, 0], [0, 0, 0, 1, 0, 0], [0, 0, 0, 0, 0, 0]]]).float()
    attention = torch.einsum("bnhd,bmhd->bhnm", q, k).div(8**0.5).softmax(-1).mean(dim=1)
    ours = person_attention_map(q, k, masks)
    torch.testing.assert_close(ours[:, 0], attention[..., :2].mean(-1))
    torch.testing.assert_close(ours[:, 1], attention[..., 3])
    assert torch.equal(ours[:, 2], torch.zeros(1, 12))  # an empty region


def test_positions_of_people_and_background() -> None:
    attention_map = torch.tensor([[[0.9, 0.5, 0.1, 0.1], [0.1, 0.2, 0.6, 0.2], [0.0, 0.3, 0.3, 0.7]]])
    positions = person_positions(attention_map)
    torch.testing.assert_close(positions, torch.tensor([[4.0, 2.0, 24.0, 12.0]]))
