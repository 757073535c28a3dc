"""Two voices as one track: the exact sum, in full length, never clipped."""

from __future__ import annotations

import tracemalloc
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from synthetic import click, click_time, make_audio, read_all_samples, speech, tone

from infinitetalk_cli.errors import InputError
from infinitetalk_cli.media.mixing import MixedTrack, describe_mix, mix_voices
from infinitetalk_cli.media.probe import probe_audio, require_audio


def mixed(tmp_path: Path, *files: Path, in_turn: bool = False) -> tuple[np.ndarray, int, MixedTrack]:
    track = mix_voices(files, tmp_path / "mix.flac", in_turn)
    samples, rate_hz, start_s = read_all_samples(tmp_path / "mix.flac")
    assert (rate_hz, start_s) == (track.rate_hz, 0)
    infos = [probe_audio(file) for file in files]
    promised = describe_mix(infos, [require_audio(*pair) for pair in zip(files, infos, strict=True)], in_turn)
    written = probe_audio(tmp_path / "mix.flac").audio[0]
    foretold = promised.audio[0]
    for name in ("codec", "rate_hz", "channels", "layout"):
        assert getattr(written, name) == getattr(foretold, name)
    assert promised.duration_s == Fraction(len(samples), rate_hz)
    return samples, rate_hz, track


@pytest.mark.parametrize("codec", ["pcm_s16le", "pcm_s24le"])
def test_the_sum_is_exact_and_as_long_as_the_longest(tmp_path: Path, codec: str) -> None:
    files = [
        make_audio(tmp_path / f"{seed}.wav", 0.4 * speech(seconds, channels=2, seed=seed), codec=codec)
        for seed, seconds in ((1, 0.7), (2, 1.1))
    ]
    first, second = (read_all_samples(file)[0] for file in files)
    samples, _, track = mixed(tmp_path, *files)
    expected = second.copy()
    expected[: len(first)] += first
    np.testing.assert_array_equal(samples, expected)
    assert track.gain == 1 and track.voices == ((0, len(first)), (0, len(second)))
    backwards, _, _ = mixed(tmp_path, *files[::-1])
    np.testing.assert_array_equal(backwards, samples)


def test_one_after_the_other(tmp_path: Path) -> None:
    files = [make_audio(tmp_path / f"{seed}.wav", 0.5 * speech(0.5 * seed, seed=seed)) for seed in (1, 2)]
    first, second = (read_all_samples(file)[0] for file in files)
    samples, _, track = mixed(tmp_path, *files, in_turn=True)
    np.testing.assert_array_equal(samples, np.concatenate([first, second]))
    assert track.voices == ((0, len(first)), (len(first), len(first) + len(second)))


def test_a_sum_that_would_clip_is_lowered_as_a_whole(tmp_path: Path) -> None:
    loud = make_audio(tmp_path / "loud.wav", 1.8 * tone(0.5))
    other = make_audio(tmp_path / "other.wav", 1.0 * tone(1.0))
    samples, _, track = mixed(tmp_path, loud, other)
    expected = read_all_samples(other)[0].astype(np.float64)
    expected[:24_000] += read_all_samples(loud)[0]
    assert track.gain == pytest.approx(1 / np.abs(expected).max())
    np.testing.assert_allclose(samples, expected * track.gain, atol=2**-23)
    assert np.abs(samples).max() <= 1


@pytest.mark.parametrize(("rate_hz", "channels"), [(44_100, 1), (16_000, 2), (22_050, 1)])
def test_lower_rates_and_mono_join_the_better_track(tmp_path: Path, rate_hz: int, channels: int) -> None:
    wide = make_audio(tmp_path / "wide.wav", 0 * tone(1.0, 48_000, 2))
    other = make_audio(tmp_path / "other.wav", click(0.4, 0.9, rate_hz, channels), rate_hz)
    samples, mix_hz, track = mixed(tmp_path, wide, other)
    assert samples.shape == (48_000, 2) and mix_hz == 48_000
    assert track.voices[1] == (0, 43_200), "0.9 s exactly, whatever the resampler's tail"
    for side in (0, 1):
        assert click_time(samples[:, side : side + 1], 48_000) == pytest.approx(0.4, abs=1e-4)
        assert np.abs(samples[:, side]).max() == pytest.approx(0.9, abs=0.05), "a mono voice is as loud from each side"


def test_surround_and_stereo(tmp_path: Path) -> None:
    around = make_audio(tmp_path / "around.wav", 0.3 * tone(0.3, 48_000, 6))
    pair = make_audio(tmp_path / "pair.wav", 0.3 * tone(0.3, 48_000, 2, hz=300))
    samples, _, _ = mixed(tmp_path, around, pair)
    expected = read_all_samples(around)[0]
    expected[:, :2] += read_all_samples(pair)[0]
    np.testing.assert_allclose(samples, expected, atol=2e-5)


def test_what_is_no_number_is_refused(tmp_path: Path) -> None:
    bad = tone(0.5)
    bad[1000] = np.nan
    files = [make_audio(tmp_path / "bad.wav", bad, codec="pcm_f32le"), make_audio(tmp_path / "good.wav", tone(0.5))]
    with pytest.raises(InputError, match=r"bad\.wav: .* not numbers, .* near 0\.\d\d s"):
        mix_voices(files, tmp_path / "mix.flac", in_turn=False)


def test_memory_does_not_grow_with_the_length(tmp_path: Path) -> None:
    def peak_bytes(seconds: int) -> int:
        files = [make_audio(tmp_path / f"{n}.wav", np.zeros((seconds * 8000, 1), np.float32), 8000) for n in (1, 2)]
        tracemalloc.start()
        mix_voices(files, tmp_path / "mix.flac", in_turn=False)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return peak

    peak_bytes(1)
    assert peak_bytes(120) < 1.5 * peak_bytes(30)
