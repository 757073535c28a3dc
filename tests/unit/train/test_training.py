"""The loop, its batches and its loss, on shards of random numbers."""

import dataclasses
import json

import pytest
import torch
from safetensors.torch import save_file

from infinitetalk_cli.errors import InputError
from infinitetalk_cli.train.build import build_transformer
from infinitetalk_cli.train.chunks import ChunkSampler, audio_windows, draw_given
from infinitetalk_cli.train.config import load_settings
from infinitetalk_cli.train.feed import BatchFeed
from infinitetalk_cli.train.flow import NanoTask, audio_gain, flow_loss, generate_latents, held_out_batch, judging
from infinitetalk_cli.train.loop import Trainer
from infinitetalk_cli.train.schedule import learning_rate, place_at
from infinitetalk_cli.train.settings import Phase, TransformerSettings
from infinitetalk_cli.units import FrameSpan

CHANNELS, AUDIO_CHANNELS = 4, 8
TINY = TransformerSettings(
    num_attention_heads=2,
    attention_head_dim=12,
    ffn_dim=32,
    num_layers=2,
    audio_hidden_dim=16,
    audio_token_dim=8,
    audio_tokens=2,
)
CHUNK = Phase(num_steps=4, chunk_frames=13, batch_size=2)


@pytest.fixture
def flow_settings():
    flow = load_settings("nano").flow
    phases = (CHUNK, Phase(num_steps=2, chunk_frames=17, batch_size=1))
    update = {"phases": phases, "warmup_steps": 2, "checkpoint_every": 3, "precision": "no", "compile_blocks": False}
    return flow.model_copy(update=update)


@pytest.fixture
def shards(tmp_path):
    generator = torch.Generator().manual_seed(0)
    paths = []
    for index, (height, width) in enumerate(((4, 4), (4, 6))):
        shard = {
            "latents": torch.randn(3, 8, CHANNELS, height, width, generator=generator).half(),
            "singles": torch.randn(3, 8, CHANNELS, height, width, generator=generator).half(),
            "audio": torch.randn(3, 2, 29, AUDIO_CHANNELS, generator=generator).half(),
            "mouth": torch.rand(3, height, width, generator=generator),
        }
        paths.append(tmp_path / f"shard-{index:04d}.safetensors")
        save_file(shard, paths[-1])
    return paths


def make_model(settings):
    torch.manual_seed(settings.seed)
    return build_transformer(TINY, CHANNELS, AUDIO_CHANNELS)


def trainer(shards, settings, folder):
    sampler = ChunkSampler(shards, settings)
    held_out = held_out_batch(ChunkSampler(shards, judging(settings)), num_samples=3, chunk_frames=13)
    return Trainer(make_model(settings), NanoTask({None: sampler}, settings, held_out), settings, folder, cpu=True)


class Quiet:
    def start(self, what, total=None, done=0): ...
    def advance(self, steps=1): ...
    def detail(self, text): ...
    def note(self, text): ...


def same(one, other):
    assert one.keys() == other.keys()
    assert [name for name in one if not torch.equal(one[name], other[name])] == []


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_resumed_training_equals_an_unbroken_one_bit_for_bit(shards, flow_settings, tmp_path, accumulate):
    """Stopped at a checkpoint, then killed two steps later without one: the same weights, average and figures."""
    settings = flow_settings.model_copy(update={"accumulate": accumulate})
    straight = trainer(shards, settings, tmp_path / "straight")
    straight.run(Quiet())
    trainer(shards, settings, tmp_path / "broken").run(Quiet(), stop_at=3)
    killed = trainer(shards, settings, tmp_path / "broken")
    killed.train_step()
    killed.train_step()
    with (tmp_path / "broken" / "metrics.jsonl").open("a") as file:
        file.write('{"step": 5, "loss": 1}\n{"step": 6, "lo')  # as a kill between figures and checkpoint leaves it
    resumed = trainer(shards, settings, tmp_path / "broken")
    assert resumed.step == 3
    resumed.run(Quiet())
    assert resumed.step == 6
    same(dict(straight.weights), dict(resumed.weights))
    same(straight.average, resumed.average)
    lines = []
    for name in ("straight", "broken"):
        text = (tmp_path / name / "metrics.jsonl").read_text()
        lines.append([{k: v for k, v in json.loads(line).items() if k != "seconds"} for line in text.splitlines()])
    assert [line["step"] for line in lines[0]] == [3, 6]
    assert lines[0] == lines[1]


def test_parts_of_a_step_are_the_samples_of_a_larger_batch(shards, flow_settings, tmp_path):
    halves = flow_settings.model_copy(update={"accumulate": 2, "phases": (CHUNK,)})
    whole = flow_settings.model_copy(update={"phases": (CHUNK.model_copy(update={"batch_size": 4}),)})
    one, other = trainer(shards, halves, tmp_path / "halves"), trainer(shards, whole, tmp_path / "whole")
    for _ in range(2):
        torch.testing.assert_close(one.train_step(), other.train_step(), rtol=1e-5, atol=0)
    for name, weight in one.weights.items():
        # Two Adam steps of 1e-3: what rounding turns around in tiny gradients stays far below one.
        torch.testing.assert_close(weight, other.weights[name], rtol=0, atol=2e-5)


def test_gradient_checkpointing_changes_no_gradient(shards, flow_settings):
    batch = ChunkSampler(shards, flow_settings).batch(0, CHUNK)
    plain, saving = make_model(flow_settings), make_model(flow_settings)
    saving.enable_gradient_checkpointing()
    calls = []
    saving.blocks[0].register_forward_pre_hook(lambda *_: calls.append(1))
    for model in (plain, saving):
        flow_loss(model, batch, 10.0).backward()
    assert len(calls) == 2, "the block runs again in the backward pass"
    same({n: p.grad for n, p in plain.named_parameters()}, {n: p.grad for n, p in saving.named_parameters()})


def test_a_checkpoint_of_other_settings_is_refused_by_name(shards, flow_settings, tmp_path):
    trainer(shards, flow_settings, tmp_path).run(Quiet(), stop_at=1)
    trainer(shards, flow_settings.model_copy(update={"checkpoint_every": 1}), tmp_path)
    with pytest.raises(InputError, match=r"flow.reference was m3, and is m0"):
        trainer(shards, flow_settings.model_copy(update={"reference": "m0"}), tmp_path)


def test_the_average_is_lent_and_given_back(shards, flow_settings, tmp_path):
    made = trainer(shards, flow_settings, tmp_path)
    for _ in range(3):
        made.train_step()
    own = {name: weight.clone() for name, weight in made.weights.items()}
    with made.averaged() as model:
        same(dict(model.named_parameters()), made.average)
        assert not model.training
    same(dict(made.weights), own)
    assert any(not torch.equal(own[name], made.average[name]) for name in own)


def test_the_first_answer_is_the_reference(shards, flow_settings):
    model, batch = make_model(flow_settings), ChunkSampler(shards, flow_settings).batch(0, CHUNK)
    wanted = (batch.clean - batch.reference).square()
    weight = (1 + flow_settings.mouth_weight * batch.mouth) * (1 - batch.given_mask)
    by_sigma = 1 / batch.sigma.clamp(min=0.4).view(-1, 1, 1, 1, 1)
    expected = (wanted * weight * by_sigma).sum() / (weight.sum() * CHANNELS)
    assert flow_loss(model, batch, flow_settings.mouth_weight).item() == pytest.approx(float(expected), rel=1e-5)
    assert audio_gain(model, batch) == 0.0
    made = generate_latents(model, batch, flow_settings.timestep_shift)
    repeated = torch.where(batch.given_mask.bool(), batch.given, batch.reference.expand_as(batch.clean))
    torch.testing.assert_close(made, repeated, rtol=1e-4, atol=1e-4)


def test_batches_follow_the_conditions_of_dubbing(shards, flow_settings):
    sampler = ChunkSampler(shards, flow_settings.model_copy(update={"audio_dropout": 0.5}))
    given, silent = set(), 0
    for step in range(30):
        batch = sampler.batch(step, CHUNK)
        assert batch.clean.shape[:3] == (2, CHANNELS, 4)
        assert batch.audio.shape == (2, 13, 5, 1, AUDIO_CHANNELS)
        assert (batch.sigma > 0).all()
        assert (batch.sigma <= 1).all()
        for index in range(2):
            num_given = int(batch.given_mask[index].sum())
            given.add(num_given)
            silent += not batch.audio[index].any()
            if num_given == 1:
                torch.testing.assert_close(batch.given[index, :, :1], batch.reference[index])
    assert given == {1, 3}
    assert 15 < silent < 45


def test_baselines_know_their_own_ends(shards, flow_settings):
    """fl2v knows its first and last latent frame, i2v the first alone; both look at their own first frame."""
    masks = {}
    for share in ("i2v_share", "fl2v_share"):
        batch = ChunkSampler(shards, flow_settings.model_copy(update={share: 1.0})).batch(0, CHUNK)
        masks[share] = batch.given_mask[:, 0, :, 0, 0].tolist()
        torch.testing.assert_close(batch.clean[:, :, :1], batch.reference)
        known = batch.given_mask.bool().expand_as(batch.clean)
        assert torch.equal(batch.given[known], batch.clean[known])
    assert masks == {"i2v_share": [[1, 0, 0, 0]] * 2, "fl2v_share": [[1, 0, 0, 1]] * 2}


def test_shares_of_conditions_are_what_is_asked_for(flow_settings):
    import random

    settings = flow_settings.model_copy(update={"i2v_share": 0.2, "fl2v_share": 0.3})
    rng, chunk = random.Random(0), FrameSpan(20, 41)
    drawn = [draw_given(rng, settings, chunk, 93) for _ in range(2000)]
    assert sum(one.last for one in drawn) / 2000 == pytest.approx(0.3, abs=0.04)
    # i2v, and first chunks with their own first frame: 0.2 + 0.5 * 0.4 * 0.4
    own = sum(one.num_first == 1 and one.reference == 20 and not one.last for one in drawn) / 2000
    assert own == pytest.approx(0.28, abs=0.04)


def test_batches_depend_on_the_step_only(shards, flow_settings):
    one, other = (ChunkSampler(shards, flow_settings) for _ in range(2))
    one.batch(0, CHUNK)
    first, second = one.batch(7, CHUNK), other.batch(7, CHUNK)
    for field in dataclasses.fields(first):
        assert torch.equal(getattr(first, field.name), getattr(second, field.name))


def test_windows_hold_the_last_row_at_both_ends():
    features = torch.arange(6.0)[:, None]
    windows = audio_windows(features, FrameSpan(0, 6))
    assert windows.shape == (6, 5, 1)
    assert windows[0].flatten().tolist() == [0, 0, 0, 1, 2]
    assert windows[5].flatten().tolist() == [3, 4, 5, 5, 5]


def test_phases_and_learning_rate_by_steps(flow_settings):
    places = [place_at(flow_settings, step, seconds=1e9) for step in range(7)]
    assert [place.phase.chunk_frames for place in places[:6]] == [13, 13, 13, 13, 17, 17]
    assert [place.is_over for place in places] == [False] * 6 + [True]
    rates = [learning_rate(flow_settings, step, places[step].share) for step in range(6)]
    assert rates[0] == pytest.approx(flow_settings.learning_rate / 2)
    assert max(rates) == pytest.approx(flow_settings.learning_rate)
    assert rates[2:] == sorted(rates[2:], reverse=True)


def test_hours_share_the_time_by_work_and_end_low(flow_settings):
    """The first phase holds 32 latent frames, the second 10: it begins after 32/42 of the time."""
    settings = flow_settings.model_copy(update={"hours": 1.0})
    lengths = [place_at(settings, 10_000, seconds).phase.chunk_frames for seconds in (0, 2700, 2760, 3599)]
    assert lengths == [13, 13, 17, 17]
    assert place_at(settings, 10_000, 3600.0).is_over
    late = place_at(settings, 10_000, 3599.0)
    assert learning_rate(settings, 10_000, late.share) == pytest.approx(0.02 * settings.learning_rate, rel=0.01)


def test_a_time_budget_is_kept_over_a_restart(shards, flow_settings, tmp_path, monkeypatch):
    """Ten seconds by a clock that ticks once per look: it stops, resumes where it was, and ends when time is up."""
    clock = iter(range(10_000))
    monkeypatch.setattr("infinitetalk_cli.train.loop.time.monotonic", lambda: float(next(clock)))
    settings = flow_settings.model_copy(update={"hours": 10 / 3600})
    trainer(shards, settings, tmp_path).run(Quiet(), stop_at=4)
    resumed = trainer(shards, settings, tmp_path)
    assert (resumed.step, resumed.seconds) == (4, 4.0)
    resumed.run(Quiet())
    assert (resumed.step, resumed.seconds) == (10, 10.0)


def test_batches_that_are_prepared_ahead_are_the_same_ones():
    """Also when the clock ends a phase in the middle of what is waiting."""
    other, made = CHUNK.model_copy(update={"chunk_frames": 17}), []

    def make(step, phase):
        made.append((step, phase.chunk_frames))
        return [(step, phase.chunk_frames)]

    feed = BatchFeed(make, ahead=3)
    got = [feed.batches(step, CHUNK if step < 5 else other)[0] for step in range(8)]
    assert got == [(step, 13 if step < 5 else 17) for step in range(8)]
    feed.close()
    assert (7, 17) in made
    assert set(made) > set(got), "some were prepared that nobody wanted"


def test_crops_without_a_known_mouth_are_anywhere(shards, flow_settings, tmp_path):
    from safetensors.torch import load_file

    shard = load_file(shards[1])
    shard["mouth"] = torch.zeros_like(shard["mouth"])
    save_file(shard, tmp_path / "blind.safetensors")
    sampler = ChunkSampler([tmp_path / "blind.safetensors"], flow_settings)
    batch = sampler.batch(0, CHUNK.model_copy(update={"crop_latents": 2, "batch_size": 8}))
    assert batch.clean.shape[3:] == (2, 2)
    model = make_model(flow_settings)
    assert torch.isfinite(flow_loss(model, batch, 10.0))
    assert audio_gain(model, batch) == 0.0
