"""Speech for the models: exact lengths, nothing shifted, whatever the file."""

from __future__ import annotations

import wave
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from media_clips import MakeClip
from synthetic import (
    Clip,
    ClipAudio,
    click,
    click_time,
    make_audio,
    make_clip,
    silence,
    tone,
    truncate,
    with_unknown_video,
)

from infinitetalk_cli.errors import InputError
from infinitetalk_cli.media.audio import AudioTrack, decode_mono
from infinitetalk_cli.units import samples_in

CLICK_S = 1.234


def decoded(path: Path, **stretch: Fraction) -> tuple[np.ndarray, AudioTrack]:
    out = path.with_suffix(".f32")
    track = decode_mono(path, out, **stretch)
    samples = np.fromfile(out, "<f4")
    assert len(samples) == track.num_samples == samples_in(track.duration_s, 16_000)
    return samples, track


FORMATS = [
    ("a.wav", None, 48_000, 1),
    ("a.wav", "pcm_u8", 8_000, 1),
    ("a.wav", "pcm_s24le", 22_050, 6),
    ("a.wav", "pcm_f32le", 96_000, 2),
    ("a.wav", None, 16_000, 1),
    ("a.flac", None, 44_100, 2),
    ("a.mp3", None, 44_100, 2),
    ("a.mp3", None, 24_000, 1),
    ("a.m4a", None, 44_100, 2),
    ("a.m4a", "alac", 48_000, 2),
    ("a.ogg", None, 44_100, 2),
    ("a.ogg", "flac", 16_000, 1),
    ("a.opus", None, 48_000, 2),
    ("a.mkv", "aac", 48_000, 2),
    ("a.webm", "libopus", 48_000, 1),
    ("a.mp4", "libmp3lame", 44_100, 2),
    ("a.m4a", None, 48_000, 8),
    ("a.opus", None, 48_000, 8),
    ("a.wav", None, 48_000, 8),
]


@pytest.mark.parametrize(("name", "codec", "rate_hz", "channels"), FORMATS)
def test_an_impulse_stays_where_it_was(tmp_path: Path, name: str, codec: str | None, rate_hz: int, channels: int):
    samples = click(CLICK_S, 3.0, rate_hz, channels)
    decoded_samples, track = decoded(make_audio(tmp_path / name, samples, rate_hz, codec))
    assert click_time(decoded_samples, 16_000) == pytest.approx(CLICK_S, abs=1e-4)
    assert track.source_rate_hz == rate_hz
    # Matroska and Ogg round the end up to whole frames of the codec.
    slack = 1600 if name in ("a.mkv", "a.ogg") else 0
    assert 0 <= track.source_num_samples - len(samples) <= slack
    assert 0.75 < track.peak <= 1.0  # the low frequency channel of 7.1 loses the click in AAC


def test_the_stretch_is_cut_at_the_source_rate(tmp_path: Path):
    path = make_audio(tmp_path / "a.wav", click(CLICK_S, 3.0, 44_100, 2), 44_100)
    samples, track = decoded(path, start_s=Fraction(1, 3), stop_s=Fraction(5, 2))
    assert track.source_num_samples == round(Fraction(5, 2) * 44_100) - round(Fraction(1, 3) * 44_100)
    assert click_time(samples, 16_000) == pytest.approx(CLICK_S - 1 / 3, abs=1e-4)


def test_channels_are_averaged(tmp_path: Path):
    left, right = tone(1.0, 16_000)[:, 0], silence(1.0, 16_000)[:, 0]
    samples, _ = decoded(make_audio(tmp_path / "a.wav", np.stack([left, right], 1), 16_000, "pcm_f32le"))
    np.testing.assert_allclose(samples, left / 2, atol=1e-6)


def test_sixteen_kilohertz_mono_is_kept_bit_for_bit(tmp_path: Path):
    original = tone(1.0, 16_000)
    samples, _ = decoded(make_audio(tmp_path / "a.wav", original, 16_000, "pcm_f32le"))
    np.testing.assert_array_equal(samples, original[:, 0])


def test_a_late_track_of_a_video_begins_with_silence(clip_file: MakeClip):
    sound = ClipAudio(click(0.5, 1.5), start_s=Fraction(1, 2))
    samples, _ = decoded(clip_file("late.mp4", Clip(audio=(sound,))))
    assert click_time(samples, 16_000) == pytest.approx(1.0, abs=1e-3)  # mp4 edit lists count milliseconds


def test_a_hole_in_a_recording_is_silent_and_moves_nothing(tmp_path: Path):
    path = tmp_path / "hole.mkv"
    sound = click(0.2, 1.0, 48_000)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=48_000, layout="mono")
        for offset_s in (0, 3):
            frame = av.AudioFrame.from_ndarray((sound * 32_000).astype(np.int16).T, format="s16", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = 48_000, offset_s * 48_000, Fraction(1, 48_000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    samples, track = decoded(path)
    assert track.duration_s == 4
    assert click_time(samples[32_000:], 16_000) + 2 == pytest.approx(3.2, abs=1e-3)


def test_silence_is_fine(tmp_path: Path):
    samples, track = decoded(make_audio(tmp_path / "a.wav", silence(1.0)))
    assert (track.peak, len(samples)) == (0.0, 16_000)


def test_a_tenth_of_a_second_is_fine(tmp_path: Path):
    assert decoded(make_audio(tmp_path / "a.wav", tone(0.1)))[1].duration_s == Fraction(1, 10)


def test_no_samples_at_all(tmp_path: Path):
    with wave.open(str(tmp_path / "a.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
    with pytest.raises(InputError, match=r"a\.wav"):
        decode_mono(tmp_path / "a.wav", tmp_path / "out")


@pytest.mark.parametrize("name", ["a.wav", "a.mp3"])
def test_a_stretch_behind_the_end_tells_the_true_length(tmp_path: Path, name: str):
    path = make_audio(tmp_path / name, tone(1.5))
    with pytest.raises(InputError, match=r"is 1\.50 s long, the stretch begins at 500 s"):
        decode_mono(path, tmp_path / "out", start_s=Fraction(500))


def test_the_sound_of_a_video_that_nobody_can_show(tmp_path: Path):
    clip = make_clip(tmp_path / "a.mp4", Clip(audio=(ClipAudio(click(CLICK_S, 2.0)),)))
    samples, _ = decoded(with_unknown_video(clip, tmp_path / "b.mp4"))
    assert click_time(samples, 16_000) == pytest.approx(CLICK_S, abs=1e-3)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_no_number_is_refused(tmp_path: Path, value: float):
    samples = tone(2.0)
    samples[60_000] = value
    path = make_audio(tmp_path / "a.wav", samples, codec="pcm_f32le")
    with pytest.raises(InputError, match=r"not numbers, .* near 1\.\d\d s"):
        decode_mono(path, tmp_path / "out")


@pytest.mark.parametrize("name", ["a.wav", "a.flac"])
def test_audio_cut_short(tmp_path: Path, name: str):
    cut = truncate(make_audio(tmp_path / name, tone(4.0, 44_100)), 0.5, tmp_path / f"cut_{name}")
    with pytest.raises(InputError, match=r"cut short: it promises \d\.\d\d s and only [12]\.\d\d s"):
        decode_mono(cut, tmp_path / "out")


def test_a_wav_from_a_pipe_states_no_length(tmp_path: Path):
    path = make_audio(tmp_path / "a.wav", tone(1.0))
    data = bytearray(path.read_bytes())
    data[4:8] = b"\xff\xff\xff\xff"
    place = data.index(b"data") + 4
    data[place : place + 4] = b"\xff\xff\xff\xff"
    path.write_bytes(data)
    assert decoded(path)[1].duration_s == 1


def test_damage_inside_becomes_silence(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    path = make_audio(tmp_path / "a.flac", click(3.0, 4.0, 44_100), 44_100)
    data = bytearray(path.read_bytes())
    data[len(data) // 4 : len(data) // 4 + 60] = b"\x55" * 60
    path.write_bytes(data)
    samples, track = decoded(path)
    assert track.duration_s == 4
    assert click_time(samples, 16_000) == pytest.approx(3.0, abs=1e-3)
