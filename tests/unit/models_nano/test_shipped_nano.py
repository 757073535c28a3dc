"""The weights that ship in the package, on a clip that the test renders."""

import numpy as np
import pytest
import torch

from infinitetalk_cli.checkpoints.locate import builtin_folder
from infinitetalk_cli.models.geometry import pixels_from_frames
from infinitetalk_cli.models.nano_audio import SAMPLES_PER_FRAME, NanoAudioEncoder
from infinitetalk_cli.models.nano_codec import NanoCodec


@pytest.fixture(scope="module")
def codec():
    return NanoCodec.from_pretrained(builtin_folder("nano") / "codec", torch_dtype=torch.float32).eval()


@pytest.fixture(scope="module")
def encoder():
    return NanoAudioEncoder.from_pretrained(builtin_folder("nano") / "audio_encoder", torch_dtype=torch.float32).eval()


@pytest.fixture(scope="module")
def pixels():
    from infinitetalk_cli.world.clip import make_clip
    from infinitetalk_cli.world.dataset import HELD_OUT_FIRST_SEED, to_pixels
    from infinitetalk_cli.world.phonemes import MouthTrack

    time = np.arange(21)[:, None] / 25
    rows = 0.5 - 0.5 * np.cos(2 * np.pi * time * np.array([3.0, 1.3, 3.0, 2.0]))
    clip = make_clip(HELD_OUT_FIRST_SEED + 5, MouthTrack.from_stacked(rows), 96, 96, head_motion=0.03)
    return to_pixels(torch.from_numpy(clip.frames_u8))[None]


@torch.inference_mode()
def test_a_decoded_clip_looks_like_the_clip(codec, pixels):
    decoded = codec.decode(codec.encode(pixels))
    assert decoded.shape == pixels.shape
    psnr = 10 * torch.log10(4 / (decoded - pixels).square().mean())
    assert psnr > 26


@torch.inference_mode()
def test_latents_of_a_later_start_are_a_slice(codec, pixels):
    whole, late = codec.encode(pixels), codec.encode(pixels[:, :, 8:])
    torch.testing.assert_close(late[:, :, 1:], whole[:, :, 3:], atol=1e-4, rtol=0)
    single = codec.encode(pixels[:, :, 8:9])
    torch.testing.assert_close(late[:, :, :1], single, atol=1e-4, rtol=0)


@torch.inference_mode()
def test_a_frame_depends_on_no_later_latents(codec, pixels):
    latents = codec.encode(pixels)
    whole, start = codec.decode(latents), codec.decode(latents[:, :, :3])
    torch.testing.assert_close(whole[:, :, :9], start, atol=0.02, rtol=0)


@pytest.mark.parametrize("block_frames", [7, 16, 61])
def test_blocks_give_what_one_pass_gives(encoder, block_frames):
    rng = np.random.default_rng(0)
    waveform = (0.05 * rng.standard_normal(60 * SAMPLES_PER_FRAME + 123)).astype(np.float32)
    whole = torch.cat(list(encoder.encode(waveform, 61)))
    blocks = list(encoder.encode(waveform, 61, block_frames=block_frames))
    assert max(map(len, blocks)) <= block_frames
    assert whole.shape == (61, 1, 64)
    torch.testing.assert_close(torch.cat(blocks), whole, atol=2e-4, rtol=0)


def test_silence_closes_the_mouth(encoder):
    rows = torch.cat(list(encoder.encode(np.zeros(20 * SAMPLES_PER_FRAME, np.float32), 20)))
    with torch.inference_mode():
        assert encoder.mouth(rows[:, 0]).openness.max() < 0.15


def test_the_mouth_follows_the_voice(tmp_path):
    pytest.importorskip("espeakng_loader", reason="speech synthesis needs the extra infinitetalk[train]")
    from infinitetalk_cli.evaluate.synthetic import lips
    from infinitetalk_cli.evaluate.synthetic.dubbing import dub, load_models, load_probe
    from infinitetalk_cli.evaluate.synthetic.settings import EvalSettings
    from infinitetalk_cli.models.mouth_probe import read_mouths
    from infinitetalk_cli.world.dataset import HELD_OUT_FIRST_SEED, spoken_clip

    weights, profile = builtin_folder("nano"), EvalSettings(num_steps=2).load_profile()
    clip, _ = spoken_clip(HELD_OUT_FIRST_SEED + 2000, 81, 96, 96, 0.03, held_out=True)
    speaker, waveform = spoken_clip(HELD_OUT_FIRST_SEED + 2001, 81, 96, 96, 0.03, held_out=True)
    other, _ = spoken_clip(HELD_OUT_FIRST_SEED + 2002, 81, 96, 96, 0.03, held_out=True)
    made = dub(load_models(weights, profile), profile, clip.frames_u8, waveform, tmp_path / "dub")
    pixels = pixels_from_frames(made.frames_u8)[0]
    openness = read_mouths(load_probe(weights), pixels, torch.from_numpy(clip.mouth_px))[:, 0]
    right = lips.correlation(openness, torch.from_numpy(speaker.mouth.openness))
    assert right > 0.5
    assert right > 0.2 + lips.correlation(openness, torch.from_numpy(other.mouth.openness))
