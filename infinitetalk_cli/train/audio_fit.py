"""Training of the audio encoder: from synthetic speech to the mouth that says it."""

from __future__ import annotations

import logging
import random

import numpy as np
import torch
from torch import Tensor

from infinitetalk_cli.models.nano_audio import FFT_SIZE, MELS_PER_FRAME, SAMPLES_PER_FRAME, NanoAudioEncoder
from infinitetalk_cli.progress import Progress
from infinitetalk_cli.train.settings import AudioSettings
from infinitetalk_cli.world.speech import random_speech
from infinitetalk_cli.world.voices import recorded, stretched

log = logging.getLogger(__name__)

_FIRST_SEED = 5_000_000
_LOSS_WEIGHTS = (3.0, 2.0, 1.0, 1.0, 0.5)
"""Of openness, width, teeth, tongue, energy."""


def _energy(waveform: np.ndarray, num_frames: int) -> np.ndarray:
    """(num_frames,) loudness by frame, about -1..1."""
    padded = np.pad(waveform, (0, max(0, num_frames * SAMPLES_PER_FRAME - len(waveform))))
    power = (padded[: num_frames * SAMPLES_PER_FRAME].reshape(num_frames, -1) ** 2).mean(axis=1)
    return (np.log(power + 1e-6) / 4 + 1.5).astype(np.float32)


@torch.inference_mode()
def heard_speech(
    encoder: NanoAudioEncoder, seed: int, settings: AudioSettings, held_out: bool
) -> tuple[Tensor, Tensor]:
    """Log-mel (n * 4, mels) float16 and truth (n, 5) of one utterance, recorded somewhere."""
    speech = random_speech(_FIRST_SEED + seed, settings.utterance_s, held_out)
    rng = np.random.default_rng(seed)
    waveform, mouth = speech.waveform, speech.mouth.stacked()
    if not held_out:
        waveform, mouth = stretched(waveform, mouth, rng.uniform(0.8, 1.25))
    num_frames = min(len(mouth), round(settings.utterance_s * 0.8 * 25))
    truth = np.concatenate([mouth[:num_frames], _energy(waveform, num_frames)[:, None]], axis=1)
    waveform = recorded(rng, waveform, settings.noisy_share)[: num_frames * SAMPLES_PER_FRAME]
    samples = np.pad(waveform, (FFT_SIZE // 2, FFT_SIZE // 2 + num_frames * SAMPLES_PER_FRAME - len(waveform)))
    rows = encoder.log_mel(torch.from_numpy(samples.astype(np.float32))[None])[0]
    return rows.half(), torch.from_numpy(truth)


def fit_audio_encoder(settings: AudioSettings, progress: Progress) -> NanoAudioEncoder:
    """A trained encoder; the same for the same settings."""
    torch.manual_seed(0)
    encoder = NanoAudioEncoder(settings.channels, settings.hidden_channels, settings.num_blocks)
    progress.start("speech for the audio encoder", settings.num_utterances)
    corpus = []
    for seed in range(settings.num_utterances):
        corpus.append(heard_speech(encoder, seed, settings, held_out=False))
        progress.advance()
    optimizer = torch.optim.AdamW(encoder.parameters(), lr=settings.learning_rate, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, settings.learning_rate, total_steps=settings.num_steps, pct_start=0.1
    )
    weights = torch.tensor(_LOSS_WEIGHTS)
    rng = random.Random(0)
    progress.start("training the audio encoder", settings.num_steps)
    for step in range(settings.num_steps):
        rows, truth = _batch(rng, corpus, settings)
        with torch.autocast("cpu", torch.bfloat16):
            features = encoder.features(rows)
        reach = encoder.reach_frames
        estimate = torch.stack(encoder.mouth(features.float()), dim=-1)
        loss = ((estimate - truth[:, reach:-reach]).square() * weights).mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(encoder.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        progress.advance()
        if step % 50 == 0:
            progress.detail(f"loss {loss.item():.4f}")
    return encoder.eval()


def _batch(rng: random.Random, corpus: list[tuple[Tensor, Tensor]], settings: AudioSettings) -> tuple[Tensor, Tensor]:
    """Random crops: log-mel (b, n * 4, mels) and truth (b, n, 5); bands are masked now and then."""
    rows, truths = [], []
    for _ in range(settings.batch_size):
        mel, truth = corpus[rng.randrange(len(corpus))]
        first = rng.randrange(len(truth) - settings.crop_frames)
        stop = first + settings.crop_frames
        crop = mel[first * MELS_PER_FRAME : stop * MELS_PER_FRAME].float()
        if rng.random() < 0.3:
            low, width = rng.randrange(70), rng.randrange(1, 12)
            crop[:, low : low + width] = crop.mean()
        rows.append(crop)
        truths.append(truth[first:stop])
    return torch.stack(rows), torch.stack(truths)


@torch.inference_mode()
def correlations(encoder: NanoAudioEncoder, settings: AudioSettings, num_utterances: int = 24) -> dict[str, float]:
    """Correlation with the truth on held-out voices and words, pooled, by name."""
    estimates, truths = [], []
    for seed in range(num_utterances):
        rows, truth = heard_speech(encoder, seed, settings, held_out=True)
        features = encoder.features(rows[None].float())
        estimates.append(torch.stack(encoder.mouth(features), dim=-1)[0])
        truths.append(truth[encoder.reach_frames : -encoder.reach_frames])
    estimate, truth = torch.cat(estimates), torch.cat(truths)
    names = ("openness", "width", "teeth", "tongue", "energy")
    return {
        name: float(torch.corrcoef(torch.stack([estimate[:, i], truth[:, i]]))[0, 1]) for i, name in enumerate(names)
    }
