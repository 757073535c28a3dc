"""The end of the sound: how many frames it gives, what the chunks bring of them, and what is heard past it."""

from __future__ import annotations

import wave
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st
from transformers import Wav2Vec2Config, Wav2Vec2Model

from infinitetalk_cli.config.job import ClipSettings, Length
from infinitetalk_cli.config.profile import AudioProfile, ChunkProfile
from infinitetalk_cli.media.timeline import SourceTimeline
from infinitetalk_cli.models import audio_encoder, chunking
from infinitetalk_cli.models.audio_encoder import AudioEncoder, Wav2Vec2AudioEncoder
from infinitetalk_cli.models.loudness import integrated_loudness
from infinitetalk_cli.models.nano_audio import NanoAudioEncoder
from infinitetalk_cli.progress import SilentProgress
from infinitetalk_cli.stages.audio_embedding import (
    AudioEmbeddingSettings,
    DubTrack,
    _num_frames,
    embed_audio,
    read_track,
)
from infinitetalk_cli.stages.keyframes import KeyframeSettings, make_plan
from infinitetalk_cli.stages.scenes import Cut
from infinitetalk_cli.stages.speech_tracks import SpeechTrack, SpeechTracks, save_tracks, track_file
from infinitetalk_cli.stages.stage import StageContext

RATES_HZ = (8_000, 11_025, 16_000, 22_050, 32_000, 44_100, 48_000, 96_000)
CHUNK_SIZES = st.sampled_from([(5, 1), (9, 5), (17, 5), (17, 13), (21, 1), (81, 9)])
steadily = settings(
    max_examples=20, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@dataclass
class Hearing:
    """An encoder that remembers what it was given; a row is the number of its frame."""

    num_layers, channels = 1, 1
    heard: list[np.ndarray] = field(default_factory=list)

    def encode(self, waveform: np.ndarray, num_frames: int) -> Iterator[torch.Tensor]:
        self.heard.append(np.asarray(waveform))
        yield torch.arange(num_frames, dtype=torch.float32)[:, None, None]


@dataclass
class Embedding:
    """The audio embedding stage in a folder."""

    folder: Path
    timeline: SourceTimeline
    encoder: AudioEncoder = field(default_factory=Hearing)

    def audio_encoder(self) -> AudioEncoder:
        return self.encoder

    def run(
        self, dub_audio: Path, chunks: ChunkProfile, audio: AudioProfile, speech: Path | None = None, **clip: object
    ) -> tuple[np.ndarray, DubTrack]:
        self.timeline.save(self.folder / "timeline.npz")
        inputs = {
            "source_video": self.folder / "v.mp4", "dub_audio": dub_audio, "speech": speech or dub_audio,
            "timeline": self.folder / "timeline.npz",
        }  # fmt: skip
        given = AudioEmbeddingSettings(audio=audio, chunks=chunks, clip=ClipSettings(**clip))
        embed_audio(inputs, given, self.folder, StageContext(SilentProgress(), self, check_inputs=lambda: None))
        return np.load(self.folder / "embeddings.npy"), read_track(self.folder / "track.json")


def video_of(num_frames: int, rate: Fraction = Fraction(25)) -> SourceTimeline:
    frames = np.arange(num_frames, dtype=np.int64)
    return SourceTimeline(frames, num_frames, 1 / rate, np.ones(num_frames, bool))


def wav(path: Path, samples: np.ndarray, rate_hz: int) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate_hz)
        file.writeframes((samples * 32767).astype("<i2").tobytes())
    return path


def noise(num_samples: int, seed: int = 0) -> np.ndarray:
    """Never zero, so that silence is told from sound."""
    random = np.random.default_rng(seed)
    return random.uniform(0.2, 0.9, num_samples) * random.choice([-1, 1], num_samples)


RAW = AudioProfile(loudness_lufs=None)


@pytest.mark.parametrize("rate_hz", RATES_HZ)
def test_frame_count_is_the_ceiling_for_every_remainder(rate_hz: int) -> None:
    for num_samples in range(1, 3 * rate_hz // 25 + 2):
        whole, rest = divmod(25 * num_samples, rate_hz)
        assert _num_frames(Fraction(num_samples, rate_hz), AudioProfile()) == whole + (rest > 0)


def test_frame_count_is_exact_after_hours() -> None:
    for rate_hz in RATES_HZ:
        samples_10_h = 10 * 3600 * rate_hz
        counts = [_num_frames(Fraction(samples_10_h + more, rate_hz), AudioProfile()) for more in (-1, 0, 1)]
        assert counts == [900_000, 900_000, 900_001]


def cut_at(time_s: Fraction) -> Cut:
    return Cut(index=0, time_s=time_s, kind="cut", reference_index=0)


@steadily
@given(
    rate_hz=st.sampled_from(RATES_HZ),
    num_frames=st.integers(1, 40),
    remainder=st.sampled_from([-1, 0, 1]) | st.integers(-3000, 3000),
    sizes=CHUNK_SIZES,
    start=st.fractions(0, 1, max_denominator=60) | st.just(Fraction(0)),
    length_s=st.none() | st.fractions(Fraction(1, 25), 2, max_denominator=90),
    cut_frames=st.lists(st.integers(1, 60), max_size=3, unique=True),
    fits=st.booleans(),
)
@example(
    rate_hz=16_000, num_frames=25, remainder=0, sizes=(17, 5), start=Fraction(0), length_s=None, cut_frames=[24],
    fits=False,
)  # fmt: skip
@example(
    rate_hz=44_100, num_frames=17, remainder=1, sizes=(17, 5), start=Fraction(1, 3), length_s=Fraction(2, 3),
    cut_frames=[], fits=True,
)  # fmt: skip
def test_frames_chunks_and_silence_for_any_length(
    rate_hz: int,
    num_frames: int,
    remainder: int,
    sizes: tuple[int, int],
    start: Fraction,
    length_s: Fraction | None,
    cut_frames: list[int],
    fits: bool,
    tmp_path: Path,
) -> None:
    num_samples = num_frames * rate_hz // 25 + remainder
    stop = None if length_s is None else start + length_s
    last = num_samples if stop is None else min(num_samples, round(stop * rate_hz))
    in_stretch = last - round(start * rate_hz)
    assume(in_stretch > 0)
    encoder = Hearing()
    stage = Embedding(tmp_path, video_of(50), encoder)
    file = wav(tmp_path / "voice.wav", noise(num_samples), rate_hz)
    chunks = ChunkProfile(num_frames=sizes[0], context_frames=sizes[1], last_chunk="fit" if fits else "full")
    rows, track = stage.run(file, chunks, RAW, start_s=start, end_s=stop)

    # As many frames as cover the sound.
    assert track.duration_s == Fraction(in_stretch, rate_hz)
    assert track.num_frames == -(-25 * in_stretch // rate_hz)

    # The sound up to its end, then nothing but silence.
    (heard,) = encoder.heard
    assert len(heard) == 640 * len(rows)
    end = -(-16_000 * in_stretch // rate_hz)
    assert not heard[end:].any()
    assert np.abs(heard[max(0, end - 160) : end]).max() > 1e-3, "sound up to the last 10 ms"

    # Every frame comes from one chunk, wherever scenes begin; past the end nothing that was spoken is heard.
    cuts = [cut_at(start + Fraction(frame, 25)) for frame in sorted(cut_frames)]
    plan = make_plan(track.num_frames, KeyframeSettings(chunks=chunks, start_s=start), stage.timeline, cuts)
    brought = [frame for chunk in plan.chunks for frame in range(chunk.new_start, chunk.new_stop)]
    assert brought == list(range(track.num_frames))
    for chunk in plan.chunks:
        window = chunking.window_rows(chunk.start_frame, chunk.num_frames, len(rows))
        wanted = chunk.start_frame + np.arange(chunk.num_frames)[:, None] + np.arange(-2, 3)
        assert window[:, 2].tolist() == wanted[:, 2].tolist(), "a row for every frame that is generated"
        inside = (wanted >= 0) & (wanted < track.num_frames)
        assert (window == wanted)[inside].all()
        assert (window[wanted >= track.num_frames] >= track.num_frames).all()


@steadily
@given(
    source_frames=st.integers(1, 100),
    rate=st.sampled_from([Fraction(25), Fraction(24000, 1001), Fraction(30000, 1001), Fraction(50)]),
    start=st.fractions(0, 1, max_denominator=60),
    audio_samples=st.integers(1, 60_000),
    length=st.sampled_from([Length.VIDEO, Length.SHORTEST]),
)
def test_length_of_the_video_is_exact_too(
    source_frames: int, rate: Fraction, start: Fraction, audio_samples: int, length: Length, tmp_path: Path
) -> None:
    video_s = source_frames / rate - start
    in_stretch = audio_samples - round(start * 16_000)
    assume(video_s > 0 and in_stretch > 0)
    file = wav(tmp_path / "voice.wav", noise(audio_samples), 16_000)
    stage = Embedding(tmp_path, video_of(source_frames, rate), Hearing())
    rows, track = stage.run(file, ChunkProfile(num_frames=17, context_frames=5), RAW, start_s=start, length=length)
    expected_s = video_s if length is Length.VIDEO else min(video_s, Fraction(in_stretch, 16_000))
    assert track.duration_s == expected_s
    assert (track.num_frames - 1) / Fraction(25) < expected_s <= track.num_frames / Fraction(25)
    (heard,) = stage.encoder.heard
    end = min(in_stretch, -(-expected_s * 16_000 // 1))
    assert len(heard) == 640 * len(rows) and heard[:end].all() and not heard[end:].any()


@steadily
@given(
    places=st.tuples(st.integers(0, 20_000), st.integers(0, 20_000)),
    lengths=st.tuples(st.integers(1, 30_000), st.integers(1, 30_000)),
    start=st.fractions(0, Fraction(1, 2), max_denominator=50),
)
def test_two_voices_are_silent_outside_their_own_stretch(
    places: tuple[int, int], lengths: tuple[int, int], start: Fraction, tmp_path: Path
) -> None:
    folder = tmp_path / "speech"
    folder.mkdir(exist_ok=True)
    total = max(place + length for place, length in zip(places, lengths, strict=True))
    first = round(start * 16_000)
    assume(total > first)
    tracks, expected = [], np.zeros((2, total), np.float32)
    for person, (place, length) in enumerate(zip(places, lengths, strict=True)):
        expected[person, place : place + length] = samples = noise(length, person).astype(np.float32)
        samples.tofile(track_file(folder, person))
        tracks.append(
            SpeechTrack(file=track_file(folder, person).name, start_sample=place, num_samples=length, speech_s=1)
        )
    save_tracks(folder, SpeechTracks(people=tuple(tracks)))
    encoder = Hearing()
    mixed = wav(tmp_path / "mixed.wav", noise(total), 16_000)
    chunks = ChunkProfile(num_frames=17, context_frames=5)
    rows, track = Embedding(tmp_path, video_of(50), encoder).run(mixed, chunks, RAW, folder, start_s=start)
    assert track.num_frames == -(-(total - first) // 640)
    assert rows.shape[:2] == (2, track.num_frames + 16)
    for heard, voice in zip(encoder.heard, expected, strict=True):
        assert np.array_equal(heard[: total - first], voice[first:]) and not heard[total - first :].any()
        assert len(heard) == 640 * rows.shape[1]


@pytest.mark.parametrize("num_samples", [3_000, 8_000, 20_000])
def test_silence_past_the_end_does_not_count_as_quiet_speech(num_samples: int, tmp_path: Path) -> None:
    """Of 0.2 s of speech and the silence of a chunk, half of the one block that is loud enough would be silence."""
    samples = noise(num_samples)
    file = wav(tmp_path / "voice.wav", samples, 16_000)
    rows, track = Embedding(tmp_path, video_of(50)).run(file, ChunkProfile(), AudioProfile(loudness_lufs=-23.0))
    assert len(rows) == track.num_frames + 80
    assert track.loudness_lufs == pytest.approx(integrated_loudness(samples, 16_000), abs=0.01)


def tiny_wav2vec2() -> Wav2Vec2AudioEncoder:
    torch.manual_seed(0)
    config = Wav2Vec2Config(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24, conv_dim=[8] * 7,
        num_conv_pos_embeddings=8, num_conv_pos_embedding_groups=2, vocab_size=8,
    )  # fmt: skip
    return Wav2Vec2AudioEncoder(Wav2Vec2Model(config))


def tiny_nano() -> NanoAudioEncoder:
    torch.manual_seed(0)
    return NanoAudioEncoder(channels=8, hidden_channels=16, num_blocks=2).eval()


def embed(encoder: AudioEncoder, waveform: np.ndarray, num_frames: int) -> np.ndarray:
    return torch.cat(list(encoder.encode(waveform, num_frames))).numpy()


def windows(rows: np.ndarray, num_frames: int, sizes: tuple[int, int]) -> list[np.ndarray]:
    """What every chunk hears."""
    plan = chunking.plan_chunks(num_frames, *sizes)
    return [rows[chunking.window_rows(chunk.start_frame, chunk.num_frames, len(rows))] for chunk in plan]


@pytest.mark.parametrize("make_encoder", [tiny_wav2vec2, tiny_nano])
@pytest.mark.parametrize("num_samples", [640 * 17, 640 * 17 + 1, 640 * 29 - 1, 640 * 30 + 320, 200])
@pytest.mark.parametrize("long_windows", [False, True])
def test_chunks_hear_the_embedding_of_the_padded_waveform(
    make_encoder: object, num_samples: int, long_windows: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if long_windows:  # as if a minute were 12 frames
        monkeypatch.setattr(audio_encoder, "BLOCK_FRAMES", 12)
        monkeypatch.setattr(audio_encoder, "MARGIN_FRAMES", 6)
    encoder, sizes = make_encoder(), (17, 5)
    file = wav(tmp_path / "voice.wav", noise(num_samples), 16_000)
    stage = Embedding(tmp_path, video_of(50), encoder)
    chunks = ChunkProfile(num_frames=sizes[0], context_frames=sizes[1])
    rows, track = stage.run(file, chunks, RAW)

    samples = (noise(num_samples) * 32767).astype(np.int16).astype(np.float32) / 32768
    padded = np.concatenate((samples, np.zeros(640 * len(rows) - num_samples, np.float32)))
    expected = embed(encoder, padded, len(rows))
    heard = windows(rows, track.num_frames, sizes)
    for window, wanted in zip(heard, windows(expected, track.num_frames, sizes), strict=True):
        np.testing.assert_allclose(window, wanted, atol=1e-6)
    if isinstance(encoder, NanoAudioEncoder):  # what it hears is near: far enough past the end it is silence itself
        silence = embed(encoder, np.zeros(640 * len(rows), np.float32), len(rows))
        far = track.num_frames + encoder.reach_frames + 1
        np.testing.assert_allclose(rows[far:], silence[far:], atol=1e-6)
        assert np.abs(rows[: track.num_frames] - silence[: track.num_frames]).max() > 0.1


def published_rows(num_frames: int, sizes: tuple[int, int]) -> Sequence[np.ndarray]:
    plan = chunking.published_plan([num_frames], *sizes, max_frames=1000)
    return [
        chunking.window_rows(chunk.start_frame, chunk.num_frames, plan.rows(chunk, num_frames)) for chunk in plan.chunks
    ]


@pytest.mark.parametrize("num_samples", [640 * 29, 640 * 29 + 639, 640 * 41, 640 * 41 + 1, 640 * 40])
def test_compatibility_settings_give_the_published_frames_and_rows(num_samples: int, tmp_path: Path) -> None:
    file = wav(tmp_path / "voice.wav", noise(num_samples), 16_000)
    stage = Embedding(tmp_path, video_of(50))
    chunks = ChunkProfile(num_frames=17, context_frames=5, tail="mirror")
    rows, track = stage.run(file, chunks, AudioProfile(loudness_lufs=None, frame_count="floor"))
    assert track.num_frames == len(rows) == int(num_samples / 16_000 * 25)
    assert len(stage.encoder.heard[0]) == num_samples, "its rows are stretched over all of the sound"
    plan = chunking.plan_chunks(track.num_frames, 17, 5)
    for chunk, wanted in zip(plan, published_rows(track.num_frames, (17, 5)), strict=True):
        mirrored = chunking.mirrored_rows(len(rows), chunk.start_frame + chunk.num_frames)
        assert np.array_equal(chunking.window_rows(chunk.start_frame, chunk.num_frames, mirrored), wanted)
