import dataclasses
import json

import pytest
import torch
from safetensors.torch import save_file

from infinitetalk_cli.errors import ProfileError
from infinitetalk_cli.train.config import load_settings
from infinitetalk_cli.train.flow import audio_gain, flow_loss
from infinitetalk_cli.train.latents import ChunkSampler, audio_windows
from infinitetalk_cli.train.loop import Trainer, build_transformer, learning_rate, phase_of
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


@pytest.fixture
def flow_settings():
    flow = load_settings("nano").flow
    phases = (Phase(num_steps=4, chunk_frames=13, batch_size=2), Phase(num_steps=2, chunk_frames=17, batch_size=1))
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


def trainer(shards, settings, folder):
    torch.manual_seed(settings.seed)
    model = build_transformer(TINY, CHANNELS, AUDIO_CHANNELS)
    return Trainer(model, ChunkSampler(shards, settings), settings, folder, cpu=True)


class Quiet:
    def start(self, what, total=None): ...
    def advance(self, steps=1): ...
    def detail(self, text): ...
    def note(self, text): ...


def test_a_resumed_training_equals_an_unbroken_one_bit_for_bit(shards, flow_settings, tmp_path):
    straight = trainer(shards, flow_settings, tmp_path / "straight")
    straight.run(Quiet())
    trainer(shards, flow_settings, tmp_path / "broken").run(Quiet(), stop_at=3)
    resumed = trainer(shards, flow_settings, tmp_path / "broken")
    assert resumed.step == 3
    resumed.run(Quiet())
    assert resumed.step == 6
    for one, other in ((straight.model, resumed.model), (straight.average, resumed.average)):
        for (name, a), (_, b) in zip(one.state_dict().items(), other.state_dict().items(), strict=True):
            assert torch.equal(a, b), name
    lines = [json.loads(line) for line in (tmp_path / "broken" / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [3, 6]


def test_the_first_answer_is_the_reference(shards, flow_settings, tmp_path):
    fresh = trainer(shards, flow_settings, tmp_path)
    batch = fresh.sampler.batch(0, 13, 2)
    wanted = (batch.clean - batch.reference).square()
    weight = (1 + flow_settings.mouth_weight * batch.mouth) * (1 - batch.context_mask)
    by_sigma = 1 / batch.sigma.clamp(min=0.4).view(-1, 1, 1, 1, 1)
    expected = (wanted * weight * by_sigma).sum() / (weight.sum() * CHANNELS)
    assert float(flow_loss(fresh.average, batch, flow_settings.mouth_weight)) == pytest.approx(
        float(expected), rel=1e-5
    )
    assert audio_gain(fresh.average, batch) == 0.0


def test_batches_follow_the_conditions_of_dubbing(shards, flow_settings):
    sampler = ChunkSampler(shards, flow_settings.model_copy(update={"audio_dropout": 0.5}))
    given, silent = set(), 0
    for step in range(30):
        batch = sampler.batch(step, 13, 2)
        assert batch.clean.shape[:3] == (2, CHANNELS, 4)
        assert batch.audio.shape == (2, 13, 5, 1, AUDIO_CHANNELS)
        assert (batch.sigma > 0).all()
        assert (batch.sigma <= 1).all()
        for index in range(2):
            num_given = int(batch.context_mask[index].sum())
            given.add(num_given)
            silent += not batch.audio[index].any()
            if num_given == 1:
                torch.testing.assert_close(batch.given[index, :, :1], batch.reference[index])
    assert given == {1, 3}
    assert 15 < silent < 45


def test_batches_depend_on_the_step_only(shards, flow_settings):
    one, other = (ChunkSampler(shards, flow_settings) for _ in range(2))
    one.batch(0, 13, 2)
    first, second = one.batch(7, 13, 2), other.batch(7, 13, 2)
    for field in dataclasses.fields(first):
        assert torch.equal(getattr(first, field.name), getattr(second, field.name))


def test_windows_hold_the_last_row_at_both_ends():
    features = torch.arange(6.0)[:, None]
    windows = audio_windows(features, FrameSpan(0, 6))
    assert windows.shape == (6, 5, 1, 1)
    assert windows[0].flatten().tolist() == [0, 0, 0, 1, 2]
    assert windows[5].flatten().tolist() == [3, 4, 5, 5, 5]


def test_phases_and_learning_rate(flow_settings):
    assert [phase_of(flow_settings.phases, step).chunk_frames for step in (0, 3, 4, 5)] == [13, 13, 17, 17]
    rates = [learning_rate(flow_settings, step) for step in range(6)]
    assert rates[0] == pytest.approx(flow_settings.learning_rate / 2)
    assert max(rates) == pytest.approx(flow_settings.learning_rate)
    assert rates[2:] == sorted(rates[2:], reverse=True)


def test_a_wrong_key_is_named_with_its_line(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("name: mine\nworld:\n  num_clip: 3\n", encoding="utf-8")
    with pytest.raises(ProfileError, match=r"mine.yaml:3.*world.num_clip"):
        load_settings(str(path))


def test_an_unknown_configuration_names_the_shipped_ones():
    with pytest.raises(ProfileError, match="shipped: nano"):
        load_settings("nanoo")
