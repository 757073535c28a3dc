"""Long speech in blocks against one pass over all of it."""

from __future__ import annotations

import re
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import Wav2Vec2Config, Wav2Vec2Model

from infinitetalk_cli.arrays import SampleFile, writing_rows
from infinitetalk_cli.models import audio_encoder, long_speech
from infinitetalk_cli.models.audio_encoder import Wav2Vec2AudioEncoder, resample_rows, waveform_statistics
from infinitetalk_cli.models.long_speech import LongSpeech

MEDIA = Path("/work/shared/media/speech-44k-10s.wav")


def make_encoder(**config: object) -> Wav2Vec2AudioEncoder:
    """Two small layers with random weights, the front end as published."""
    torch.manual_seed(0)
    settings = {
        "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48,
        "conv_dim": [24] * 7, "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 4, "vocab_size": 32,
    }  # fmt: skip
    model = Wav2Vec2Model(Wav2Vec2Config(**settings | config))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return Wav2Vec2AudioEncoder(model)


def spoken(tmp_path: Path, seconds: float) -> np.ndarray:
    """Real speech where there is some, else made of noise that swells; with an offset, so that the mean matters."""
    num_samples = round(seconds * 16_000)
    if MEDIA.is_file():
        from infinitetalk_cli.media.audio import decode_mono

        decode_mono(MEDIA, tmp_path / "speech.f32")
        samples = SampleFile(tmp_path / "speech.f32")[:]
    else:
        swell = np.sin(np.arange(num_samples) / 3000) ** 2
        samples = (0.1 * swell * np.random.default_rng(0).standard_normal(num_samples)).astype(np.float32)
    return np.resize(samples, num_samples) + np.float32(0.01)


@pytest.mark.parametrize("norm", ["group", "layer"])
@pytest.mark.parametrize(("seconds", "num_frames"), [(8.0, 200), (7.991, 200), (5.3, 133)])
def test_front_end_in_blocks_equals_one_pass(
    norm: str, seconds: float, num_frames: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tolerance: float32 sums in another order; features have a spread of about 0.5."""
    encoder, waveform = make_encoder(feat_extract_norm=norm, conv_bias=norm == "layer"), spoken(tmp_path, seconds)
    mean, deviation = waveform_statistics(waveform)
    whole = encoder.conv_features(torch.from_numpy((waveform - mean) / deviation))
    monkeypatch.setattr(long_speech, "PIECE_ROWS", 37)
    speech = LongSpeech(encoder.model, waveform, mean, deviation)
    assert speech.num_rows == len(whole)
    torch.testing.assert_close(speech.rows(0, len(whole)), whole, atol=5e-5, rtol=0)
    torch.testing.assert_close(speech.rows(50, 120), whole[50:120], atol=5e-5, rtol=0)
    blocks = [speech.frames(start, min(start + 60, num_frames), num_frames) for start in range(0, num_frames, 60)]
    torch.testing.assert_close(torch.cat(blocks), resample_rows(whole, num_frames), atol=2e-4, rtol=0)


def test_up_to_one_block_the_rows_are_those_of_one_pass(tmp_path: Path) -> None:
    encoder, waveform = make_encoder(), spoken(tmp_path, 10.0)
    mean, deviation = waveform_statistics(waveform)
    whole = encoder.embed(torch.from_numpy((waveform - mean) / deviation), 250)
    torch.testing.assert_close(torch.cat(list(encoder.encode(waveform, 250))), whole, atol=1e-3, rtol=0)


def test_rows_beyond_one_block_lack_only_far_attention(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Random weights hear all of the recording alike, the worst case: 0.3 of the spread at windows of 24 of 60 s."""
    encoder, waveform = make_encoder(), spoken(tmp_path, 60.0)
    whole = torch.cat(list(encoder.encode(waveform, 1500)))
    monkeypatch.setattr(audio_encoder, "BLOCK_FRAMES", 400)
    monkeypatch.setattr(audio_encoder, "MARGIN_FRAMES", 100)
    blocks = list(encoder.encode(waveform, 1500))
    assert [len(block) for block in blocks] == [400, 400, 400, 300]
    rows = torch.cat(blocks)
    spread = (whole - whole.mean(0)).square().mean().sqrt()
    assert (rows - whole).square().mean().sqrt() < 0.3 * spread
    steps = (rows[1:] - rows[:-1]).abs().mean(dim=(1, 2))
    assert steps[[399, 799, 1199]].max() < 2 * steps.max()


def test_samples_in_a_file_are_an_array(tmp_path: Path) -> None:
    samples = np.random.default_rng(0).standard_normal(1000).astype(np.float32)
    (tmp_path / "a.f32").write_bytes(samples.tobytes())
    file = SampleFile(tmp_path / "a.f32")
    assert len(file) == 1000
    for span in (slice(0, 10), slice(990, 2000), slice(5, 5), slice(None), slice(7, 3), slice(-5, None)):
        np.testing.assert_array_equal(file[span], samples[span])
    np.testing.assert_array_equal(np.asarray(file), samples)
    file.scale(0.5, block_samples=300)
    np.testing.assert_array_equal(file[:], samples * np.float32(0.5))


def test_rows_written_in_blocks_are_one_array(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).standard_normal((7, 2, 3)).astype(np.float32)
    with writing_rows(tmp_path / "rows.npy", rows.shape) as writer:
        writer.append(rows[:4])
        writer.append(rows[4:])
    np.testing.assert_array_equal(np.load(tmp_path / "rows.npy", mmap_mode="r"), rows)
    with pytest.raises(AssertionError, match="missing"), writing_rows(tmp_path / "few.npy", rows.shape) as writer:
        writer.append(rows[:4])


_MEASURE = """
    import resource, sys, numpy as np, torch
    from infinitetalk_cli.arrays import SampleFile, writing_rows
    from infinitetalk_cli.models.nano_audio import NanoAudioEncoder
    from pathlib import Path
    torch.set_num_threads(1)
    folder, minutes = Path(sys.argv[1]), int(sys.argv[2])
    with (folder / "long.f32").open("wb") as file:
        for minute in range(minutes):
            noise = np.random.default_rng(minute).standard_normal(960_000)
            file.write((0.05 * noise).astype("<f4").tobytes())
    encoder = NanoAudioEncoder().eval()
    num_rows = minutes * 1500
    with writing_rows(folder / "rows.npy", (num_rows, 1, encoder.channels)) as rows:
        for block in encoder.encode(SampleFile(folder / "long.f32"), num_rows):
            rows.append(block.numpy())
    print("peak", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_the_length(tmp_path: Path) -> None:
    """Peak of the whole process, in KiB; allocators keep some of what they had, hence the slack."""

    def peak(minutes: int) -> int:
        words = [sys.executable, "-c", textwrap.dedent(_MEASURE), str(tmp_path), str(minutes)]
        output = subprocess.run(words, capture_output=True, text=True, check=True).stdout
        return int(re.search(r"peak (\d+)", output)[1])

    assert peak(20) < 1.1 * peak(2)
