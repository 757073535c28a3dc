from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import Wav2Vec2Config, Wav2Vec2Model

from infinitetalk_cli.models import audio_encoder
from infinitetalk_cli.models.audio_encoder import Wav2Vec2AudioEncoder, resample_rows, waveform_statistics


@pytest.fixture
def encoder() -> Wav2Vec2AudioEncoder:
    """Three small layers with random weights."""
    torch.manual_seed(0)
    config = Wav2Vec2Config(
        hidden_size=16, num_hidden_layers=3, num_attention_heads=2, intermediate_size=24, conv_dim=[8] * 7,
        num_conv_pos_embeddings=8, num_conv_pos_embedding_groups=2, vocab_size=8,
    )  # fmt: skip
    return Wav2Vec2AudioEncoder(Wav2Vec2Model(config))


def sound(num_samples: int) -> np.ndarray:
    return 0.1 * np.random.default_rng(0).standard_normal(num_samples).astype(np.float32)


def encode(encoder: Wav2Vec2AudioEncoder, waveform: np.ndarray, num_frames: int) -> torch.Tensor:
    return torch.cat(list(encoder.encode(waveform, num_frames)))


def test_one_row_per_frame(encoder: Wav2Vec2AudioEncoder) -> None:
    rows = encode(encoder, sound(20_000), 31)
    assert rows.shape == (31, encoder.num_layers, encoder.channels) == (31, 3, 16)
    assert rows.dtype == torch.float32


def test_rows_are_the_layers_of_the_whole_model(encoder: Wav2Vec2AudioEncoder) -> None:
    waveform = sound(640 * 20)
    mean, deviation = waveform_statistics(waveform)
    with torch.no_grad():
        features = resample_rows(encoder.conv_features(torch.from_numpy((waveform - mean) / deviation)), 20)
        hidden = encoder.model.feature_projection(features[None])[0]
        hidden = hidden + encoder.model.encoder.pos_conv_embed(hidden)
        hidden = encoder.model.encoder.layer_norm(hidden)
        expected = []
        for layer in encoder.model.encoder.layers:
            output = layer(hidden)
            hidden = output if isinstance(output, torch.Tensor) else output[0]
            expected.append(hidden[0])
    torch.testing.assert_close(encode(encoder, waveform, 20), torch.stack(expected, dim=1))


def test_loudness_does_not_matter(encoder: Wav2Vec2AudioEncoder) -> None:
    waveform = sound(16_000)
    torch.testing.assert_close(encode(encoder, waveform, 25), encode(encoder, 3 * waveform, 25), atol=1e-3, rtol=0)


def test_long_sound_comes_in_blocks_that_fit_together(
    encoder: Wav2Vec2AudioEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    waveform = sound(640 * 200)
    whole = encode(encoder, waveform, 200)
    monkeypatch.setattr(audio_encoder, "BLOCK_FRAMES", 60)
    monkeypatch.setattr(audio_encoder, "MARGIN_FRAMES", 30)
    blocks = list(encoder.encode(waveform, 200))
    assert [len(block) for block in blocks] == [60, 60, 60, 20]
    # Attention sees less, so rows differ a little; a row in the wrong place would differ by a lot.
    difference = (torch.cat(blocks) - whole).abs().mean()
    assert difference < 0.3 * (whole[1:] - whole[:-1]).abs().mean()


@pytest.mark.parametrize("num_samples", [1, 100, 500])
def test_sound_shorter_than_one_frame(encoder: Wav2Vec2AudioEncoder, num_samples: int) -> None:
    assert torch.isfinite(encode(encoder, sound(num_samples), 1)).all()


def test_silence(encoder: Wav2Vec2AudioEncoder) -> None:
    assert torch.isfinite(encode(encoder, np.zeros(16_000, np.float32), 25)).all()


def test_statistics_are_those_of_the_feature_extractor() -> None:
    waveform = sound(16_000 * 130) + np.float32(0.2)
    mean, deviation = waveform_statistics(waveform)
    assert mean == pytest.approx(waveform.mean(dtype=np.float64), rel=1e-6)
    assert deviation == pytest.approx(np.sqrt(waveform.var(dtype=np.float64) + 1e-7), rel=1e-6)
