"""The real command on every kind of source: what comes out has the right length, size, rate and sound."""

from __future__ import annotations

import math
from fractions import Fraction
from pathlib import Path

import pytest
import synthetic
from synthetic import Clip, ClipAudio

from infinitetalk_cli.media.probe import probe

VOICE_S = 1.3

VARIABLE_TIMES = tuple(Fraction(n * n, 400) for n in range(30))

CLIPS = {
    "25fps": Clip(num_frames=50, audio=(ClipAudio(synthetic.tone(2.0)),)),
    "29.97fps": Clip(num_frames=60, rate=Fraction(30000, 1001)),
    "variable_rate": Clip(num_frames=30, times_s=VARIABLE_TIMES),
    "rotated": Clip(num_frames=50, rotation=90, size=(64, 96)),
    "odd_size": Clip(num_frames=50, size=(97, 63), pix_fmt="yuv444p"),
    "portrait": Clip(num_frames=50, size=(64, 112)),
    "no_audio": Clip(num_frames=50),
    "10_bit": Clip(num_frames=50, pix_fmt="yuv420p10le"),
    "wide_samples": Clip(num_frames=50, sample_aspect_ratio=Fraction(4, 3)),
}


@pytest.fixture
def voice(tmp_path: Path) -> Path:
    return synthetic.make_audio(tmp_path / "voice.wav", synthetic.speech(VOICE_S, 44_100), 44_100)


@pytest.mark.parametrize("name", CLIPS)
def test_result_is_as_long_as_the_voice_and_shaped_like_the_source(
    name: str, tmp_path: Path, voice: Path, run_command, small_profile: Path
) -> None:
    source = synthetic.make_clip(tmp_path / "source.mp4", CLIPS[name])
    outcome = run_command("dub", source, "--audio", voice, "--profile", small_profile, "--json")
    assert outcome.exit_code == 0, outcome.stderr
    result = Path(outcome.document["output"])
    assert result == tmp_path / "source.dubbed.mp4"
    before, after = probe(source).video, probe(result).video
    assert after.upright_size == before.upright_size and after.rotation == 0
    assert after.upright_sample_aspect_ratio == before.upright_sample_aspect_ratio
    assert after.average_rate == 25
    assert len(synthetic.read_all_frames(result)) == math.ceil(VOICE_S * 25) == outcome.document["model_frames"]
    samples, rate_hz, _ = synthetic.read_all_samples(result)
    assert rate_hz == 44_100
    assert len(samples) / rate_hz == pytest.approx(VOICE_S, abs=0.05)
    assert "Synthetic picture" in probe(result).metadata["comment"]


def test_still_image_is_accepted(tmp_path: Path, voice: Path, run_command, small_profile: Path) -> None:
    picture = synthetic.make_image(tmp_path / "face.png", 80, 96)
    outcome = run_command("dub", picture, "--audio", voice, "--profile", small_profile, "--json")
    assert outcome.exit_code == 0, outcome.stderr
    assert probe(Path(outcome.document["output"])).video.upright_size == (80, 96)
    outcome = run_command("dub", picture, "--audio", voice, "--profile", small_profile, "--length", "video")
    assert outcome.exit_code == 4 and "still image" in outcome.stderr


@pytest.mark.parametrize("suffix", [".flac", ".mp3", ".m4a", ".ogg"])
def test_voice_in_any_format(suffix: str, tmp_path: Path, run_command, small_profile: Path) -> None:
    source = synthetic.make_clip(tmp_path / "source.mp4", Clip(num_frames=25))
    voice = synthetic.make_audio(tmp_path / f"voice{suffix}", synthetic.speech(1.0, 48_000, 2), 48_000)
    outcome = run_command("dub", source, "--audio", voice, "--profile", small_profile, "--json")
    assert outcome.exit_code == 0, outcome.stderr
    track = probe(Path(outcome.document["output"])).audio[0]
    assert (track.rate_hz, track.channels) == (48_000, 2)
    assert outcome.document["duration_s"] == pytest.approx(1.0, abs=0.06)


@pytest.mark.parametrize(("length", "seconds"), [("audio", 3.0), ("video", 2.0), ("shortest", 2.0)])
def test_length_decides_when_voice_outlasts_video(
    length: str, seconds: float, tmp_path: Path, run_command, small_profile: Path
) -> None:
    source = synthetic.make_clip(tmp_path / "source.mp4", Clip(num_frames=50))
    voice = synthetic.make_audio(tmp_path / "voice.wav", synthetic.speech(3.0))
    outcome = run_command("dub", source, "--audio", voice, "--profile", small_profile, "--length", length, "--json")
    assert outcome.exit_code == 0, outcome.stderr
    result = Path(outcome.document["output"])
    assert len(synthetic.read_all_frames(result)) == seconds * 25
    samples, rate_hz, _ = synthetic.read_all_samples(result)
    assert len(samples) / rate_hz == pytest.approx(seconds, abs=0.05)


def test_source_frame_rate_keeps_the_length(tmp_path: Path, voice: Path, run_command, small_profile: Path) -> None:
    source = synthetic.make_clip(tmp_path / "source.mp4", CLIPS["29.97fps"])
    outcome = run_command("dub", source, "--audio", voice, "--profile", small_profile, "--fps", "source", "--json")
    assert outcome.exit_code == 0, outcome.stderr
    result = Path(outcome.document["output"])
    assert probe(result).video.average_rate == Fraction(30000, 1001)
    assert len(synthetic.read_all_frames(result)) == math.ceil(VOICE_S * 30000 / 1001)


def test_stretch_takes_picture_and_sound_from_the_same_time(tmp_path: Path, run_command, small_profile: Path) -> None:
    source = synthetic.make_clip(tmp_path / "source.mp4", Clip(num_frames=75))
    voice = synthetic.make_audio(tmp_path / "voice.wav", synthetic.click(1.5, 3.0))
    outcome = run_command(
        "dub", source, "--audio", voice, "--profile", small_profile, "--start", "1", "--end", "0:02", "--json"
    )
    assert outcome.exit_code == 0, outcome.stderr
    result = Path(outcome.document["output"])
    assert len(synthetic.read_all_frames(result)) == 25
    samples, rate_hz, _ = synthetic.read_all_samples(result)
    assert synthetic.click_time(samples, rate_hz) == pytest.approx(0.5, abs=0.005)


def test_clean_speech_drives_while_the_mix_is_heard(tmp_path: Path, run_command, small_profile: Path) -> None:
    source = synthetic.make_clip(tmp_path / "source.mp4", Clip(num_frames=50))
    mix = synthetic.make_audio(tmp_path / "mix.wav", synthetic.click(0.4, 1.0))
    speech = synthetic.make_audio(tmp_path / "speech.wav", synthetic.speech(0.6))
    plain = run_command("dub", source, "--audio", mix, "--profile", small_profile, "--json", "-o", tmp_path / "a.mp4")
    driven = run_command(
        "dub",
        source,
        "--audio",
        mix,
        "--speech",
        speech,
        "--profile",
        small_profile,
        "--json",
        "-o",
        tmp_path / "b.mp4",
    )
    assert plain.exit_code == driven.exit_code == 0, driven.stderr
    samples, rate_hz, _ = synthetic.read_all_samples(tmp_path / "b.mp4")
    assert synthetic.click_time(samples, rate_hz) == pytest.approx(0.4, abs=0.005)
    by_mix, by_speech = (synthetic.read_all_frames(tmp_path / name) for name in ("a.mp4", "b.mp4"))
    assert len(by_mix) == len(by_speech) == 25
    assert any((one != other).any() for one, other in zip(by_mix, by_speech, strict=True))


def test_original_audio_is_kept_as_second_track(tmp_path: Path, voice: Path, run_command, small_profile: Path) -> None:
    clip = Clip(num_frames=50, audio=(ClipAudio(synthetic.tone(2.0), language="eng"),), metadata={"title": "Interview"})
    source = synthetic.make_clip(tmp_path / "source.mp4", clip)
    outcome = run_command(
        "dub", source, "--audio", voice, "--profile", small_profile, "--json",
        "--keep-original-audio", "--audio-language", "fra",
    )  # fmt: skip
    assert outcome.exit_code == 0, outcome.stderr
    after = probe(Path(outcome.document["output"]))
    assert [track.language for track in after.audio] == ["fra", "eng"]
    assert after.audio[0].is_default and after.metadata["title"] == "Interview"


def test_locked_camera_at_full_strength_is_the_source(
    tmp_path: Path, voice: Path, run_command, small_profile: Path
) -> None:
    source = synthetic.make_clip(tmp_path / "source.mp4", Clip(num_frames=50, size=(64, 64)))
    strengths = {"free": [], "locked": ["--camera-lock", "on", "--camera-lock-strength", "1"]}
    frames = {}
    for name, options in strengths.items():
        result = tmp_path / f"{name}.mp4"
        outcome = run_command("dub", source, "--audio", voice, "--profile", small_profile, *options, "-o", result)
        assert outcome.exit_code == 0, outcome.stderr
        frames[name] = synthetic.read_all_frames(result)
    originals = synthetic.read_all_frames(source)

    def error(name: str) -> float:
        pairs = zip(frames[name][1:], originals[1:], strict=False)
        return sum(float(abs(a.astype(float) - b.astype(float)).mean()) for a, b in pairs)

    assert error("locked") < 0.8 * error("free")
